"""Statistics of one layer input in bounded memory: a row sample, second moments, means and maxima."""

from __future__ import annotations

import contextlib
import functools

import torch

CHUNK_BYTES = 64 << 20  # of the float32 copy of the rows being counted
LARGEST = 1e18  # a row with a larger value is skipped: its squares would leave float32


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


class RowReservoir:
    """Uniform sample of a stream of rows, without replacement (Vitter 1985, algorithm R).

    After n rows each of them is in the sample with probability min(1, size / n). Kept as bfloat16 in host
    memory; the same seed and stream give the same sample.

    size         rows kept at most
    in_features  N, length of a row
    """

    def __init__(self, size: int, in_features: int, seed: int):
        self.size, self.in_features, self.seed = size, in_features, seed
        self.seen = 0
        self._rows = torch.empty(0, in_features, dtype=torch.bfloat16)
        self._generator = torch.Generator().manual_seed(seed)

    def __len__(self) -> int:
        return min(self.seen, self.size)

    def add(self, x: torch.Tensor) -> None:
        """x  [n, N], finite, any float type and device"""
        first, n = self.seen, len(x)
        self.seen += n
        filling = max(0, min(n, self.size - first))
        row_of_slot = {first + i: i for i in range(filling)}
        if n > filling:
            index = torch.arange(first + filling, first + n, dtype=torch.float64)
            slot = (
                torch.rand(n - filling, generator=self._generator, dtype=torch.float64) * (index + 1)
            ).long()
            for i in (slot < self.size).nonzero().flatten().tolist():
                row_of_slot[int(slot[i])] = filling + i  # a later row replaces an earlier one, as row by row
        if not row_of_slot:
            return
        self._reserve(len(self))
        rows = x[torch.tensor(list(row_of_slot.values()), device=x.device)]
        self._rows[torch.tensor(list(row_of_slot))] = rows.to(torch.bfloat16).cpu()

    def sample(self) -> torch.Tensor:
        """The rows kept, BF16 [min(seen, size), N], in random order: any first part is a sample as well."""
        order = torch.randperm(len(self), generator=torch.Generator().manual_seed(self.seed ^ 0x5DEECE66D))
        return self._rows[order]

    def _reserve(self, count: int) -> None:
        if count > len(self._rows):
            grown = torch.empty(
                min(self.size, max(count, 2 * len(self._rows))), self.in_features, dtype=torch.bfloat16
            )
            grown[: len(self._rows)] = self._rows
            self._rows = grown


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
        self.reservoir = RowReservoir(rows, in_features, seed) if rows else None
        self.channel_max = torch.zeros(in_features)
        self._sum = torch.zeros(in_features, dtype=torch.float64)
        self._magnitude_sum = torch.zeros(in_features, dtype=torch.float64)
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

    def add(self, x: torch.Tensor) -> None:
        """x  [n, N], any float type and device; not modified"""
        for chunk in x.split(max(1, CHUNK_BYTES // (4 * self.in_features))):
            self._add(chunk.float())

    def _add(self, x: torch.Tensor) -> None:
        magnitude = x.abs()
        usable = (magnitude <= LARGEST).all(dim=1)
        usable_rows = int(usable.sum())
        if usable_rows < len(x):
            self.skipped += len(x) - usable_rows
            x, magnitude = x[usable], magnitude[usable]
        if usable_rows == 0:
            return
        before, self.count = self.count, self.count + usable_rows
        self._sum += x.sum(0).cpu().double()
        self._magnitude_sum += magnitude.sum(0).cpu().double()
        self.channel_max = torch.maximum(self.channel_max, magnitude.amax(0).cpu())
        if self.reservoir is not None:
            self.reservoir.add(x)
        if self._wants_hessian:
            self._add_products(x, before)

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
