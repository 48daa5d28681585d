"""Following a run from anywhere: its journal as it grows, until the run has ended."""

import time
from collections.abc import AsyncIterator, Iterator

from fluxgym_tui.base.errors import FluxgymError
from fluxgym_tui.base.events import EndEvent, Outcome, RunEvent
from fluxgym_tui.runs.adopted import adopted_events, is_adopted
from fluxgym_tui.runs.directory import RunDirectory
from fluxgym_tui.runs.journal import Entry, LineReader
from fluxgym_tui.runs.state import RunSummary, read_state

_LIVENESS_S = 2.0


class Follower:
    """Hands out a run's events as they come. Reads only, but for one thing: with `revive` it starts a new supervisor
    where the run's own died, so that what the trainer does is recorded again.

    Killing a follower changes nothing for the run.
    """

    def __init__(self, run: RunDirectory, *, from_start: bool = True, revive: bool = True) -> None:
        """Begin at the journal's first event, or (`from_start` False) behind its last one.

        Raises:
            FluxgymError: there is no such run.
        """
        self.summary: RunSummary = read_state(run)
        self.done = False
        self._run = run
        self._revive = revive
        self._told = 0  # of an adopted run's events
        self._reader = LineReader(run.events)
        self._asked_s = -_LIVENESS_S
        if not from_start:
            while self._reader.read():
                pass
            self.done = self.summary.state.ended

    def poll(self) -> list[RunEvent]:
        """What is new. Once the run has ended and everything was handed out, `done` is set.

        Where an end was never journaled and nobody can do it, the last event is an `end` with what the files say.
        """
        events = self._new()
        if events or self.done:
            return events
        if is_adopted(self._run):
            return self._adopted()
        if time.monotonic() - self._asked_s < _LIVENESS_S and not self.summary.state.ended:
            return []
        return self._look()

    def _adopted(self) -> list[RunEvent]:
        """What the files of another program's run tell that was not told yet."""
        if time.monotonic() - self._asked_s < _LIVENESS_S:
            return []
        self._asked_s = time.monotonic()
        self.summary = read_state(self._run)
        events = adopted_events(self._run)
        new, self._told = events[self._told :], len(events)
        self.done = self.summary.state.ended
        return new

    def _new(self) -> list[RunEvent]:
        entries = (Entry.from_line(line) for line, _ in self._reader.read())
        events = [entry.event for entry in entries if entry is not None]
        if events and isinstance(events[-1], EndEvent):
            self._asked_s = -_LIVENESS_S  # this may have been all: look at once
        return events

    def _look(self) -> list[RunEvent]:
        """Ask how the run stands; its journal was read to its end just before."""
        self._asked_s = time.monotonic()
        self.summary = read_state(self._run)
        if self.summary.journaled:
            rest = self._new()  # written between the two
            self.done = not rest
            return rest
        if not self.summary.supervised and self._revive and self._revived():
            self.summary = read_state(self._run)
            return []
        if self.summary.state.ended and not self.summary.supervised:
            self.done = True
            return [_end(self.summary)]
        return []

    def _revived(self) -> bool:
        from fluxgym_tui.runs.start import ensure_supervised  # brings subprocess, which reading does not need

        try:
            return ensure_supervised(self._run)
        except FluxgymError:
            self._revive = False  # a folder that is not ours to write: then we only watch
            return False


def follow(
    run: RunDirectory, *, from_start: bool = True, revive: bool = True, poll_s: float = 0.25
) -> Iterator[RunEvent]:
    """The events of `run`, blocking until the next; ends behind the run's `end`.

    Raises:
        FluxgymError: there is no such run.
    """
    follower = Follower(run, from_start=from_start, revive=revive)
    while not follower.done:
        events = follower.poll()
        yield from events
        if not events and not follower.done:
            time.sleep(poll_s)


async def follow_async(
    run: RunDirectory, *, from_start: bool = True, revive: bool = True, poll_s: float = 0.25
) -> AsyncIterator[list[RunEvent]]:
    """The events of `run` in lists, one list per look that brought any; the looking is done in a thread.

    Raises:
        FluxgymError: there is no such run.
    """
    import asyncio  # costs as much as all the rest of this module; `runs` and `follow` do without it

    follower = await asyncio.to_thread(Follower, run, from_start=from_start, revive=revive)
    while not follower.done:
        events = await asyncio.to_thread(follower.poll)
        if events:
            yield events
        elif not follower.done:
            await asyncio.sleep(poll_s)


def _end(summary: RunSummary) -> EndEvent:
    outcomes: dict[str, Outcome] = {
        "finished": "finished",
        "failed": "failed",
        "stopped": "stopped",
        "interrupted": "interrupted",
    }
    return EndEvent(
        time=time.time(),
        outcome=outcomes[summary.state.value],
        exit_code=summary.exit_code,
        reason=summary.reason,
    )
