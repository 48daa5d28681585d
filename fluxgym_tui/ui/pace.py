"""How fast a training will go, by the newest run of this workspace that is like it."""

from fluxgym_tui.base.files import read_json
from fluxgym_tui.config.workspace import Workspace
from fluxgym_tui.runs.directory import RunDirectory
from fluxgym_tui.runs.listing import list_runs

_LOOKED_AT = 20


def known_pace(workspace: Workspace, *, base_model: str, backend: str) -> tuple[float | None, str]:
    """Seconds a step, and the name of the run they were measured in; None where no run tells."""
    for summary in list_runs(workspace.root / "outputs")[:_LOOKED_AT]:
        if summary.seconds_per_step is None:
            continue
        try:
            facts = read_json(RunDirectory(summary.path).manifest)
        except (OSError, ValueError):
            continue  # a run without its manifest tells nothing about itself
        if isinstance(facts, dict) and (facts.get("base_model"), facts.get("backend")) == (base_model, backend):
            return summary.seconds_per_step, summary.name
    return None, ""
