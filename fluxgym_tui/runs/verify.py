"""Whether a LoRA file is there, whole, and made of numbers: read in pieces, without a tensor library."""

from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from fluxgym_tui.base.errors import FluxgymError
from fluxgym_tui.base.safetensors import TensorInfo, read_header

_PIECE_BYTES = 1 << 20  # a multiple of every number's size, so that no number is cut in two
_CLOCK_SLACK_NS = 2_000_000_000  # some file systems keep times to two seconds


@dataclass(frozen=True, slots=True)
class LoraVerdict:
    """What is to be said of a LoRA file; `problem` is None where it is good."""

    path: Path
    problem: str | None = None

    @property
    def good(self) -> bool:
        """Whether the file may be called a result."""
        return self.problem is None


def verify_lora(path: Path, *, not_before_ns: int | None = None) -> LoraVerdict:
    """Open the LoRA at `path` and look at every number in it.

    `not_before_ns` is a time (as `st_mtime_ns` of a file beside it): an older LoRA is not this training's.
    """
    try:
        written_ns = path.stat().st_mtime_ns
        if not_before_ns is not None and written_ns < not_before_ns - _CLOCK_SLACK_NS:
            return LoraVerdict(path, f"{path.name} is from before this training; no new one was written")
        header = read_header(path)
        if not header.tensors:
            return LoraVerdict(path, f"{path.name} holds no tensors")
        with path.open("rb") as file:
            for name, tensor in header.tensors.items():
                if _holds_bad(file, tensor):
                    return LoraVerdict(path, f"{path.name} is not usable: {name} holds NaN or infinity")
    except FileNotFoundError:
        return LoraVerdict(path, f"{path.name} was not written")
    except FluxgymError as error:
        return LoraVerdict(path, error.message)
    except OSError as error:
        return LoraVerdict(path, f"{path.name} cannot be read: {error.strerror}")
    return LoraVerdict(path)


def _holds_bad(file: BinaryIO, tensor: TensorInfo) -> bool:
    pattern = _PATTERNS.get(tensor.dtype)
    if pattern is None:
        return False
    file.seek(tensor.start)
    left = tensor.end - tensor.start
    while left > 0:
        piece = file.read(min(_PIECE_BYTES, left))
        if not piece:
            raise OSError(5, "it became shorter while it was read")
        if pattern.found_in(piece):
            return True
        left -= len(piece)
    return False


class _Pattern:
    """How a number format (little-endian, IEEE 754 and kin) marks NaN and infinity: in its last one or two bytes.

    A number is bad where its last byte is one of `last` and, if given, the byte before is one of `before`. Whole
    pieces are looked at by byte slices, tables and one `&` of long integers.
    """

    def __init__(self, size: int, last: set[int], before: set[int] | None = None) -> None:
        self._size = size
        self._last = bytes(byte in last for byte in range(256))
        self._before = None if before is None else bytes(byte in before for byte in range(256))

    def found_in(self, piece: bytes) -> bool:
        marks = piece[self._size - 1 :: self._size].translate(self._last)
        if b"\x01" not in marks:
            return False
        if self._before is None:
            return True
        other = piece[self._size - 2 :: self._size].translate(self._before)
        return int.from_bytes(marks, "little") & int.from_bytes(other, "little") != 0


_ALL_ONES = {0x7F, 0xFF}  # seven bits of the exponent, under either sign
_PATTERNS = {
    "F64": _Pattern(8, _ALL_ONES, set(range(0xF0, 0x100))),
    "F32": _Pattern(4, _ALL_ONES, set(range(0x80, 0x100))),
    "BF16": _Pattern(2, _ALL_ONES, set(range(0x80, 0x100))),
    "F16": _Pattern(2, {*range(0x7C, 0x80), *range(0xFC, 0x100)}),
    "F8_E5M2": _Pattern(1, {*range(0x7C, 0x80), *range(0xFC, 0x100)}),
    "F8_E4M3": _Pattern(1, _ALL_ONES),  # this format has NaN but no infinity
}
