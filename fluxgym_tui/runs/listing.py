"""Which runs there are, and finding one by the name or path that a person typed."""

import difflib
from pathlib import Path

from fluxgym_tui.base.errors import ExitCode, FluxgymError
from fluxgym_tui.runs.directory import RunDirectory
from fluxgym_tui.runs.state import RunSummary, read_state


def run_directories(outputs: Path) -> list[RunDirectory]:
    """The runs in `outputs`, by name, and nothing else that lies there; empty where the folder is missing."""
    try:
        folders = sorted(outputs.absolute().iterdir())
    except OSError:
        return []
    return [run for run in map(RunDirectory, folders) if run.manifest.is_file()]


def list_runs(outputs: Path) -> list[RunSummary]:
    """The runs in `outputs` as they stand now, the newest first."""
    found = [read_state(run) for run in run_directories(outputs)]
    return sorted(found, key=lambda summary: (summary.created or 0.0, summary.name), reverse=True)


def find_run(outputs: Path, name_or_path: str) -> RunDirectory:
    """The run that `name_or_path` means: a name in `outputs`, or the path of its folder or of the `run/` in it.

    Raises:
        FluxgymError: there is none; the hint names the nearest there are.
    """
    path = Path(name_or_path).expanduser()
    candidates = [outputs / name_or_path, path, path.parent] if path.name == "run" else [outputs / name_or_path, path]
    for candidate in candidates:
        run = RunDirectory(candidate.absolute())
        if run.manifest.is_file():
            return run
    names = [run.name for run in run_directories(outputs)]
    near = difflib.get_close_matches(name_or_path, names, n=3) or names[:3]
    hint = f"There is {', '.join(near)}." if near else f"No run was made in {outputs} yet."
    raise FluxgymError(f"there is no run {name_or_path!r} in {outputs}", hint=hint, code=ExitCode.NOT_FOUND)
