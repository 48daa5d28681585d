"""Weights from a safetensors file straight to their place: mapped where they stay as they are, else read one by one.

Never two copies: at most one tensor is in memory beside what the model keeps.
"""

import mmap
import sys
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import Self

import torch
from torch import Tensor

from fluxgym_tui.base.errors import FluxgymError
from fluxgym_tui.base.safetensors import TensorInfo, read_header

DTYPES = {
    "F32": torch.float32,
    "F16": torch.float16,
    "BF16": torch.bfloat16,
    "F8_E4M3": torch.float8_e4m3fn,
    "F8_E5M2": torch.float8_e5m2,
    "F64": torch.float64,
    "I64": torch.int64,
}
# Pages of a private mapping are not set aside in advance: a model may be larger than the memory. Python names it not.
_NO_RESERVE = 0x4000 if sys.platform == "linux" else 0
_ALIGNED = 256  # tensors begin at a multiple of so many bytes, as PyTorch's own allocator has it


def is_fp8(dtype: torch.dtype) -> bool:
    """Whether `dtype` is one of the 8-bit floats: they are stored, never computed with."""
    return dtype in (torch.float8_e4m3fn, torch.float8_e5m2)


class PageLocked:
    """Page-locked memory of the CPU, in pieces of `PIECE_BYTES`: PyTorch gives it out in powers of two alone."""

    PIECE_BYTES = 2**29

    def __init__(self) -> None:
        self._rest = torch.empty(0, dtype=torch.uint8)

    def take(self, size: int) -> Tensor:
        """`size` bytes."""
        if size > self.PIECE_BYTES:
            return self.piece(size)
        if size > len(self._rest):
            self._rest = self.piece(self.PIECE_BYTES)
        taken, self._rest = self._rest[:size], self._rest[-(-size // _ALIGNED) * _ALIGNED :]
        return taken

    @staticmethod
    def piece(size: int) -> Tensor:
        """So many bytes from the system."""
        return torch.empty(size, dtype=torch.uint8, pin_memory=True)


class WeightsFile:
    """An open safetensors file. `tensors` is its header's; FluxgymError where it cannot be read."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.tensors: Mapping[str, TensorInfo] = read_header(path).tensors
        self._file = path.open("rb", buffering=0)
        self._map: mmap.mmap | None = None
        self._buffer: Tensor | None = None
        self._page_locked = PageLocked()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._file.close()  # what was mapped stays so as long as a tensor needs it
        self._buffer = None

    def dtype(self, name: str) -> torch.dtype:
        """The precision that `name` is stored in."""
        stored = self.tensors[name].dtype
        if stored not in DTYPES:
            raise FluxgymError(
                f"{self.path}: {name} is stored as {stored}, which is not read.",
                hint="Use the bf16 or fp16 file of this model.",
            )
        return DTYPES[stored]

    def load(
        self,
        name: str,
        *,
        dtype: torch.dtype | None = None,
        device: torch.device | str = "cpu",
        pinned: bool = False,
    ) -> Tensor:
        """The tensor `name` on `device` in `dtype` (None: as stored).

        On the CPU and as stored it is mapped: its memory is the file's pages, which the system may drop and read again.
        `pinned` puts it into page-locked memory of the CPU, from where a GPU fetches it while it computes.
        """
        stored, device = self.dtype(name), torch.device(device)
        dtype = dtype or stored
        if device.type == "cpu" and dtype is stored and not pinned and self._is_mappable(name):
            return self._mapped(name)
        if pinned:
            place = self._page_locked.take(self._size(name) // stored.itemsize * dtype.itemsize)
            if dtype is stored:
                return self._read(name, into=place)
            shape = self.tensors[name].shape
            return place.view(dtype).view(shape).copy_(self._read(name, into=self._passage(name)))
        if dtype is stored and device.type == "cpu":
            return self._read(name, into=torch.empty(self._size(name), dtype=torch.uint8))
        # To the device first: it casts faster than the CPU.
        return self._read(name, into=self._passage(name)).to(device).to(dtype)

    def _size(self, name: str) -> int:
        return self.tensors[name].end - self.tensors[name].start

    def _passage(self, name: str) -> Tensor:
        """Memory that tensors go through, one after the other."""
        size = self._size(name)
        if self._buffer is None or len(self._buffer) < size:
            self._buffer = torch.empty(size, dtype=torch.uint8)
        return self._buffer[:size]

    def _is_mappable(self, name: str) -> bool:
        info = self.tensors[name]
        return info.end > info.start and info.start % self.dtype(name).itemsize == 0

    def _mapped(self, name: str) -> Tensor:
        if self._map is None:
            # Private and writable: whoever changes a weight changes a page of its own, not the file.
            self._map = mmap.mmap(
                self._file.fileno(),
                0,
                flags=mmap.MAP_PRIVATE | _NO_RESERVE,
                prot=mmap.PROT_READ | mmap.PROT_WRITE,
            )
        info = self.tensors[name]
        dtype = self.dtype(name)
        count = (info.end - info.start) // dtype.itemsize
        return torch.frombuffer(self._map, dtype=dtype, count=count, offset=info.start).view(info.shape)

    def _read(self, name: str, *, into: Tensor) -> Tensor:
        """The tensor `name`, read into the bytes of `into`, which it is then made of."""
        info = self.tensors[name]
        raw, done = into.numpy().data, 0
        try:
            self._file.seek(info.start)
            while done < len(raw):
                count = self._file.readinto(raw[done:])
                if not count:
                    raise FluxgymError(f"{self.path} ends within {name}.", hint="Download the file again.")
                done += count
        except OSError as error:
            raise FluxgymError(
                f"{self.path}: {name} cannot be read: {error.strerror}", hint="Check the disk, or download it again."
            ) from error
        return into.view(self.dtype(name)).view(info.shape)
