"""A source for the true losses of a trainer whose log has only a running mean: the event file its tracker writes."""

from collections.abc import Mapping

from fluxgym_tui.backends.kohya.tracker import TrackerEvents, TrackerPlace
from fluxgym_tui.base.events import WarningEvent
from fluxgym_tui.base.files import read_json
from fluxgym_tui.runs.directory import ChildFiles
from fluxgym_tui.runs.journal import Entry
from fluxgym_tui.runs.sources import ParsedLog, Source

_OF_THE_MEAN = "loss_not_a_number"


class TrackedLog:
    """A trainer's `log` and, behind it, what its tracker tells of the same steps; the log alone while it tells nothing.

    The mean in the log never loses a NaN. Where the tracker writes, it says what the losses are, and that warning of
    the log is left out.
    """

    def __init__(self, log: Source, place: TrackerPlace, files: ChildFiles, positions: Mapping[str, int]) -> None:
        self._log = log
        self._place = place
        self._files = files
        self._positions = positions
        self._tracker: ParsedLog | None = None

    def pull(self) -> list[Entry]:
        """What is new in the log, then in the tracker's file."""
        self._find()
        entries = self._told(self._log.pull())
        return entries if self._tracker is None else entries + self._tracker.pull()

    def finish(self) -> list[Entry]:
        """What the log's end brings to light."""
        return self._told(self._log.finish())

    def _find(self) -> None:
        """Look for the file, which is made some time after the trainer's start."""
        if self._tracker is not None:
            return
        try:
            since = float(read_json(self._files.process)["time"])
        except (OSError, ValueError, KeyError, TypeError):
            return
        path = self._place.event_file(since=since)
        if path is not None:
            self._tracker = ParsedLog(path, TrackerEvents(), position=self._positions.get(path.name, 0))

    def _told(self, entries: list[Entry]) -> list[Entry]:
        if self._tracker is None:
            return entries
        return [
            entry
            for entry in entries
            if not (isinstance(entry.event, WarningEvent) and entry.event.code == _OF_THE_MEAN)
        ]
