"""Staging: the folder that is trained, an exact mirror of the user's pictures that we own and may write into."""

import os
import shutil
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from fluxgym_tui.base.errors import ExitCode, FluxgymError
from fluxgym_tui.base.files import read_json, write_atomic, write_json
from fluxgym_tui.base.findings import Finding
from fluxgym_tui.dataset.caches import cache_owner, drop
from fluxgym_tui.dataset.header import PictureError
from fluxgym_tui.dataset.pixels import copy_extension, needs_copy, render, staged_size
from fluxgym_tui.dataset.problems import problem
from fluxgym_tui.dataset.scan import scan
from fluxgym_tui.dataset.scanned import ScannedImage
from fluxgym_tui.dataset.staged_names import folder_names, staged_stems

__all__ = ["StageSource", "StagedDataset", "StagedPicture", "StagedSubset", "stage", "staged_size", "staging_folder"]

MANIFEST: Final = ".fluxgym-staged.json"
_SCHEMA: Final = 1


@dataclass(frozen=True, slots=True)
class StageSource:
    """A folder of the user's. `trigger` is the caption of its pictures that have none."""

    folder: Path
    trigger: str | None = None
    num_repeats: int = 1
    is_reg: bool = False


@dataclass(frozen=True, slots=True)
class StagedPicture:
    """A picture that is trained: `path` in our folder, made from `source`; upright pixels; the caption as written."""

    path: Path
    source: Path
    width: int
    height: int
    caption: str | None


@dataclass(frozen=True, slots=True)
class StagedSubset:
    """The pictures of one source in the folder `image_dir`."""

    image_dir: Path
    pictures: tuple[StagedPicture, ...]
    source: StageSource


@dataclass(frozen=True, slots=True)
class StagedDataset:
    """All that is trained, in the order of the sources, and what is to be said about it."""

    folder: Path
    subsets: tuple[StagedSubset, ...]
    findings: list[Finding] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class _Wanted:
    """One staged picture to be: its place relative to the staging folder, and what it is made of."""

    name: str
    image: ScannedImage
    caption: str | None
    facts: dict[str, Any]


def staging_folder(datasets: Path, output_name: str, *, sources: Sequence[Path]) -> Path:
    """The folder under `datasets` to stage `output_name` in: of that name unless it holds the user's own pictures.

    People who come from fluxgym have their pictures in `datasets/<output_name>`; then `-staged` is added.
    """
    number = 0
    while True:
        target = datasets / (
            output_name if number == 0 else f"{output_name}-staged{f'-{number}' if number > 1 else ''}"
        )
        if _is_ours(target) and not any(_overlap(source, target) for source in sources):
            return target
        number += 1


def stage(
    sources: Sequence[StageSource],
    target: Path,
    *,
    resize: int = 0,
    downscale_only: bool = True,
    progress: Callable[[int, int], None] | None = None,
) -> StagedDataset:
    """Make `target` an exact mirror of what is trained of `sources`, touching only what changed since the last time.

    One source is staged in `target` itself, several in folders of their own below. Pictures are links; where pixels
    must change (`needs_copy`) or links fail, copies. `resize` is the shorter side in pixels. Captions are written as
    they are trained; a picture without one gets the source's trigger. Caches of pictures or captions that changed go.
    `progress` gets the pictures done and their total. FluxgymError where `target` is not ours or holds a source.
    """
    _check(sources, target)
    target.mkdir(parents=True, exist_ok=True)
    known = _read_manifest(target)
    folders = folder_names([source.folder for source in sources])
    findings: list[Finding] = []
    wanted: list[list[_Wanted]] = []
    for source, folder in zip(sources, folders, strict=True):
        wanted.append(_wanted(source, folder, resize=resize, downscale_only=downscale_only, findings=findings))
    total = sum(len(group) for group in wanted)
    made: dict[str, dict[str, Any]] = {}
    _write_manifest(target, known)
    _remove_unwanted(target, {item.name for group in wanted for item in group}, set(folders) - {""})
    subsets = []
    done = 0
    try:
        for source, folder, group in zip(sources, folders, wanted, strict=True):
            image_dir = target / folder if folder else target
            image_dir.mkdir(exist_ok=True)
            pictures = []
            for item in group:
                picture = _make(item, target, known.get(item.name), resize=resize, downscale_only=downscale_only)
                if isinstance(picture, Finding):
                    findings.append(picture)
                else:
                    made[item.name] = {**item.facts, "width": picture.width, "height": picture.height}
                    pictures.append(picture)
                done += 1
                if progress is not None:
                    progress(done, total)
            subsets.append(StagedSubset(image_dir, tuple(pictures), source))
    finally:
        _write_manifest(target, made)
    return StagedDataset(target, tuple(subsets), findings)


def _wanted(
    source: StageSource, folder: str, *, resize: int, downscale_only: bool, findings: list[Finding]
) -> list[_Wanted]:
    result = scan(source.folder)
    findings.extend(result.problems)
    stems = staged_stems([image.path for image in result.images], root=source.folder)
    wanted = []
    for image, stem in zip(result.images, stems, strict=True):
        copied = needs_copy(image, resize=resize, downscale_only=downscale_only)
        extension = copy_extension(image) if copied else image.path.suffix.lower()
        name = f"{folder}/{stem}{extension}" if folder else f"{stem}{extension}"
        caption = image.caption or source.trigger or None
        facts = {
            "source": str(image.path.absolute()),
            "size": image.size_bytes,
            "mtime_ns": image.mtime_ns,
            "inode": image.inode,
            "pixels": {"resize": resize, "downscale_only": downscale_only} if copied else None,
            "caption": caption,
        }
        wanted.append(_Wanted(name, image, caption, facts))
    return wanted


def _make(
    item: _Wanted, target: Path, known: dict[str, Any] | None, *, resize: int, downscale_only: bool
) -> StagedPicture | Finding:
    """Bring one picture and its caption up to date; a finding where the picture cannot be decoded."""
    path = target / item.name
    same_pixels = known is not None and all(known.get(key) == item.facts[key] for key in item.facts if key != "caption")
    caption_path = path.with_suffix(".txt")
    width, height = staged_size(item.image, resize=resize, downscale_only=downscale_only)
    if same_pixels and known is not None and path.exists():
        width, height = int(known["width"]), int(known["height"])
    else:
        drop(path.parent, stem=path.stem, text=False)
        path.unlink(missing_ok=True)
        if item.facts["pixels"] is None:
            _link(item.image.path.absolute(), path)
        else:
            try:
                data, (width, height) = render(item.image, resize=resize, downscale_only=downscale_only)
            except PictureError as error:
                caption_path.unlink(missing_ok=True)
                return problem(error.code, path=item.image.path, detail=error.reason)
            write_atomic(path, data)
    _write_caption(caption_path, item.caption)
    return StagedPicture(path, item.image.path, width, height, item.caption)


def _write_caption(path: Path, caption: str | None) -> None:
    """Write the caption if it is not there yet; the text cache of the old one goes."""
    raw = None if caption is None else (caption + "\n").encode("utf-8", "replace")
    try:
        old = path.read_bytes()
    except FileNotFoundError:
        old = None
    if raw == old:
        return
    drop(path.parent, stem=path.stem, latents=False)
    if raw is None:
        path.unlink()
    else:
        write_atomic(path, raw)


def _link(source: Path, path: Path) -> None:
    """A link to the user's picture, or a copy where the file system has no links."""
    try:
        path.symlink_to(source)
    except OSError:
        shutil.copyfile(source, path)


def _remove_unwanted(target: Path, names: set[str], folders: set[str]) -> None:
    """Remove what is staged, or a cache, of pictures that are not wanted any more."""
    for folder in (target, *(target / name for name in folders)):
        if not folder.is_dir():
            continue
        prefix = "" if folder == target else f"{folder.name}/"
        stems = {name[len(prefix) :].rpartition(".")[0] for name in names if name.startswith(prefix)}
        for entry in os.scandir(folder):
            if entry.is_dir(follow_symlinks=False):
                if folder == target and entry.name not in folders:
                    shutil.rmtree(entry.path)
                continue
            if entry.name == MANIFEST or f"{prefix}{entry.name}" in names:
                continue
            owner = cache_owner(entry.name)
            if owner is None and entry.name.endswith(".txt"):
                owner = entry.name.removesuffix(".txt")
            if owner not in stems:
                Path(entry.path).unlink(missing_ok=True)


def _overlap(source: Path, target: Path) -> bool:
    """Whether one folder is, or lies in, the other."""
    a, b = source.resolve(), target.resolve()
    return a == b or a in b.parents or b in a.parents


def _is_ours(target: Path) -> bool:
    """Whether `target` may be made a mirror: it is new, empty, or was staged by us before."""
    return not target.exists() or (target / MANIFEST).is_file() or (target.is_dir() and not any(target.iterdir()))


def _check(sources: Sequence[StageSource], target: Path) -> None:
    for source in sources:
        if _overlap(source.folder, target):
            raise FluxgymError(
                f"{source.folder} and the staging folder {target} lie in each other",
                hint="Choose another name for the training, or move the pictures out of that folder.",
                code=ExitCode.USAGE,
            )
    if not _is_ours(target):
        raise FluxgymError(
            f"{target} holds files that were not staged by fluxgym-tui; it is not touched",
            hint="Choose another name for the training, or move that folder away.",
            code=ExitCode.USAGE,
        )


def _read_manifest(target: Path) -> dict[str, dict[str, Any]]:
    try:
        data = read_json(target / MANIFEST)
    except (OSError, ValueError):
        return {}
    if not isinstance(data, dict) or data.get("schema") != _SCHEMA or not isinstance(data.get("files"), dict):
        return {}
    return {str(name): facts for name, facts in data["files"].items() if isinstance(facts, dict)}


def _write_manifest(target: Path, files: dict[str, dict[str, Any]]) -> None:
    write_json(target / MANIFEST, {"schema": _SCHEMA, "files": files})
