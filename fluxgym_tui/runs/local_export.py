"""A run's LoRA for programs on this machine: copied to where they look for it, a preview picture beside it."""

import filecmp
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from tempfile import mkstemp

from fluxgym_tui.base.errors import ExitCode, FluxgymError
from fluxgym_tui.hub.places import Program, program_tops
from fluxgym_tui.runs.checkpoints import RunFiles
from fluxgym_tui.runs.directory import RunDirectory
from fluxgym_tui.runs.verify import verify_lora

_TITLES: dict[Program, str] = {"comfyui": "ComfyUI", "a1111": "Forge or A1111"}
_LORA_FOLDERS: dict[Program, str] = {"comfyui": "loras", "a1111": "Lora"}
# Both programs read both names; A1111 saves a preview of the user's own as NAME.png, which is to stay theirs.
_PREVIEWS: dict[Program | None, str] = {None: ".png", "comfyui": ".png", "a1111": ".preview.png"}


@dataclass(frozen=True, slots=True, kw_only=True)
class LocalExport:
    """What was copied: `preview` is None where no sample was drawn; `other_folders` are further ones of the program."""

    lora: Path
    preview: Path | None
    other_folders: tuple[Path, ...] = ()


def lora_folders(program: Program, *, workspace: Path) -> list[Path]:
    """The LoRA folders of every installation of `program` found on this machine."""
    found: dict[Path, Path] = {}
    for top in program_tops(program, workspace=workspace):
        models = top / "models"
        if models.is_dir():
            found.setdefault(models.resolve(), models / _LORA_FOLDERS[program])
    return list(found.values())


def export_to_program(
    run: RunDirectory, program: Program, *, workspace: Path, checkpoint: str | None = None, replace: bool = False
) -> LocalExport:
    """Copy a LoRA of `run` to the first installation of `program` there is.

    Raises:
        FluxgymError: there is none, or as `export_to_folder`.
    """
    folders = lora_folders(program, workspace=workspace)
    if not folders:
        tops = ", ".join(str(top) for top in program_tops(program, workspace=workspace))
        variable = ", or set COMFYUI_PATH" if program == "comfyui" else ""
        raise FluxgymError(
            [f"no {_TITLES[program]} was found on this machine", f"looked for: {tops}"],
            hint=f"Name its LoRA folder (--to .../models/{_LORA_FOLDERS[program]}){variable}.",
            code=ExitCode.NOT_FOUND,
        )
    done = export_to_folder(run, folders[0], checkpoint=checkpoint, program=program, replace=replace)
    return LocalExport(lora=done.lora, preview=done.preview, other_folders=tuple(folders[1:]))


def export_to_folder(
    run: RunDirectory,
    folder: Path,
    *,
    checkpoint: str | None = None,
    program: Program | None = None,
    replace: bool = False,
) -> LocalExport:
    """Copy a LoRA of `run`, by default the picked one or the last, and the first sample of it into `folder`.

    A file that is the same already is left as it is; another of its name only goes where `replace` says so, and so does
    a preview picture that is there.

    Raises:
        FluxgymError: the LoRA is not fit for use, another file has its name, or the folder cannot be written.
    """
    files = RunFiles(run)
    chosen = files.choose(checkpoint)
    if (problem := verify_lora(chosen.path).problem) is not None:
        raise FluxgymError(f"not exported: {problem}", hint="Choose another checkpoint.", code=ExitCode.FAILED)
    samples = files.samples_of(chosen).pictures
    lora = folder / chosen.path.name
    preview = folder / f"{chosen.path.stem}{_PREVIEWS[program]}" if samples else None
    with _told(folder):
        folder.mkdir(parents=True, exist_ok=True)
        if lora.exists() and not replace and not filecmp.cmp(chosen.path, lora, shallow=False):
            raise FluxgymError(
                f"{lora} is there already and is another file", hint="--force replaces it.", code=ExitCode.BUSY
            )
        _copy(chosen.path, lora)
        if preview is not None and (replace or not preview.exists()):
            _copy(samples[0].path, preview)
    return LocalExport(lora=lora, preview=preview)


def _copy(source: Path, target: Path) -> None:
    """Copy so that nobody who looks sees half a file; what is the same stays."""
    if target.exists() and (target.samefile(source) or filecmp.cmp(source, target, shallow=False)):
        return
    handle, name = mkstemp(prefix=f".{target.name[:40]}.", suffix=".tmp", dir=target.parent)
    os.close(handle)
    temporary = Path(name)
    try:
        shutil.copyfile(source, temporary)
        shutil.copymode(source, temporary)
        temporary.replace(target)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise


@contextmanager
def _told(folder: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise FluxgymError(
            f"cannot write to {folder}: {error.strerror or error}",
            hint="Check that the disk has room and the folder is yours.",
            code=ExitCode.FAILED,
        ) from error
