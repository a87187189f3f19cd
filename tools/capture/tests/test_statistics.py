import tracemalloc
import unittest

import torch

from ctq_capture import InputStatistics, RowReservoir, statistics


class Reservoir(unittest.TestCase):
    def test_every_row_is_as_likely_as_any_other(self):
        # 400 draws of 20 of 100 rows, fed in uneven batches: each row is expected 80 times.
        hits = torch.zeros(100)
        rows = torch.arange(100.0)[:, None]
        for seed in range(400):
            reservoir = RowReservoir(20, 1, seed)
            for batch in rows.split([1, 7, 30, 2, 60]):
                reservoir.add(batch)
            sample = reservoir.sample().flatten().long()
            self.assertEqual(len(sample.unique()), 20)  # without replacement
            hits[sample] += 1
        # Sum over 100 rows of (hits - 80)²/(80·0.8) follows chi-square with 99 degrees of freedom: 99 ± 14.
        chi_square = ((hits - 80) ** 2 / 64).sum().item()
        self.assertGreater(chi_square, 50)
        self.assertLess(chi_square, 160)

    def test_the_first_part_of_a_sample_is_not_the_first_part_of_the_stream(self):
        reservoir = RowReservoir(64, 1, 0)
        reservoir.add(torch.arange(64.0)[:, None])
        self.assertGreater(reservoir.sample()[:16].max(), 16)

    def test_the_seed_decides(self):
        def sample(seed):
            reservoir = RowReservoir(8, 2, seed)
            for i in range(20):
                reservoir.add(torch.full((5, 2), float(i)) + torch.arange(5.0)[:, None] / 8)
            return reservoir.sample()

        self.assertTrue(torch.equal(sample(1), sample(1)))
        self.assertFalse(torch.equal(sample(1), sample(2)))

    def test_fewer_rows_than_asked_for_are_all_kept(self):
        reservoir = RowReservoir(100, 3, 0)
        x = torch.arange(21.0).view(7, 3)
        reservoir.add(x)
        self.assertEqual(sorted(reservoir.sample()[:, 0].tolist()), x[:, 0].tolist())


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
            return sum(t.nbytes for t in [*tensors, counted.reservoir._rows])

        for _ in range(100):
            counted.add(x)
        bytes_early = held()
        tracemalloc.start()
        try:
            counted.add(x)
            traced_early = tracemalloc.get_traced_memory()[0]
            for _ in range(9_900):
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
        self.assertTrue(counted.reservoir.sample().isfinite().all())

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
