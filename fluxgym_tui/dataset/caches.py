"""Latent and text caches beside the staged pictures: their names, and fingerprints that tell when they are stale.

The names are sd-scripts' own, so both backends find them. sd-scripts does not tie a cache to its picture, caption or
model; we do, in a small JSON file beside each cache.
"""

import hashlib
import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Final

from fluxgym_tui.base.files import read_json, write_json
from fluxgym_tui.dataset.digests import DigestCache, file_digest

__all__ = [
    "DigestCache",
    "LatentKey",
    "TextKey",
    "cache_owner",
    "caches_by_owner",
    "file_digest",
    "fingerprint_path",
    "is_fresh",
    "is_text_cache",
    "latent_cache_path",
    "record",
    "text_cache_path",
]

_LATENT_END: Final = "_flux.npz"
_TEXT_END: Final = "_flux_te.npz"
_FINGERPRINT_END: Final = ".fingerprint.json"


@dataclass(frozen=True, slots=True, kw_only=True)
class LatentKey:
    """All that the latents of a picture depend on. Sizes in pixels; `crop` is left, top, right, bottom."""

    picture_digest: str
    bucket: tuple[int, int]
    resized: tuple[int, int]
    crop: tuple[int, int, int, int]
    vae_digest: str


@dataclass(frozen=True, slots=True, kw_only=True)
class TextKey:
    """All that the text encoders' outputs for a picture depend on."""

    caption: str
    clip_digest: str
    t5_digest: str
    max_tokens: int


CacheKey = LatentKey | TextKey


def latent_cache_path(picture: Path, *, width: int, height: int) -> Path:
    """Where the latents of `picture` are cached; `width` and `height` are its own pixels."""
    return picture.with_name(f"{picture.stem}_{width:04d}x{height:04d}{_LATENT_END}")


def text_cache_path(picture: Path) -> Path:
    """Where the text encoders' outputs for the caption of `picture` are cached."""
    return picture.with_name(f"{picture.stem}{_TEXT_END}")


def fingerprint_path(cache: Path) -> Path:
    """Where the fingerprint of a cache file stands."""
    return cache.with_name(cache.name + _FINGERPRINT_END)


def cache_owner(name: str) -> str | None:
    """The stem of the picture that a cache or fingerprint named `name` belongs to, None where it is neither."""
    name = name.removesuffix(_FINGERPRINT_END)
    if name.endswith(_TEXT_END):
        return name.removesuffix(_TEXT_END)
    if name.endswith(_LATENT_END):
        stem, _, size = name.removesuffix(_LATENT_END).rpartition("_")
        width, _, height = size.partition("x")
        return stem if width.isdigit() and height.isdigit() else None
    return None


def is_fresh(cache: Path, key: CacheKey) -> bool:
    """Whether the file `cache` was recorded with exactly this `key` and has not been touched since."""
    try:
        status = cache.stat()
        written = read_json(fingerprint_path(cache))
    except (OSError, ValueError):
        return False
    return isinstance(written, dict) and written == {
        "key": _digest(key),
        "size": status.st_size,
        "mtime_ns": status.st_mtime_ns,
    }


def record(cache: Path, key: CacheKey) -> None:
    """Note that the file `cache`, just written, belongs to `key`. OSError as the system raises it."""
    status = cache.stat()
    write_json(fingerprint_path(cache), {"key": _digest(key), "size": status.st_size, "mtime_ns": status.st_mtime_ns})


def caches_by_owner(folder: Path) -> dict[str, list[Path]]:
    """All caches and fingerprints in `folder`, by the stem of the picture they belong to."""
    owned: dict[str, list[Path]] = {}
    for path in folder.iterdir():
        owner = cache_owner(path.name)
        if owner is not None:
            owned.setdefault(owner, []).append(path)
    return owned


def is_text_cache(path: Path) -> bool:
    """Whether a cache or fingerprint is one of the text encoders' outputs, not of latents."""
    return path.name.removesuffix(_FINGERPRINT_END).endswith(_TEXT_END)


def _digest(key: CacheKey) -> str:
    data = {"kind": type(key).__name__, **asdict(key)}
    return hashlib.sha256(json.dumps(data, sort_keys=True).encode("ascii")).hexdigest()
