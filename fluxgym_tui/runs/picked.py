"""Which LoRA file of a run its owner picked: the one to publish."""

from pathlib import Path

from fluxgym_tui.base.errors import ExitCode, FluxgymError
from fluxgym_tui.base.files import read_json, write_json
from fluxgym_tui.runs.directory import RunDirectory


def _file(run: RunDirectory) -> Path:
    return run.run_dir / "picked.json"


def pick(run: RunDirectory, lora: Path) -> None:
    """Note that `lora`, a file in the run's folder, is the one to publish.

    Raises:
        FluxgymError: it is no file of the run, or the note cannot be written.
    """
    if lora.parent != run.output_dir or not lora.is_file():
        raise FluxgymError(f"{lora} is no LoRA file of {run.name}", hint=f"They lie in {run.output_dir}.")
    try:
        run.run_dir.mkdir(exist_ok=True)  # another program's run has none
        write_json(_file(run), {"schema": 1, "lora": lora.name})
    except OSError as error:
        raise FluxgymError(
            f"cannot write {_file(run)}: {error.strerror}",
            hint="Check that the disk has room and the folder is yours.",
            code=ExitCode.FAILED,
        ) from error  # fmt: skip


def picked(run: RunDirectory) -> Path | None:
    """The LoRA file that was picked and is still there; None where there is none."""
    try:
        name = read_json(_file(run))["lora"]
    except (OSError, ValueError, KeyError, TypeError):
        return None
    path = run.output_dir / str(name)
    return path if path.is_file() else None
