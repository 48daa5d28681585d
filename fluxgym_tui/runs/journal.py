"""The journal of a run: events appended whole line by whole line, each copied line saying where it came from."""

import json
import os
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from fluxgym_tui.base.events import RunEvent, from_json

_CHUNK_BYTES = 1 << 20


@dataclass(frozen=True, slots=True)
class Entry:
    """One line of the journal: an event and, where it was copied from a child, how far `origin` was read with it.

    `position` counts what of `origin` is behind this event (bytes of an events file, events of a parsed log). It stands
    in the same line as the event, so no crash can part the two: nothing is copied twice, nothing is left out.
    """

    event: RunEvent
    origin: str | None = None
    position: int = 0

    def to_line(self) -> bytes:
        """The entry as one JSON line with its newline."""
        data = self.event.to_json()
        if self.origin is not None:
            data = {**data, "origin": self.origin, "position": self.position}
        return json.dumps(data, separators=(",", ":"), allow_nan=False).encode("ascii") + b"\n"

    @classmethod
    def from_line(cls, line: bytes) -> "Entry | None":
        """The entry on a line, or None where the line is torn or no event."""
        try:
            data: Any = json.loads(line)
            if not isinstance(data, dict):
                return None
            origin, position = data.pop("origin", None), data.pop("position", 0)
            return cls(from_json(data), None if origin is None else str(origin), int(position))
        except (ValueError, TypeError):
            return None


class JournalWriter:
    """Appends to a journal; only the holder of the run's lock may have one."""

    def __init__(self, path: Path) -> None:
        """Open `path`, making it if needed; a torn last line, left by a writer that died, is cut off. OSError."""
        self._handle = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
        try:
            self.size = _whole_lines_end(self._handle)
            os.ftruncate(self._handle, self.size)
        except OSError:
            os.close(self._handle)
            raise

    def append(self, entries: Iterable[Entry], *, durable: bool = False) -> None:
        """Write all of `entries` or, where the disk refuses (OSError), none; `durable` waits for the disk itself."""
        raw = memoryview(b"".join(entry.to_line() for entry in entries))
        written = 0
        try:
            while written < len(raw):
                written += os.pwrite(self._handle, raw[written:], self.size + written)
            if durable:
                os.fsync(self._handle)
        except OSError:
            os.ftruncate(self._handle, self.size)
            raise
        self.size += written

    def close(self) -> None:
        """Close the file."""
        os.close(self._handle)


class LineReader:
    """Reads a growing file's whole lines; the last one waits until its newline is there."""

    def __init__(self, path: Path, *, offset: int = 0) -> None:
        self.path = path
        self.offset = offset  # bytes of whole lines handed out so far

    def read(self, *, at_most_bytes: int = _CHUNK_BYTES) -> list[tuple[bytes, int]]:
        """New whole lines, without newline, each with the offset behind it; empty where there is nothing new.

        A line longer than `at_most_bytes` is read whole all the same. A missing file is an empty one; other OSErrors
        are the caller's.
        """
        try:
            handle = os.open(self.path, os.O_RDONLY | os.O_CLOEXEC)
        except FileNotFoundError:
            return []
        try:
            size = os.fstat(handle).st_size
            want = at_most_bytes
            while True:
                raw = os.pread(handle, min(want, max(size - self.offset, 0)), self.offset)
                end = raw.rfind(b"\n") + 1
                if end or self.offset + len(raw) >= size or not raw:
                    break
                want *= 2
        finally:
            os.close(handle)
        lines = []
        for line in raw[:end].split(b"\n")[:-1]:
            self.offset += len(line) + 1
            lines.append((line, self.offset))
        return lines


def read_entries(path: Path, *, offset: int = 0) -> Iterator[tuple[Entry, int]]:
    """The entries of a journal from byte `offset` (a line's beginning) on, each with the offset behind it."""
    reader = LineReader(path, offset=offset)
    while lines := reader.read():
        for line, end in lines:
            entry = Entry.from_line(line)
            if entry is not None:
                yield entry, end


def _whole_lines_end(handle: int) -> int:
    """The offset behind the last newline of the file."""
    end = os.fstat(handle).st_size
    while end > 0:
        begin = max(end - 4096, 0)
        newline = os.pread(handle, end - begin, begin).rfind(b"\n")
        if newline >= 0:
            return begin + newline + 1
        end = begin
    return 0
