"""Saves the draft from several threads, each version after the one before."""

import threading
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from fluxgym_tui.ui.draft_files import SavedDraft


class DraftWriter:
    """Saves one draft after the other, in any threads: an older version never lands on a newer one.

    What the last save wrote is remembered here, for the next one may be asked for before its message is read.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._generation = -1
        self._last: SavedDraft | None = None

    def save(self, *, generation: int, arguments: Mapping[str, Any]) -> "SavedDraft | None":
        """`save_draft` with `arguments`; None where a newer version is written already.

        Raises:
            FluxgymError: as `save_draft`.
        """
        from fluxgym_tui.ui.draft_files import save_draft  # pydantic comes with it: not before the first paint

        with self._lock:
            last = self._last if generation == self._generation else None
            if generation < self._generation or (last is not None and last.version > arguments["version"]):
                return None
            known = {} if last is None else {"file": last.file, "mtime_ns": last.mtime_ns}
            self._generation, self._last = generation, save_draft(**{**arguments, **known})
            return self._last
