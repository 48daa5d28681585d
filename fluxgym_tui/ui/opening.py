"""Which screen the app opens with."""

from pathlib import Path

from fluxgym_tui.config.workspace import Workspace
from fluxgym_tui.runs.directory import RunDirectory
from fluxgym_tui.runs.listing import list_runs
from fluxgym_tui.ui.screens import entry_of


def first_screen(
    workspace: Workspace, *, path: Path | None, run: RunDirectory | None
) -> tuple[str, RunDirectory | None]:
    """The name of the screen to open with, and the run the Live screen shows.

    A folder or spec given opens the Dataset; else a run that is alive is shown at once; else the order of the work.
    """
    if run is not None:
        return "live", run
    if path is None:
        runs = list_runs(workspace.root / "outputs")
        alive = next((summary for summary in runs if not summary.state.ended), None)
        if alive is not None:
            return "live", RunDirectory(alive.path)
        if entry_of("dataset") is None:
            return "runs", None
    return ("dataset" if entry_of("dataset") is not None else "runs"), None
