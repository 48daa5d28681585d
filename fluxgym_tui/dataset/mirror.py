"""The files of a staging folder: its manifest, links, copies, captions, and removing what is not wanted any more."""

import os
import shutil
from collections.abc import Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from pathlib import Path
from threading import Lock
from typing import Any, Final

from fluxgym_tui.base.files import read_json, write_atomic, write_json
from fluxgym_tui.base.findings import Finding
from fluxgym_tui.dataset.caches import cache_owner, caches_by_owner, is_text_cache
from fluxgym_tui.dataset.header import PictureError
from fluxgym_tui.dataset.pixels import RENDER_VERSION, render, staged_size
from fluxgym_tui.dataset.problems import problem
from fluxgym_tui.dataset.scanned import ScannedImage

MANIFEST: Final = ".fluxgym-staged.json"
_SCHEMA: Final = 1
# Pictures of more are decoded one at a time: each may take some hundred megabytes.
_LARGE_PIXELS: Final = 40_000_000


@dataclass(frozen=True, slots=True)
class Wanted:
    """A picture that is to be in the mirror under `name`, a path relative to it.

    `pixels` says how its copy is made, None for a link.
    """

    name: str
    image: ScannedImage
    caption: str | None
    pixels: list[int] | None


@dataclass(frozen=True, slots=True)
class Made:
    """A picture that is in the mirror: width and height in pixels."""

    width: int
    height: int


class Mirror:
    """The staging folder `root`; `folders` are those of its sources below it, `""` for one in `root` itself.

    `keep_alpha`: copies keep their transparency.

    Its manifest holds what each staged file was made of. Different pictures may be made from several threads at once.
    """

    def __init__(
        self, root: Path, *, folders: Sequence[str], resize: int, downscale_only: bool, keep_alpha: bool = False
    ) -> None:
        self.root = root
        self.folders = folders
        self.resize = resize
        self.downscale_only = downscale_only
        self.keep_alpha = keep_alpha
        self.pixels = [RENDER_VERSION, resize, int(downscale_only), *([1] if keep_alpha else [])]
        self._known = _read_manifest(root)
        self._by_source = {str(facts.get("source")): facts for facts in self._known.values()}
        self._made: dict[str, dict[str, Any]] = {}
        self._one_large = Lock()
        self._caches: dict[str, dict[str, list[Path]]] = {}

    @staticmethod
    def may_own(root: Path) -> bool:
        """Whether `root` may be made a mirror: it is new, empty, or was staged by us before."""
        if not os.path.lexists(root):
            return True
        return root.is_dir() and ((root / MANIFEST).is_file() or not any(root.iterdir()))

    def was_copied(self, image: ScannedImage) -> bool | None:
        """Whether this very file was copied the last time, None where that is not known or copies differ now."""
        facts = self._by_source.get(_source(image))
        if facts is None or facts.get("identity") != _identity(image):
            return None
        if facts.get("pixels") is None:
            return None if self.resize else False
        return True if facts["pixels"] == self.pixels else None

    def begin(self, wanted: Sequence[Wanted]) -> None:
        """Claim the folder, then remove what is not `wanted`: pictures, captions and their caches."""
        names = {item.name for item in wanted}
        self._made = {name: facts for name, facts in self._known.items() if name in names}
        self.save()
        for folder in self.folders:
            (self.root / folder).mkdir(exist_ok=True)
            stems = {name.rpartition("/")[2].rpartition(".")[0] for name in names if name.rpartition("/")[0] == folder}
            self._remove_others(folder, names, stems)
            self._caches[folder] = caches_by_owner(self.root / folder)

    def make(self, item: Wanted) -> Made | Finding:
        """Bring one picture and its caption up to date; a finding where it cannot be decoded."""
        path = self.root / item.name
        folder, _, file_name = item.name.rpartition("/")
        caches = self._caches[folder].get(file_name.rpartition(".")[0], [])
        known = self._known.get(item.name)
        facts: dict[str, Any] = {
            "source": _source(item.image),
            "identity": _identity(item.image),
            "pixels": item.pixels,
        }
        if known is not None and path.exists() and all(known.get(key) == facts[key] for key in facts):
            made = Made(int(known["width"]), int(known["height"]))
        else:
            self._made.pop(item.name, None)
            _remove([cache for cache in caches if not is_text_cache(cache)])
            path.unlink(missing_ok=True)
            try:
                made = self._put(item, path)
            except PictureError as error:
                path.with_suffix(".txt").unlink(missing_ok=True)
                return problem(error.code, path=item.image.file, detail=error.reason)
            except FileNotFoundError:
                return problem("vanished", path=item.image.file, detail="it was removed while it was staged")
        if _write_caption(path.with_name(file_name.rpartition(".")[0] + ".txt"), item.caption):
            _remove([cache for cache in caches if is_text_cache(cache)])
        self._made[item.name] = {**facts, "width": made.width, "height": made.height}
        return made

    def save(self) -> None:
        """Write the manifest, so that what is made is known the next time."""
        write_json(self.root / MANIFEST, {"schema": _SCHEMA, "files": dict(self._made)})

    def _put(self, item: Wanted, path: Path) -> Made:
        """Put the picture at `path`: a link, or a copy with other pixels."""
        if item.pixels is None:
            _link(Path(item.image.file).absolute(), path)
            return Made(*staged_size(item.image))
        large = item.image.width * item.image.height > _LARGE_PIXELS
        with self._one_large if large else nullcontext():
            data, (width, height) = render(
                item.image, resize=self.resize, downscale_only=self.downscale_only, keep_alpha=self.keep_alpha
            )
        write_atomic(path, data)
        return Made(width, height)

    def _remove_others(self, folder: str, names: set[str], stems: set[str]) -> None:
        """Remove from `folder` what is neither wanted nor belongs to a picture that is."""
        with os.scandir(self.root / folder) as entries:
            listed = list(entries)
        for entry in listed:
            name = f"{folder}/{entry.name}" if folder else entry.name
            if entry.is_dir(follow_symlinks=False):
                if not folder and entry.name not in self.folders:
                    shutil.rmtree(entry.path)
                continue
            owner = entry.name.removesuffix(".txt") if entry.name.endswith(".txt") else cache_owner(entry.name)
            if name not in names and name != MANIFEST and owner not in stems:
                Path(entry.path).unlink(missing_ok=True)


def _source(image: ScannedImage) -> str:
    return str(Path(image.file).absolute())


def _identity(image: ScannedImage) -> list[int]:
    """What tells that the user's file is still the same: size, time of change, inode."""
    return [image.size_bytes, image.mtime_ns, image.inode]


def _link(source: Path, path: Path) -> None:
    """A link to the user's picture, or a copy where the file system has no links."""
    try:
        path.symlink_to(source)
    except OSError:
        shutil.copyfile(source, path)


def _write_caption(path: Path, caption: str | None) -> bool:
    """Write the caption where it is not there yet, remove it where there is none; whether anything changed."""
    wanted = None if caption is None else (caption + "\n").encode("utf-8")
    try:
        present = path.read_bytes()
    except FileNotFoundError:
        present = None
    if wanted == present:
        return False
    if wanted is None:
        path.unlink()
    else:
        write_atomic(path, wanted)
    return True


def _remove(paths: list[Path]) -> None:
    for path in paths:
        path.unlink(missing_ok=True)


def _read_manifest(root: Path) -> dict[str, dict[str, Any]]:
    """What the manifest says of each staged file; nothing where it is damaged or from another version."""
    try:
        data = read_json(root / MANIFEST)
    except (OSError, ValueError):
        return {}
    if not isinstance(data, dict) or data.get("schema") != _SCHEMA or not isinstance(data.get("files"), dict):
        return {}
    return {str(name): facts for name, facts in data["files"].items() if isinstance(facts, dict)}
