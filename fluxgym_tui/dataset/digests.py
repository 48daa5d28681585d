"""Content digests of files, remembered by what tells that a file is unchanged."""

import hashlib
import json
import os
from pathlib import Path
from typing import Final

from fluxgym_tui.base.files import write_atomic

_BLOCK_BYTES: Final = 1 << 20
_MAX_KEPT: Final = 50_000  # some 6 MB; the oldest go first


def _identity(status: os.stat_result) -> str:
    return f"{status.st_dev}:{status.st_ino}:{status.st_size}:{status.st_mtime_ns}"


class DigestCache:
    """Digests of files by device, inode, size and time of change; kept in the JSON file `path`, or in memory only.

    A damaged file is an empty cache. `save` adds to what other processes wrote meanwhile.
    """

    def __init__(self, path: Path | None = None) -> None:
        self.path = path
        self._known: dict[str, str] = self._load()
        self._new: dict[str, str] = {}

    @classmethod
    def default(cls) -> "DigestCache":
        """The user's own, `fluxgym-tui/digests.json` in `$XDG_CACHE_HOME` or `~/.cache`; in memory without a home."""
        folder = os.environ.get("XDG_CACHE_HOME") or os.path.expanduser("~/.cache")  # noqa: PTH111 - Path's raises
        return cls(Path(folder) / "fluxgym-tui" / "digests.json" if Path(folder).is_absolute() else None)

    def digest(self, path: Path) -> str:
        """The SHA-256 of the file's content, as hexadecimal. OSError as the system raises it."""
        with path.open("rb", buffering=0) as file:
            key = _identity(os.fstat(file.fileno()))
            known = self._known.get(key)
            if known is not None:
                return known
            state = hashlib.sha256()
            while block := file.read(_BLOCK_BYTES):
                state.update(block)
            # A file that changed while it was read has no digest worth remembering.
            if _identity(os.fstat(file.fileno())) == key:
                self._known[key] = self._new[key] = state.hexdigest()
            return state.hexdigest()

    def knows(self, path: Path) -> bool:
        """Whether the digest of `path` needs no reading. OSError as the system raises it."""
        return _identity(path.stat()) in self._known

    def save(self) -> None:
        """Write what was learned. A cache that cannot be written is not worth an error."""
        if self.path is None or not self._new:
            return
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            kept = list({**self._load(), **self._new}.items())[-_MAX_KEPT:]
            write_atomic(self.path, json.dumps(dict(kept), indent=0))
        except OSError:
            return
        self._new = {}

    def _load(self) -> dict[str, str]:
        if self.path is None:
            return {}
        try:
            data = json.loads(self.path.read_bytes())
        except (OSError, ValueError):
            return {}
        return {str(key): str(value) for key, value in data.items()} if isinstance(data, dict) else {}


def file_digest(path: Path, *, cache: DigestCache | None = None) -> str:
    """The SHA-256 of a file's content, as hexadecimal; `cache` spares reading one that is unchanged."""
    return (cache or DigestCache()).digest(path)
