"""Ties caches to the encoders that made them, for a trainer that does not: sd-scripts takes any cache that is there."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from fluxgym_tui.base.files import read_json, write_json
from fluxgym_tui.dataset.caches import caches_by_owner, is_text_cache

_RECORD: Final = ".fluxgym-encoded.json"


@dataclass(frozen=True, slots=True, kw_only=True)
class Encoders:
    """What the caches of a training depend on beside pictures and captions.

    `latents` and `text` are the files that make them; `settings` what else the text depends on, its length for one.
    """

    latents: tuple[Path, ...]
    text: tuple[Path, ...]
    settings: str = ""

    def to_json(self) -> dict[str, Any]:
        """The encoders as `from_json` takes them."""
        return {
            "latents": [str(path) for path in self.latents],
            "text": [str(path) for path in self.text],
            "settings": self.settings,
        }

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> "Encoders":
        """The encoders that `to_json` gave. KeyError where it gave none."""
        return cls(
            latents=tuple(map(Path, data["latents"])),
            text=tuple(map(Path, data["text"])),
            settings=str(data["settings"]),
        )

    def _now(self) -> dict[str, Any]:
        return {
            "schema": 1,
            "latents": [_identity(path) for path in self.latents],
            "text": [[_identity(path) for path in self.text], self.settings],
        }


def drop_caches_of_others(folder: Path, encoders: Encoders) -> int:
    """Remove from the staged `folder` the caches that other encoders made, or nobody knows which; how many. OSError."""
    try:
        before = read_json(folder / _RECORD)
    except (OSError, ValueError):
        before = {}
    now = encoders._now()
    stale = {kind for kind in ("latents", "text") if not isinstance(before, dict) or before.get(kind) != now[kind]}
    removed = 0
    for cache in _caches(folder):
        if ("text" if is_text_cache(cache) else "latents") in stale:
            cache.unlink(missing_ok=True)
            removed += 1
    return removed


def note_encoders(folder: Path, encoders: Encoders) -> None:
    """Note that the caches made in `folder` from now on are by `encoders`. OSError."""
    write_json(folder / _RECORD, encoders._now())


def _caches(folder: Path) -> Iterator[Path]:
    if not folder.is_dir():
        return
    for place in (folder, *(path for path in folder.iterdir() if path.is_dir())):
        for caches in caches_by_owner(place).values():
            yield from caches


def _identity(path: Path) -> list[Any]:
    """What tells that a file is still the same."""
    try:
        status = path.stat()
    except OSError:
        return [str(path), None, None]
    return [str(path), status.st_size, status.st_mtime_ns]
