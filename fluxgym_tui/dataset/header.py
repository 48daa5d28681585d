"""What a picture's header says, why a file is refused, and reading a few bytes of it at a time."""

import os
from typing import Final, NamedTuple

# Enough for all headers up to the pixels in most pictures; an embedded preview or profile costs one more read.
HEAD_BYTES: Final = 4096
TAIL_BYTES: Final = 32
# Twice Pillow's MAX_IMAGE_PIXELS: above it Pillow, and with it every trainer, refuses to open a picture.
MAX_PIXELS: Final = 2 * (1024 * 1024 * 1024 // 4 // 3)


class PictureHeader(NamedTuple):  # a tuple, because it is made half as fast again as a frozen dataclass
    """What a header says. `width` and `height` are pixels as stored, before the orientation (1 to 8) is applied.

    `traits` name what a trainer would not read right by itself: `alpha`, `palette`, `cmyk`, `deep` (16 bits a
    channel), `icc` (an embedded colour profile), `animated`, `foreign` (a format that kohya does not read).
    """

    format: str
    width: int
    height: int
    orientation: int = 1
    traits: tuple[str, ...] = ()


class PictureError(Exception):
    """A file that cannot be trained as a picture: `code` for programs, `reason` for people, `size` where it is known.

    `size` is width and height in pixels as stored.
    """

    def __init__(self, code: str, reason: str, *, size: tuple[int, int] | None = None) -> None:
        super().__init__(reason)
        self.code = code
        self.reason = reason
        self.size = size


def cut_off(*, size: tuple[int, int] | None = None) -> PictureError:
    """The error for a file that ends before its picture does."""
    return PictureError("truncated", "the picture is cut off: its end is missing", size=size)


class ByteSource:
    """An open file of `size` bytes whose first (`head`) and last bytes (`tail`) are already read."""

    __slots__ = ("_more", "_more_at", "handle", "head", "size", "tail")

    def __init__(self, handle: int, size: int) -> None:
        """Read the ends of the open file `handle`. OSError as the system raises it."""
        self.handle = handle
        self.size = size
        self.head = head = os.read(handle, HEAD_BYTES)
        self.tail = head[-TAIL_BYTES:] if size <= len(head) else os.pread(handle, TAIL_BYTES, size - TAIL_BYTES)
        self._more = b""
        self._more_at = 0

    def at(self, offset: int, length: int) -> bytes:
        """Up to `length` bytes from `offset`, fewer at the end of the file. OSError as the system raises it."""
        if offset + length <= len(self.head):
            return self.head[offset : offset + length]
        start = offset - self._more_at
        if start < 0 or start + length > len(self._more):
            self._more = os.pread(self.handle, max(length, HEAD_BYTES), offset)
            self._more_at, start = offset, 0
        return self._more[start : start + length]

    def has(self, needle: bytes, *, start: int) -> bool:
        """Whether `needle` stands at or after `start`; reads a megabyte at a time."""
        offset = start
        while offset < self.size:
            block = os.pread(self.handle, 1 << 20, offset)
            if needle in block:
                return True
            if len(block) < len(needle):
                return False
            offset += len(block) - len(needle) + 1
        return False
