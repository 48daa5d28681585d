"""How a child's events are learnt: from the file it writes, or by reading its log; each with the place it came from."""

import importlib
import os
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Protocol

from fluxgym_tui.base.events import RunEvent, from_line
from fluxgym_tui.runs.commands import ChildCommand, LogFormat
from fluxgym_tui.runs.directory import ChildFiles
from fluxgym_tui.runs.journal import Entry, LineReader

_CHUNK_BYTES = 1 << 18


class LogParser(Protocol):
    """Turns a log's bytes into events; pieces may be cut anywhere and must not change what comes out."""

    def feed(self, chunk: bytes) -> list[RunEvent]: ...

    def close(self) -> list[RunEvent]: ...


class Source(Protocol):
    """Where a child's events come from. `pull` hands out what is new, as journal entries."""

    def pull(self) -> list[Entry]:
        """Some of what is new, in order; empty where nothing is. What was handed out must be journaled."""
        ...

    def finish(self) -> list[Entry]:
        """What only the end brings to light; called once, after the child ended and `pull` was empty."""
        ...


class EventsFile:
    """The events that a child wrote as JSON lines to `FLUXGYM_EVENTS`."""

    def __init__(self, path: Path, *, position: int = 0) -> None:
        self._reader = LineReader(path, offset=position)
        self._name = path.name

    def pull(self) -> list[Entry]:
        entries = []
        for line, end in self._reader.read(at_most_bytes=_CHUNK_BYTES):
            event = from_line(line)
            if event is not None:
                entries.append(Entry(event, self._name, end))
        return entries

    def finish(self) -> list[Entry]:
        return []  # a line without its end was torn by the child's death


class ParsedLog:
    """The events that a parser finds in a child's log.

    A parser's inner state is not kept on disk: after a new start it reads the log from its beginning again, and the
    first `position` events, which the journal has already, are left out.
    """

    def __init__(self, path: Path, parser: LogParser, *, position: int = 0, clock: Callable[[], float] = time.time):
        self._path = path
        self._parser = parser
        self._known = position
        self._seen = 0
        self._offset = 0
        self._clock = clock

    def pull(self) -> list[Entry]:
        while chunk := self._next_chunk():
            entries = self._entries(self._parser.feed(chunk))
            if entries:
                return entries
        return []

    def finish(self) -> list[Entry]:
        return self._entries(self._parser.close())

    def _next_chunk(self) -> bytes:
        try:
            handle = os.open(self._path, os.O_RDONLY | os.O_CLOEXEC)
        except FileNotFoundError:
            return b""
        try:
            chunk = os.pread(handle, _CHUNK_BYTES, self._offset)
        finally:
            os.close(handle)
        self._offset += len(chunk)
        return chunk

    def _entries(self, events: list[RunEvent]) -> list[Entry]:
        entries = []
        for event in events:
            self._seen += 1
            if self._seen > self._known:
                # A log parser has no clock: what it saw happened about now, as far as anyone can tell.
                timed = event if event.time > 0 else replace(event, time=self._clock())
                entries.append(Entry(timed, self._path.name, self._seen))
        return entries


class Both:
    """Two sources of one child, each with its own order."""

    def __init__(self, first: Source, second: Source) -> None:
        self._sources = (first, second)

    def pull(self) -> list[Entry]:
        return [entry for source in self._sources for entry in source.pull()]

    def finish(self) -> list[Entry]:
        return [entry for source in self._sources for entry in source.finish()]


# Loaded by name where used: each parser belongs to its backend, and a supervisor needs at most one of them.
_PARSERS: dict[LogFormat, tuple[str, str]] = {"kohya": ("fluxgym_tui.backends.kohya.log", "KohyaLog")}


def source_for(child: ChildCommand, files: ChildFiles, positions: dict[str, int]) -> Source:
    """The source of the events of `child`, going on behind what the journal has of it already."""
    if child.log_format not in _PARSERS:
        return EventsFile(files.events, position=positions.get(files.events.name, 0))
    module, name = _PARSERS[child.log_format]
    parser: LogParser = getattr(importlib.import_module(module), name)()
    log: Source = ParsedLog(files.log, parser, position=positions.get(files.log.name, 0))
    # Only a trainer whose log is parsed leaves its pictures and losses untold, so only its supervisor loads these.
    from fluxgym_tui.backends.kohya.tracker import tracker_place
    from fluxgym_tui.runs.sample_files import SampleFiles, position_of_samples
    from fluxgym_tui.runs.tracker_file import TrackedLog

    place = tracker_place(child.argv, cwd=child.cwd)
    if place is not None:
        log = TrackedLog(log, place, files, positions)
    return Both(log, SampleFiles(files.run_dir.parent / "sample", position=position_of_samples(positions)))
