"""What a child of a run tells: events to the file named in FLUXGYM_EVENTS, one whole line each."""

import os
import time
from pathlib import Path

from fluxgym_tui.base.events import RunEvent

_EVERY_S = 0.5  # progress is told this often at most


class Teller:
    """Appends events to the child's file; without one, as when it is run by hand, it says nothing."""

    def __init__(self) -> None:
        path = os.environ.get("FLUXGYM_EVENTS")
        self._file = Path(path).open("a", encoding="utf-8", buffering=1) if path else None  # noqa: SIM115
        self._told_s = -_EVERY_S

    def event(self, event: RunEvent) -> None:
        """Tell `event` now."""
        if self._file is not None:
            self._file.write(event.to_line())

    def due(self) -> bool:
        """Whether it is time to tell progress again."""
        now = time.monotonic()
        if now - self._told_s < _EVERY_S:
            return False
        self._told_s = now
        return True
