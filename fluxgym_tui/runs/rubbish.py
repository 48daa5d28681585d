"""What can be taken away to make room: caches that are made again, saves on the way of runs that have finished."""

import shutil
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from fluxgym_tui.base.errors import ExitCode, FluxgymError
from fluxgym_tui.base.files import read_json
from fluxgym_tui.dataset.caches import cache_owner
from fluxgym_tui.dataset.mirror import MANIFEST
from fluxgym_tui.runs.adopted import is_adopted
from fluxgym_tui.runs.checkpoints import RunFiles
from fluxgym_tui.runs.directory import RunDirectory
from fluxgym_tui.runs.listing import run_directories
from fluxgym_tui.runs.picked import picked
from fluxgym_tui.runs.state import RunState, read_state

Kind = Literal["caches", "checkpoints", "states"]
KINDS: tuple[Kind, ...] = ("caches", "checkpoints", "states")


@dataclass(frozen=True, slots=True, kw_only=True)
class Rubbish:
    """Files of one kind in one place, as `clean` shows and removes them: `of` is the run's or the dataset's name."""

    kind: Kind
    of: str
    folder: Path
    paths: tuple[Path, ...]
    size_bytes: int


def find_rubbish(
    root: Path, *, kinds: Iterable[Kind] = KINDS, runs: Sequence[RunDirectory] | None = None
) -> list[Rubbish]:
    """What the workspace `root` can do without; with `runs` that of these runs alone. Only looks.

    Caches are those in staged folders, which the next training makes again. Checkpoints and states are those of runs
    that have finished, but never the last LoRA nor the one that was picked. Nothing of a run that lives is among them,
    and nothing of another program's, unless `runs` names it.
    """
    asked = run_directories(root / "outputs") if runs is None else list(runs)
    mine = asked if runs is not None else [run for run in asked if not is_adopted(run)]
    live = _live_folders(run_directories(root / "outputs"))
    found: list[Rubbish | None] = []
    if "caches" in kinds:
        wanted = None if runs is None else {_staged(run) for run in asked}
        found += [
            _rubbish("caches", folder, _caches(folder))
            for folder in _staged_folders(root / "datasets")
            if folder not in live and (wanted is None or folder in wanted)
        ]
    for run in mine:
        if ("checkpoints" in kinds or "states" in kinds) and read_state(run).state is RunState.FINISHED:
            if "checkpoints" in kinds:
                found.append(_rubbish("checkpoints", run.output_dir, _saves(run)))
            if "states" in kinds:
                found.append(_rubbish("states", run.output_dir, sorted(run.output_dir.glob("*-state"))))
    return [one for one in found if one is not None]


def remove_rubbish(rubbish: Rubbish, *, root: Path) -> None:
    """Take `rubbish` of the workspace `root` away.

    Raises:
        FluxgymError: a run uses it by now, or a file cannot be deleted.
    """
    run = RunDirectory(rubbish.folder)
    uses = (
        rubbish.folder in _live_folders(run_directories(root / "outputs"))
        if rubbish.kind == "caches"
        else not read_state(run).state.ended
    )
    if uses:
        raise FluxgymError(f"{rubbish.of} is in use again: its {rubbish.kind} stay", code=ExitCode.BUSY)
    for path in rubbish.paths:
        try:
            if path.is_dir() and not path.is_symlink():
                shutil.rmtree(path)
            else:
                path.unlink(missing_ok=True)
        except OSError as error:
            raise FluxgymError(
                f"cannot delete {path}: {error.strerror}", hint="Check whose it is.", code=ExitCode.FAILED
            ) from error


def _rubbish(kind: Kind, folder: Path, paths: Sequence[Path]) -> Rubbish | None:
    if not paths:
        return None
    size = sum(_size(path) for path in paths)
    return Rubbish(kind=kind, of=folder.name, folder=folder, paths=tuple(paths), size_bytes=size)


def _saves(run: RunDirectory) -> list[Path]:
    """The LoRA files of saves on the way, without the one that was picked."""
    chosen = picked(run)
    last = read_state(run).lora
    return [one.path for one in RunFiles(run).checkpoints if not one.last and one.path not in (chosen, last)]


def _staged_folders(datasets: Path) -> list[Path]:
    """The folders that we staged pictures in, and own; an imported one of fluxgym's is none."""
    try:
        return sorted(folder for folder in datasets.absolute().iterdir() if (folder / MANIFEST).is_file())
    except OSError:
        return []


def _caches(folder: Path) -> list[Path]:
    """The caches and fingerprints in a staged folder and the folders of its sources."""
    return sorted(path for path in folder.rglob("*") if cache_owner(path.name) is not None and path.is_file())


def _live_folders(runs: Iterable[RunDirectory]) -> set[Path]:
    """The staged folders of runs that have not ended."""
    return {folder for run in runs if (folder := _staged(run)) and not read_state(run).state.ended}


def _staged(run: RunDirectory) -> Path | None:
    try:
        return Path(str(read_json(run.manifest)["staged"]))
    except (OSError, ValueError, KeyError, TypeError):
        return None


def _size(path: Path) -> int:
    return sum(file.lstat().st_size for file in _files(path))


def _files(path: Path) -> Iterator[Path]:
    if path.is_dir() and not path.is_symlink():
        yield from (file for file in path.rglob("*") if file.is_file())
    else:
        yield path
