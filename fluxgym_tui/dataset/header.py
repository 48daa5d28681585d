"""What a picture's header says, why a file is refused, and reading a few bytes of it at a time."""

import os
from dataclasses import dataclass
from typing import Final

# Enough for all headers up to the pixels in most pictures; an embedded preview or profile costs one more read.
HEAD_BYTES: Final = 4096


@dataclass(frozen=True, slots=True)
class PictureHeader:
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
    """A file that cannot be trained as a picture: `code` for programs, `reason` for people."""

    def __init__(self, code: str, reason: str) -> None:
        super().__init__(reason)
        self.code = code
        self.reason = reason


class ByteSource:
    """An open file of `size` bytes whose first bytes, `head`, are already read."""

    __slots__ = ("handle", "head", "size")

    def __init__(self, handle: int, head: bytes, size: int) -> None:
        self.handle = handle
        self.head = head
        self.size = size

    def at(self, offset: int, length: int) -> bytes:
        """Up to `length` bytes from `offset`, fewer at the end of the file. OSError as the system raises it."""
        if offset + length <= len(self.head):
            return self.head[offset : offset + length]
        return os.pread(self.handle, length, offset)

    def find(self, needle: bytes, start: int, *, step: int = 1 << 20) -> int:
        """Where `needle` stands at or after `start`, -1 where it does not; reads `step` bytes at a time."""
        offset = start
        while offset < self.size:
            block = os.pread(self.handle, step, offset)
            if not block:
                return -1
            found = block.find(needle)
            if found >= 0:
                return offset + found
            if len(block) < len(needle):
                return -1
            offset += len(block) - len(needle) + 1
        return -1
