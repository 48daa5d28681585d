"""Staging: the folder that is trained, an exact mirror of the user's pictures that we own and may write into."""

import os
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from fluxgym_tui.base.errors import FluxgymError
from fluxgym_tui.base.findings import Finding
from fluxgym_tui.dataset.advice import copy_notes
from fluxgym_tui.dataset.captions import trained_caption
from fluxgym_tui.dataset.mirror import Made, Mirror, Wanted
from fluxgym_tui.dataset.pixels import copy_extension, needs_copy, quiet_pillow, staged_size
from fluxgym_tui.dataset.scan import scan
from fluxgym_tui.dataset.scanned import ScannedImage
from fluxgym_tui.dataset.staged_names import folder_names, staged_stems

__all__ = [
    "StageSource",
    "StagedDataset",
    "StagedPicture",
    "StagedSubset",
    "stage",
    "staged_size",
    "staging_folder",
]

_SAVE_EVERY_S: Final = 5.0


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


def staging_folder(datasets: Path, output_name: str, *, sources: Sequence[Path]) -> Path:
    """The folder under `datasets` to stage `output_name` in: of that name, unless the user's own pictures are there.

    People who come from fluxgym have their pictures in `datasets/<output_name>`; then `-staged` is added. FluxgymError
    where a source holds `datasets` itself, so that the copies would become pictures of their own.
    """
    for source in sources:
        if _holds(source, datasets):
            raise FluxgymError(
                f"{source} holds the workspace's own folder {datasets}",
                hint="Name the folder that holds the pictures alone, or choose another workspace (FLUXGYM_HOME).",
            )
    number = 0
    while True:
        ending = "" if number == 0 else "-staged" if number == 1 else f"-staged-{number}"
        target = datasets / f"{output_name}{ending}"
        if Mirror.may_own(target) and not any(_holds(target, source) for source in sources):
            return target
        number += 1


def stage(
    sources: Sequence[StageSource],
    target: Path,
    *,
    resize: int = 0,
    downscale_only: bool = True,
    keep_alpha: bool = False,
    progress: Callable[[int, int], None] | None = None,
) -> StagedDataset:
    """Make `target` an exact mirror of what is trained of `sources`, touching only what changed since the last time.

    One source is staged in `target` itself, several in folders of their own below. Pictures are links; where pixels
    must change (`needs_copy`) or links fail, copies. `resize` is the shorter side in pixels, 0 for none; `keep_alpha`
    is for trainers that weigh the loss by transparency, which is put on white otherwise. Captions are written as they
    are trained; a picture without one gets the source's trigger. Caches of pictures or captions that
    changed go. `progress` gets the pictures done and their total.

    Raises:
        FluxgymError: a source cannot be read, or `target` is not ours to write in.
        OSError: as the system raises it, a full disk for one; what was done so far is kept and used the next time.
    """
    _check(sources, target)
    target.mkdir(parents=True, exist_ok=True)
    folders = folder_names([source.folder for source in sources])
    mirror = Mirror(target, folders=folders, resize=resize, downscale_only=downscale_only, keep_alpha=keep_alpha)
    findings: list[Finding] = []
    groups: list[list[Wanted]] = []
    for source, folder in zip(sources, folders, strict=True):
        result = scan(source.folder)
        findings += result.problems
        groups.append(list(_wanted(source, folder, result.images, mirror)))
    everything = [item for group in groups for item in group]
    findings += copy_notes([item.image for item in everything if item.pixels is not None], keep_alpha=keep_alpha)
    mirror.begin(everything)
    subsets = []
    done = 0
    saved_s = time.monotonic()
    try:
        with quiet_pillow(), ThreadPoolExecutor(min(4, os.cpu_count() or 1), thread_name_prefix="stage") as workers:
            for source, folder, group in zip(sources, folders, groups, strict=True):
                pictures = []
                for item, made in _in_order(workers, mirror, group):
                    if isinstance(made, Finding):
                        findings.append(made)
                    else:
                        path = target / item.name
                        pictures.append(StagedPicture(path, item.image.path, made.width, made.height, item.caption))
                    done += 1
                    if progress is not None:
                        progress(done, len(everything))
                    if time.monotonic() - saved_s > _SAVE_EVERY_S:
                        mirror.save()
                        saved_s = time.monotonic()
                subsets.append(StagedSubset(target / folder, tuple(pictures), source))
    finally:
        mirror.save()
    return StagedDataset(target, tuple(subsets), findings)


def _wanted(source: StageSource, folder: str, images: list[ScannedImage], mirror: Mirror) -> Iterator[Wanted]:
    """What is to be in the mirror for the pictures of one source."""
    stems = staged_stems([image.file for image in images], root=source.folder)
    trigger = trained_caption(source.trigger or "") or None
    for image, stem in zip(images, stems, strict=True):
        pixels = mirror.pixels
        # Telling may need the picture's colour profile, so what is known of the same file is believed.
        copied = mirror.was_copied(image)
        if copied is None:
            copied = needs_copy(image, resize=mirror.resize, downscale_only=mirror.downscale_only)
        if copied:
            extension = copy_extension(image)
        else:
            extension = {".jfif": ".jpg", ".jpe": ".jpg"}.get(image.path.suffix.lower(), image.path.suffix.lower())
        name = f"{stem}{extension}" if not folder else f"{folder}/{stem}{extension}"
        yield Wanted(name, image, image.caption or trigger, pixels if copied else None)


def _in_order(
    workers: ThreadPoolExecutor, mirror: Mirror, group: list[Wanted]
) -> Iterator[tuple[Wanted, Made | Finding]]:
    """Make all of `group`, a few at once, and hand them out in its order."""
    ahead: list[Future[Made | Finding]] = []
    started = 0
    for item in group:
        while started < len(group) and len(ahead) < 16:
            ahead.append(workers.submit(mirror.make, group[started]))
            started += 1
        try:
            made = ahead.pop(0).result()
        except BaseException:
            for future in ahead:
                future.cancel()
            raise
        yield item, made


def _holds(folder: Path, inner: Path) -> bool:
    """Whether `inner` is `folder` or lies in it, wherever links lead."""
    outer, resolved = folder.resolve(), inner.resolve()
    return outer == resolved or outer in resolved.parents


def _check(sources: Sequence[StageSource], target: Path) -> None:
    for source in sources:
        if _holds(source.folder, target) or _holds(target, source.folder):
            raise FluxgymError(
                f"{source.folder} and the staging folder {target} lie in each other",
                hint="Choose another name for the training, or move the pictures out of that folder.",
            )
    if not Mirror.may_own(target):
        raise FluxgymError(
            f"{target} holds files that were not staged by fluxgym-tui; it is not touched",
            hint="Choose another name for the training, or move that folder away.",
        )
