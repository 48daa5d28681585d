"""A source for sample pictures that a trainer writes without telling: the folder they appear in."""

from pathlib import Path

from fluxgym_tui.backends.kohya.samples import is_whole, sample_event
from fluxgym_tui.runs.journal import Entry

_ORIGIN = "sample"


class SampleFiles:
    """Sample events for pictures that appear in `folder`, oldest first, each once it is whole.

    A picture's position is its time of change, so what is older than the last one told is known.
    """

    def __init__(self, folder: Path, *, position: int = 0) -> None:
        self._folder = folder
        self._told = position
        self._changed = -1  # the folder's own time of change when it was last read through

    def pull(self) -> list[Entry]:
        try:
            changed = self._folder.stat().st_mtime_ns
            if changed == self._changed:
                return []
            pictures = sorted((path.stat().st_mtime_ns, path) for path in self._folder.glob("*.png"))
        except OSError:  # not there yet, or a picture vanished: the next look will tell
            return []
        entries: list[Entry] = []
        all_whole = True
        for time_ns, path in pictures:
            if time_ns <= self._told or (event := sample_event(path, time=time_ns / 1e9)) is None:
                continue
            if not is_whole(path):
                all_whole = False
                break
            entries.append(Entry(event, _ORIGIN, time_ns))
            self._told = time_ns
        if all_whole:
            self._changed = changed
        return entries

    def finish(self) -> list[Entry]:
        self._changed = -1
        return self.pull()


def position_of_samples(positions: dict[str, int]) -> int:
    """How far the sample pictures were told, of a run's `positions`."""
    return positions.get(_ORIGIN, 0)
