"""The writing side of a run: journal and state.json, by the one supervisor, through full disks and slow ones."""

import contextlib
import sys
import time
from collections.abc import Sequence

from fluxgym_tui.base.events import AttemptEvent, EndEvent, RunEvent
from fluxgym_tui.runs.directory import RunDirectory
from fluxgym_tui.runs.fold import RunFold, event_after, load_fold, save_fold
from fluxgym_tui.runs.journal import Entry, JournalWriter

_STATE_EVERY_S = 0.5


class Recorder:
    """Appends to the journal and keeps its sum. Entries that the disk refuses wait here and are tried again."""

    def __init__(self, run: RunDirectory, *, first_step: int, total: int | None = None) -> None:
        """Open the journal of `run`, whose lock this process holds. OSError."""
        self._run = run
        self._first_step = first_step
        self._total = total
        self._journal = JournalWriter(run.events)
        self._waiting: list[Entry] = []
        self._told = False
        self._saved_offset = -1
        self._saved_s = 0.0
        self.fold: RunFold = load_fold(run)

    def note(self, event: RunEvent, *, durable: bool = False) -> bool:
        """Journal an event of the supervisor's own; False where it has to wait."""
        return self._append([Entry(event)], durable=durable)

    def copy(self, entries: Sequence[Entry]) -> bool:
        """Journal a child's events, steps counted over all attempts; False where they have to wait.

        How a run starts and ends is the supervisor's to say: such events of a child are left out.
        """
        return self._append(
            [
                Entry(
                    event_after(entry.event, first_step=self._first_step, total=self._total),
                    entry.origin,
                    entry.position,
                )
                for entry in entries
                if not isinstance(entry.event, (AttemptEvent, EndEvent))
            ]
        )

    def retry(self) -> bool:
        """Try what waits once more; True where nothing waits any longer."""
        return self._append([])

    def save_state(self, *, force: bool = False) -> None:
        """Write state.json if there is news, at most twice a second. A disk that refuses costs nothing but speed."""
        now = time.monotonic()
        if self.fold.offset == self._saved_offset or (not force and now - self._saved_s < _STATE_EVERY_S):
            return
        self._saved_s = now
        try:
            save_fold(self._run, self.fold)
            self._saved_offset = self.fold.offset
        except OSError as error:
            self._complain(error)

    def close(self) -> None:
        """Close the journal. Entries that still wait are read from their sources again by the next supervisor."""
        self._journal.close()

    def _append(self, entries: list[Entry], *, durable: bool = False) -> bool:
        self._waiting += entries
        if not self._waiting:
            return True
        try:
            self._journal.append(self._waiting, durable=durable)
        except OSError as error:
            self._complain(error)
            return False
        for entry in self._waiting:
            self.fold.add(entry)
        self.fold.offset = self._journal.size
        self._waiting = []
        return True

    def _complain(self, error: OSError) -> None:
        """Say once in the supervisor's log that the disk refuses; the log may lie on the same disk."""
        if not self._told:
            self._told = True
            with contextlib.suppress(OSError):
                print(f"cannot write to {self._run.run_dir}: {error.strerror}; trying on", file=sys.stderr)  # noqa: T201
