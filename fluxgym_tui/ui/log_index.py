"""A log file as byte offsets of its lines: opened at any size, read only where it is looked at."""

import os
import re
from array import array
from bisect import bisect_right
from collections.abc import Iterator
from itertools import accumulate, count
from operator import add
from pathlib import Path

_CHUNK_BYTES = 1 << 22
_SHOWN_BYTES = 1 << 14  # of one line: a bar redrawn for hours is one line of megabytes
_BAD = re.compile(rb"\b(?:\w*error|\w*exception|traceback|warning|warn|fatal|out of memory|killed|nan)\b")
# One of these is in every line that `_BAD` matches; looking for them first is ten times faster than the pattern alone.
_BAD_PARTS = (b"error", b"exception", b"traceback", b"warn", b"fatal", b"out of memory", b"killed", b"nan")


class LogIndex:
    """Where the lines of `path` begin. A line ends at LF; what a carriage return overwrote is not shown.

    `grow` is called from one thread at a time; `line` may be called from another meanwhile.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.starts = array("Q", [0])
        self.size = 0  # bytes indexed
        self.bad = array("Q")  # numbers of lines that tell of an error or a warning
        self._handle: int | None = None
        self._tail = b""

    @property
    def lines(self) -> int:
        """How many lines there are; an unfinished last one counts."""
        return len(self.starts) - (1 if self.starts[-1] == self.size else 0)

    def grow(self, *, at_most_bytes: int = _CHUNK_BYTES) -> bool:
        """Index what is new, `at_most_bytes` of it; whether there was any. A missing file is an empty one.

        A file that shrank (somebody emptied it) is read anew.
        """
        if self._handle is None:
            try:
                self._handle = os.open(self.path, os.O_RDONLY | os.O_CLOEXEC)
            except OSError:
                return False
        try:
            if os.fstat(self._handle).st_size < self.size:
                self.starts, self.bad, self.size, self._tail = array("Q", [0]), array("Q"), 0, b""
            raw = os.pread(self._handle, at_most_bytes, self.size)
        except OSError:
            return False
        if not raw:
            return False
        # Lines end at the sum of the lengths so far plus the newlines so far; all of it outside of Python's own loop.
        ends = list(map(add, accumulate(map(len, raw.split(b"\n"))), count(self.size + 1)))
        ends.pop()  # behind the last newline a line has only begun
        first_line = len(self.starts) - 1
        tail = self._tail  # of a line that was begun before: a word may be cut in two between two readings
        newest = raw[raw.rfind(b"\n") + 1 :]
        self._tail = (newest if b"\n" in raw else tail + newest)[-_SHOWN_BYTES:]
        self._note_bad(tail + raw, [self.size - len(tail), *ends], first_line)
        self.starts.extend(ends)
        self.size += len(raw)
        return True

    def _note_bad(self, raw: bytes, begins: list[int], first_line: int) -> None:
        """Note the bad ones of the lines that begin at `begins`; `raw` is the file from the first of them on."""
        low, base = raw.lower(), begins[0]
        found: set[int] = set()
        for part in _BAD_PARTS:
            at = low.find(part)
            while at >= 0:
                line = bisect_right(begins, base + at) - 1
                end = begins[line + 1] - base if line + 1 < len(begins) else len(low)
                if line not in found and _BAD.search(low, begins[line] - base, end):
                    found.add(line)
                at = low.find(part, end)
        for number in sorted(first_line + line for line in found):
            if not self.bad or self.bad[-1] != number:
                self.bad.append(number)

    def raw_line(self, number: int) -> bytes:
        """What a terminal would show of line `number` (from 0), at most 16 KiB of it; empty where it cannot be read."""
        if self._handle is None or not 0 <= number < len(self.starts):
            return b""
        begin = self.starts[number]
        end = self.starts[number + 1] - 1 if number + 1 < len(self.starts) else self.size
        try:
            if end - begin <= _SHOWN_BYTES:
                return _overwritten(os.pread(self._handle, end - begin, begin))
            tail = os.pread(self._handle, _SHOWN_BYTES, end - _SHOWN_BYTES)
            if b"\r" in tail.rstrip(b"\r"):
                return _overwritten(tail)
            return os.pread(self._handle, _SHOWN_BYTES, begin) + "…".encode()
        except OSError:
            return b""

    def line(self, number: int) -> str:
        """`raw_line` as text; bytes that are no UTF-8 are kept as surrogates."""
        return self.raw_line(number).decode("utf-8", "surrogateescape")

    def find(self, query: str) -> Iterator[int]:
        """The numbers of lines that contain `query`, whatever the case, from the first on."""
        if not query or self._handle is None:
            return
        pattern = re.compile(re.escape(query.encode("utf-8", "surrogateescape")), re.IGNORECASE)
        overlap = len(query.encode("utf-8", "surrogateescape")) - 1
        offset, found = 0, -1
        size = self.size
        while offset < size:
            raw = os.pread(self._handle, min(_CHUNK_BYTES, size - offset), offset)
            if not raw:
                return
            for match in pattern.finditer(raw):
                number = bisect_right(self.starts, offset + match.start()) - 1
                if number != found:
                    found = number
                    yield number
            offset += len(raw) if len(raw) <= overlap or offset + len(raw) >= size else len(raw) - overlap

    def line_at(self, offset: int) -> int:
        """The number of the line that holds byte `offset`."""
        return max(0, bisect_right(self.starts, offset) - 1)

    def close(self) -> None:
        """Close the file."""
        if self._handle is not None:
            os.close(self._handle)
            self._handle = None


def _overwritten(raw: bytes) -> bytes:
    """What is left of a line after its carriage returns."""
    return raw.rstrip(b"\r").rpartition(b"\r")[2]


def is_bad(text: str) -> bool:
    """Whether a line tells of an error or a warning."""
    return _BAD.search(text.lower().encode("utf-8", "surrogateescape")) is not None
