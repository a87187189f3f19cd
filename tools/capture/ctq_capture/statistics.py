"""Statistics of one layer input in bounded memory: a row sample, second moments, means and maxima."""

from __future__ import annotations

import contextlib
import functools

import torch

CHUNK_BYTES = 64 << 20  # of the float32 copy of the rows being counted
LARGEST = 1e18  # a row with a larger value is skipped: its squares would leave float32
DISTINCT_HASHES = 1024  # kept to estimate the number of distinct rows
RANK_ROWS = 512  # of which the effective rank is taken at most


@contextlib.contextmanager
def exact_products(device: torch.device):
    """Float32 products in full precision: no TF32, no autocast, whatever the model itself runs with."""
    cuda = torch.backends.cuda.matmul
    try:
        before = torch.get_float32_matmul_precision()
        torch.set_float32_matmul_precision("highest")
        restore = functools.partial(torch.set_float32_matmul_precision, before)
    except (
        RuntimeError
    ):  # the process uses the per-backend settings of PyTorch 2.9, which exclude the other one
        restore = functools.partial(setattr, cuda, "fp32_precision", cuda.fp32_precision)
        cuda.fp32_precision = "ieee"
    try:
        with torch.autocast(device_type=device.type, enabled=False):
            yield
    finally:
        restore()


@functools.lru_cache(maxsize=64)
def _multipliers(words: int, device: torch.device) -> torch.Tensor:
    """Random int64 [words]: of a width the same in every process."""
    generator = torch.Generator().manual_seed(words)
    return torch.randint(-(2**63), 2**63 - 1, (words,), generator=generator, dtype=torch.int64).to(device)


def _signed(value: int) -> int:
    return (value + 2**63) % 2**64 - 2**63


def _mixed(h: torch.Tensor) -> torch.Tensor:
    """The last step of SplitMix64 (Steele, Lea and Flood 2014), a bijection of int64."""
    for shift, factor in ((30, 0xBF58476D1CE4E5B9), (27, 0x94D049BB133111EB), (31, 1)):
        h = (h ^ ((h >> shift) & ((1 << (64 - shift)) - 1))) * _signed(factor)
    return h


@functools.lru_cache(maxsize=4096)
def _start(seed: int) -> int:
    return int(_mixed(torch.tensor(_signed(seed * 0x9E3779B97F4A7C15))))


def row_hashes(x: torch.Tensor, seed: int) -> torch.Tensor:
    """A hash of each row's bits in bfloat16, int64 [n] on the device of x [n, N].

    Two columns are one word; words times random numbers add up modulo 2^64 (multilinear hashing,
    Dietzfelbinger 1996). Two different rows get the same hash with a chance of 2^-64 times the largest power
    of 2 that divides the differences of all their words, at most 2^-32. `seed` orders the hashes.
    """
    bits = x.to(torch.bfloat16)
    if bits.shape[1] % 2:
        bits = torch.nn.functional.pad(bits, (0, 1))
    bits = bits.contiguous()
    if bits.storage_offset() % 2:
        bits = bits.clone()
    words = bits.view(torch.int32)
    sums = (words * _multipliers(words.shape[1], words.device)).sum(1)
    return _mixed(sums + _start(seed))


HIGHEST = 2**63 - 1  # of all hashes
HASH, COUNT, PICTURE, STEP, SLOT = range(5)  # lines of the table of a RowSample


class RowSample:
    """Uniform sample of the distinct rows of a stream: those with the smallest hashes (bottom-k sampling).

    Each row comes once, with the number of times that it was seen and the picture and step of its first
    sight. When the sample is full, rows go from the pictures that have the most: of every picture stay the L
    smallest hashes, with the L that fills the sample. So a long run does not drown the others, and what stays
    does not depend on the order of the rows of a picture.

    A count is exact, because a row whose hash is low enough now was kept from its first sight on. Only rows
    that were dropped from one picture and taken up again in a later one with fewer rows count from there.
    Kept as bfloat16 in host memory.

    size         rows kept at most
    in_features  N, length of a row
    """

    def __init__(self, size: int, in_features: int, seed: int):
        self.size, self.in_features, self.seed = size, in_features, seed
        self.seen = 0  # rows of the stream
        self.passes = 0  # forward passes that had rows
        self._last_pass: tuple[int, int] | None = None
        self._last_steps: dict[int, int] = {}  # of each picture
        self._rows = torch.empty(0, in_features, dtype=torch.bfloat16)
        self._table = torch.empty(5, 0, dtype=torch.int64)  # of the kept rows, by rising hash
        self._limits: dict[int, int] = {}  # highest hash that stays, of the pictures that had to give rows
        self._smallest = torch.empty(0, dtype=torch.int64)  # hashes, by which distinct rows are estimated

    def __len__(self) -> int:
        return self._table.shape[1]

    def add(self, x: torch.Tensor, picture: int = 0, step: int = 0) -> None:
        """x  [n, N], finite, any float type and device"""
        self.seen += len(x)
        if self._last_pass != (picture, step):
            self._last_pass = picture, step
            self._last_steps[picture] = step
            self.passes += 1
        hashes = row_hashes(x, self.seed).cpu()
        limit = self._limits.get(picture, HIGHEST)
        full = len(self._smallest) == DISTINCT_HASHES
        highest = max(limit, *(int(h[-1]) for h in (self._table[HASH], self._smallest) if len(h)), -HIGHEST)
        low = (hashes <= (highest if full else HIGHEST)).nonzero().flatten()
        ordered, by_hash = hashes[low].sort()
        starts = torch.ones(len(ordered), dtype=torch.bool)
        starts[1:] = ordered[1:] != ordered[:-1]
        starts = starts.nonzero().flatten()
        unique, first = ordered[starts], low[by_hash[starts]]
        counts = torch.diff(starts, append=torch.tensor([len(ordered)]))
        self._note(unique)
        kept = self._table[HASH]
        at = torch.searchsorted(kept, unique)
        known = at < len(kept)
        known[known.clone()] = kept[at[known]] == unique[known]
        self._table[COUNT, at[known]] += counts[known]
        new = (~known & (unique <= limit)).nonzero().flatten()
        if len(new):
            numbers = torch.tensor([[picture], [step]]).expand(2, len(new))
            places = -1 - first[new]  # in x, until they have a slot
            self._insert(torch.cat([torch.stack([unique[new], counts[new]]), numbers, places[None]]), x)

    def _insert(self, new: torch.Tensor, x: torch.Tensor) -> None:
        """new  [5, m], lines of the table; the place i of a row in x as slot -1 - i"""
        table = torch.cat([self._table, new], 1)
        table = table[:, table[HASH].argsort()]
        if table.shape[1] > self.size:
            table = self._shared_out(table)
        self._reserve(table.shape[1])
        taken, free = table[SLOT] >= 0, torch.ones(len(self._rows), dtype=torch.bool)
        free[table[SLOT, taken]] = False
        places = -1 - table[SLOT, ~taken]
        slots = free.nonzero().flatten()[: len(places)]
        if len(places):
            self._rows[slots] = x[places.to(x.device)].to(torch.bfloat16).cpu()
        table[SLOT, ~taken] = slots
        self._table = table

    def _shared_out(self, table: torch.Tensor) -> torch.Tensor:
        """What stays of a table that is too long, and the pictures' limits after it."""
        numbers, pictures, having = table[PICTURE].unique(return_inverse=True, return_counts=True)
        rising = having.sort().values
        levels = (self.size - rising.cumsum(0) + rising).div(
            torch.arange(len(having), 0, -1), rounding_mode="floor"
        )
        level = int(levels[(rising > levels).nonzero()[0, 0]])
        more = having > level
        spare = self.size - int(having.clamp(max=level).sum())
        share = having.clamp(max=level) + (more & (more.cumsum(0) <= spare))
        by_picture = pictures.argsort(stable=True)
        rank = torch.empty_like(by_picture)
        rank[by_picture] = torch.arange(len(rank)) - (having.cumsum(0) - having).repeat_interleave(having)
        for picture in (share < having).nonzero().flatten().tolist():
            last = table[HASH, (pictures == picture) & (rank == share[picture] - 1)]
            self._limits[int(numbers[picture])] = int(last) if len(last) else -HIGHEST - 1
        return table[:, rank < share[pictures]]

    def _note(self, unique: torch.Tensor) -> None:
        if len(self._smallest) == DISTINCT_HASHES:
            unique = unique[unique < self._smallest[-1]]
        if len(unique):
            self._smallest = torch.cat([self._smallest, unique]).unique()[:DISTINCT_HASHES]

    @property
    def distinct(self) -> int:
        """Distinct rows of the stream. An estimate, with a deviation of 3 %, once rows had to be dropped.

        Of the k smallest of n random numbers below 1, the largest is about k / n (Bar-Yossef et al. 2002).
        """
        if not self._limits:
            return len(self)
        if len(self._smallest) < DISTINCT_HASHES:
            return len(self._smallest)
        return max(len(self), round((DISTINCT_HASHES - 1) * 2**64 / (int(self._smallest[-1]) + 2**63)))

    def repeats(self) -> bool:
        """Whether the passes of a picture see the same rows: at most 5 % are new in its latter half."""
        pictures, index = self._table[PICTURE].unique(return_inverse=True)
        last = torch.tensor([self._last_steps[p] for p in pictures.tolist()], dtype=torch.int64)[index]
        several = last > 0
        late = 2 * self._table[STEP] > last
        return bool(several.any()) and int((late & several).sum()) <= int(several.sum()) // 20

    def follows_steps(self) -> bool:
        """Whether there are one or two rows a pass, and later passes of a picture bring other ones."""
        return any(self._last_steps.values()) and self.distinct <= 2 * self.passes and not self.repeats()

    def rows(self, limit: int | None = None) -> torch.Tensor:
        """The rows kept, BF16 [n, N], in random order: any first part is a sample as well."""
        return self._rows[self._in_order(SLOT)[:limit]]

    def counts(self) -> torch.Tensor:
        """How often each of rows() was seen, int32 [n]"""
        return self._in_order(COUNT).clamp(max=2**31 - 1).int()

    def pictures(self) -> torch.Tensor:
        """The picture in which each of rows() was first seen, int32 [n]"""
        return self._in_order(PICTURE).int()

    def steps(self) -> torch.Tensor:
        """The forward pass of that picture in which each of rows() was first seen, int32 [n]"""
        return self._in_order(STEP).int()

    def effective_rank(self) -> float:
        """Participation ratio tr(H)² / |H|² of H = XᵀX, of at most 512 rows, as often as they were seen.

        The number of directions of equal strength that would give this ratio: from 1 to min(rows, N).
        """
        x = self.rows(RANK_ROWS).double()
        if not len(x) or not x.abs().max() > 0:
            return 0.0
        x = (x / x.abs().max() * self.counts()[:RANK_ROWS, None].double().sqrt()).float()
        x /= x.abs().max()
        with exact_products(x.device):
            products = (x @ x.T if len(x) <= self.in_features else x.T @ x).double()
        return float(products.trace() ** 2 / products.square().sum())

    def _in_order(self, line: int) -> torch.Tensor:
        generator = torch.Generator().manual_seed(self.seed ^ 0x5DEECE66D)
        return self._table[line, torch.randperm(len(self), generator=generator)]

    def _reserve(self, count: int) -> None:
        if count > len(self._rows):
            grown = torch.empty(
                min(self.size, max(count, 2 * len(self._rows))), self.in_features, dtype=torch.bfloat16
            )
            grown[: len(self._rows)] = self._rows
            self._rows = grown


def _columns(x: torch.Tensor) -> torch.Tensor:
    """Sum, sum of magnitudes, largest magnitude and length of each column, float32 [4, N] in host memory."""
    magnitude = x.abs()
    sums = (
        x.sum(0, dtype=torch.float32),
        magnitude.sum(0, dtype=torch.float32),
        magnitude.amax(0).float(),
        torch.linalg.vector_norm(x, dim=0, dtype=torch.float32),
    )
    return torch.stack(sums).cpu()


class InputStatistics:
    """What is kept of one distinct input X, however many rows it has.

    in_features     N, length of a row
    rows            size of the row sample, 0 for none
    hessian         whether H = XᵀX / n is accumulated, float32 [N, N]
    seed            of the row sample
    hessian_device  where H lives; by default where the first rows came from
    """

    def __init__(
        self,
        in_features: int,
        *,
        rows: int,
        hessian: bool,
        seed: int,
        hessian_device: torch.device | str | None = None,
    ):
        self.in_features = in_features
        self.count = 0  # rows counted
        self.skipped = 0  # rows left out because of a value that is not finite or above LARGEST
        self.sample = RowSample(rows, in_features, seed) if rows else None
        self.channel_max = torch.zeros(in_features)
        self._sum = torch.zeros(in_features, dtype=torch.float64)
        self._magnitude_sum = torch.zeros(in_features, dtype=torch.float64)
        self._square_sum = torch.zeros(in_features, dtype=torch.float64)
        self._wants_hessian, self._hessian_device = hessian, hessian_device
        self.hessian: torch.Tensor | None = None

    @property
    def mean(self) -> torch.Tensor:
        """Mean of each column, float32 [N]"""
        return (self._sum / max(1, self.count)).float()

    @property
    def channel_mean(self) -> torch.Tensor:
        """Mean magnitude of each column, float32 [N]"""
        return (self._magnitude_sum / max(1, self.count)).float()

    @property
    def second_moment(self) -> torch.Tensor:
        """Mean square of each column, float32 [N]"""
        return (self._square_sum / max(1, self.count)).float()

    def add(self, x: torch.Tensor, picture: int = 0, step: int = 0) -> None:
        """x  [n, N], any float type and device; not modified"""
        if x.dtype not in (torch.float32, torch.bfloat16, torch.float16):
            x = x.float()
        for chunk in x.split(max(1, CHUNK_BYTES // (4 * self.in_features))):
            self._add(chunk, picture, step)

    def _add(self, x: torch.Tensor, picture: int, step: int) -> None:
        total, magnitude, largest, length = _columns(x)
        if not (largest <= LARGEST).all():  # a NaN is not, either
            usable = (x.abs() <= LARGEST).all(dim=1)
            before, x = len(x), x[usable]
            self.skipped += before - len(x)
            if not len(x):
                return
            total, magnitude, largest, length = _columns(x)
        before, self.count = self.count, self.count + len(x)
        self._sum += total.double()
        self._magnitude_sum += magnitude.double()
        self._square_sum += length.double().square()
        self.channel_max = torch.maximum(self.channel_max, largest)
        if self.sample is not None:
            self.sample.add(x, picture, step)
        if self._wants_hessian:
            self._add_products(x.float(), before)

    def _add_products(self, x: torch.Tensor, before: int) -> None:
        """H <- H·before/count + XᵀX/count.

        A running mean: old and new rows weigh the same, and float32 keeps its precision over many batches.
        """
        if self.hessian is None:
            self.hessian = torch.zeros(
                self.in_features, self.in_features, device=self._hessian_device or x.device
            )
        h, keep, weight = self.hessian, before / self.count, 1 / self.count
        with exact_products(x.device):
            if h.device == x.device:
                h.addmm_(x.T, x, beta=keep, alpha=weight)
            else:
                h.mul_(keep).add_((x.T @ x).to(h.device), alpha=weight)
