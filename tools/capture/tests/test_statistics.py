import tracemalloc
import unittest

import torch

from ctq_capture import InputStatistics, RowSample, statistics


class Sample(unittest.TestCase):
    def test_every_row_is_as_likely_as_any_other(self):
        # 400 draws of 20 of 100 rows, fed in uneven batches: each row is expected 80 times.
        hits = torch.zeros(100)
        rows = torch.arange(100.0)[:, None]
        for seed in range(400):
            kept = RowSample(20, 1, seed)
            for batch in rows.split([1, 7, 30, 2, 60]):
                kept.add(batch)
            sample = kept.rows().flatten().long()
            self.assertEqual(len(sample.unique()), 20)  # without replacement
            hits[sample] += 1
        # Sum over 100 rows of (hits - 80)²/(80·0.8) follows chi-square with 99 degrees of freedom: 99 ± 14.
        chi_square = ((hits - 80) ** 2 / 64).sum().item()
        self.assertGreater(chi_square, 50)
        self.assertLess(chi_square, 160)

    def test_the_first_part_of_a_sample_is_not_the_first_part_of_the_stream(self):
        kept = RowSample(64, 1, 0)
        kept.add(torch.arange(64.0)[:, None])
        self.assertGreater(kept.rows()[:16].max(), 16)

    def test_the_seed_decides(self):
        def sample(seed):
            kept = RowSample(8, 2, seed)
            for i in range(20):
                kept.add(torch.full((5, 2), float(i)) + torch.arange(5.0)[:, None] / 8)
            return kept.rows()

        self.assertTrue(torch.equal(sample(1), sample(1)))
        self.assertFalse(torch.equal(sample(1), sample(2)))

    def test_fewer_rows_than_asked_for_are_all_kept(self):
        kept = RowSample(100, 3, 0)
        x = torch.arange(21.0).view(7, 3)
        kept.add(x)
        self.assertEqual(sorted(kept.rows()[:, 0].tolist()), x[:, 0].tolist())


    def stream(self, seed=1):
        """Passes (rows, picture, step) of whole numbers: many rows repeat, in a pass, a picture and beyond it."""
        generator = torch.Generator().manual_seed(seed)
        for picture, (passes, values) in enumerate(((4, 9), (2, 5), (6, 20))):
            for step in range(passes):
                x = torch.randint(values, (60, 3), generator=generator) + 4 * picture
                yield x.float(), picture, step

    def lines(self, kept):
        parts = (kept.rows().tolist(), kept.counts().tolist(), kept.pictures().tolist(), kept.steps().tolist())
        return {tuple(row): (count, picture, step) for row, count, picture, step in zip(*parts)}

    def test_each_distinct_row_is_kept_once_with_its_count_and_its_first_sight(self):
        seen = {}
        kept = RowSample(5000, 3, 7)
        for x, picture, step in self.stream():
            for part in x.split(13):
                kept.add(part, picture, step)
            for row in x.tolist():
                count, *first = seen.get(tuple(row), (0, picture, step))
                seen[tuple(row)] = (count + 1, *first)
        self.assertEqual(self.lines(kept), seen)
        self.assertEqual((len(kept), kept.distinct, kept.seen), (len(seen), len(seen), 720))
        self.assertEqual({kept.counts().dtype, kept.pictures().dtype, kept.steps().dtype}, {torch.int32})

    def test_a_full_sample_is_that_of_the_smallest_hashes_with_exact_counts(self):
        # One picture: against all rows at once, by brute force.
        x = torch.cat([rows for rows, _, _ in self.stream()])
        kept = RowSample(100, 3, 7)
        for part in x.split(17):
            kept.add(part)
        counts = {}
        for row in x.tolist():
            counts[tuple(row)] = counts.get(tuple(row), 0) + 1
        rows = torch.tensor(list(counts))
        smallest = rows[statistics.row_hashes(rows, 7).argsort()[:100]]
        expected = {tuple(row): counts[tuple(row)] for row in smallest.tolist()}
        self.assertEqual({row: line[0] for row, line in self.lines(kept).items()}, expected)
        self.assertEqual(kept.distinct, len(counts))  # few enough to be known

    def test_the_order_of_the_rows_does_not_matter(self):
        x = torch.randint(40, (3000, 2), generator=torch.Generator().manual_seed(2)).float()
        files = []
        for order in (torch.arange(3000), torch.arange(2999, -1, -1), torch.randperm(3000)):
            kept = RowSample(200, 2, 3)
            for part in x[order].split(271):
                kept.add(part)
            files.append((kept.rows().tolist(), kept.counts().tolist(), kept.distinct))
        self.assertEqual(files[0], files[1])
        self.assertEqual(files[0], files[2])

    def test_a_long_run_does_not_drown_the_others(self):
        for sizes in ((500, 10, 60, 500), (10, 500, 500, 60), (40, 60, 500, 500)):
            kept, start = RowSample(200, 1, 5), 0
            hashes = []
            for picture, n in enumerate(sizes):
                x = torch.arange(start, start + n, dtype=torch.float32)[:, None].view(torch.int32)
                x = torch.stack([x.bitwise_right_shift(16), x.bitwise_and(0xFFFF)], -1)  # distinct in bfloat16
                x = x.view(n, 2).to(torch.int16).view(torch.bfloat16).nan_to_num(0)
                hashes.append(x)
                start += n
            kept = RowSample(200, 2, 5)
            for picture, x in enumerate(hashes):
                for step, part in enumerate(x.split(50)):
                    kept.add(part, picture, step)
            having = kept.pictures().bincount(minlength=4).tolist()
            self.assertEqual(sum(having), 200)
            level = max(having)
            for n, m in zip(sizes, having):
                self.assertTrue(m == n or level - m <= 1, (sizes, having))
            for picture, m in enumerate(having):  # of each picture its smallest hashes
                every = statistics.row_hashes(hashes[picture], 5).sort().values[:m]
                of_kept = statistics.row_hashes(kept.rows()[kept.pictures() == picture], 5).sort().values
                self.assertTrue(torch.equal(of_kept, every))

    def test_more_pictures_than_rows(self):
        kept = RowSample(5, 2, 0)
        for picture in range(20):
            kept.add(torch.randn(3, 2), picture)
        self.assertEqual((len(kept), len(set(kept.pictures().tolist())), kept.distinct), (5, 5, 60))

    def test_distinct_rows_are_estimated_when_there_are_many(self):
        kept = RowSample(50, 2, 0)
        for part in torch.randn(40_000, 2).split(1000):
            kept.add(part)
            kept.add(part)
        self.assertLess(abs(kept.distinct / 40_000 - 1), 0.15)  # five deviations

    def test_hashes_are_those_of_the_bits(self):
        x = torch.randn(50, 7).to(torch.bfloat16)
        hashes = statistics.row_hashes(x, 1)
        self.assertEqual(len(hashes.unique()), 50)
        self.assertTrue(torch.equal(statistics.row_hashes(x.float(), 1), hashes))
        self.assertTrue(torch.equal(statistics.row_hashes(x.T.contiguous().T, 1), hashes))
        self.assertTrue(torch.equal(statistics.row_hashes(torch.cat([x, x])[3:53], 1), hashes.roll(-3)))
        flat = torch.cat([torch.zeros(1, dtype=torch.bfloat16), x[:, :6].flatten()])[1:].view(50, 6)
        self.assertTrue(torch.equal(statistics.row_hashes(flat, 1), statistics.row_hashes(x[:, :6], 1)))
        # Signs alone, which are the highest bits of a word.
        signs = torch.tensor([[1.0 if i >> b & 1 else -1.0 for b in range(12)] for i in range(4096)])
        self.assertEqual(len(statistics.row_hashes(signs, 1).unique()), 4096)

    def test_the_effective_rank_counts_directions(self):
        basis = torch.linalg.qr(torch.randn(32, 32)).Q
        for directions, rows in ((1, 40), (4, 40), (20, 400)):
            kept = RowSample(512, 32, 0)
            kept.add((torch.randn(rows, 1) + 3) * basis[torch.arange(rows) % directions])
            self.assertAlmostEqual(kept.effective_rank() / directions, 1, delta=0.1)
        kept = RowSample(512, 32, 0)
        kept.add(torch.cat([basis[:1].expand(300, 32), basis[1:2]]))  # counted as often as seen
        self.assertLess(kept.effective_rank(), 1.01)
        empty = RowSample(8, 2, 0)
        empty.add(torch.zeros(3, 2))
        self.assertEqual(empty.effective_rank(), 0)


class Statistics(unittest.TestCase):
    def test_ten_thousand_batches_stay_accurate(self):
        generator = torch.Generator().manual_seed(3)
        counted = InputStatistics(8, rows=32, hessian=True, seed=0)
        h, total, n = torch.zeros(8, 8, dtype=torch.float64), torch.zeros(8, dtype=torch.float64), 0
        for i in range(10_000):
            x = torch.randn(1 + i % 5, 8, generator=generator) * 3 + 0.5
            counted.add(x)
            h += x.double().T @ x.double()
            total += x.double().sum(0)
            n += len(x)
        self.assertEqual(counted.count, n)
        self.assertLess(((counted.hessian - h / n).norm() / (h / n).norm()).item(), 1e-5)
        self.assertLess((counted.mean - total / n).abs().max().item(), 1e-6)

    def test_memory_does_not_grow_with_the_number_of_batches(self):
        counted = InputStatistics(32, rows=64, hessian=True, seed=0)
        x = torch.randn(16, 32)

        def held():
            tensors = [v for v in vars(counted).values() if isinstance(v, torch.Tensor)]
            return sum(t.nbytes for t in [*tensors, counted.sample._rows])

        for _ in range(100):
            counted.add(x)
        bytes_early = held()
        tracemalloc.start()
        try:
            for _ in range(900):  # until what Python keeps of its own is there
                counted.add(x)
            traced_early = tracemalloc.get_traced_memory()[0]
            for _ in range(9_000):
                counted.add(x)
            traced_late = tracemalloc.get_traced_memory()[0]
        finally:
            tracemalloc.stop()
        self.assertEqual(held(), bytes_early)
        self.assertLess(traced_late - traced_early, 10_000)

    def test_chunks_change_nothing(self):
        x = torch.randn(1000, 16)
        whole = InputStatistics(16, rows=0, hessian=True, seed=0)
        whole.add(x)
        before, statistics.CHUNK_BYTES = statistics.CHUNK_BYTES, 4 * 16 * 7
        try:
            parts = InputStatistics(16, rows=0, hessian=True, seed=0)
            parts.add(x)
        finally:
            statistics.CHUNK_BYTES = before
        torch.testing.assert_close(parts.hessian, whole.hessian)
        torch.testing.assert_close(parts.mean, whole.mean)

    def test_rows_that_are_not_finite_are_left_out_and_counted(self):
        x = torch.randn(6, 4)
        bad = x.clone()
        bad[1, 2], bad[3, 0], bad[4, 1] = float("nan"), float("inf"), 1e30
        counted = InputStatistics(4, rows=6, hessian=True, seed=0)
        counted.add(bad)
        good = x[[0, 2, 5]]
        self.assertEqual((counted.count, counted.skipped), (3, 3))
        torch.testing.assert_close(counted.hessian, good.T @ good / 3)
        self.assertTrue(counted.sample.rows().isfinite().all())

    def test_moments_in_another_memory_are_the_same(self):
        x = torch.randn(40, 8)
        near = InputStatistics(8, rows=0, hessian=True, seed=0)
        near.add(x)
        far = InputStatistics(8, rows=0, hessian=True, seed=0, hessian_device="meta")
        far.add(x)
        self.assertEqual(far.hessian.device.type, "meta")
        torch.testing.assert_close(near.hessian, x.T @ x / 40)

    def test_products_are_exact_within_autocast_and_with_short_products_allowed(self):
        x = torch.randn(64, 32)
        torch.set_float32_matmul_precision("medium")
        try:
            with torch.autocast("cpu", dtype=torch.bfloat16):
                counted = InputStatistics(32, rows=0, hessian=True, seed=0)
                counted.add(x)
            self.assertEqual(torch.get_float32_matmul_precision(), "medium")
        finally:
            torch.set_float32_matmul_precision("highest")
        expected = (x.double().T @ x.double() / 64).float()
        torch.testing.assert_close(counted.hessian, expected, rtol=1e-5, atol=1e-6)
