"""How fast a training will go, by the newest run of this workspace that is like it and ran on this machine."""

import os

from fluxgym_tui.base.errors import FluxgymError
from fluxgym_tui.base.files import read_json
from fluxgym_tui.config.spec import TrainSpec
from fluxgym_tui.config.specfile import load_spec
from fluxgym_tui.config.workspace import Workspace
from fluxgym_tui.runs.directory import RunDirectory
from fluxgym_tui.runs.listing import list_runs
from fluxgym_tui.runs.lock import last_holder

_LOOKED_AT = 20


def known_pace(workspace: Workspace, spec: TrainSpec, *, base_model: str, backend: str) -> tuple[float | None, str]:
    """Seconds a step, and the name of the run they were measured in; None where no run tells.

    Alike are runs of the same base model, trainer, resolution and batch size.
    """
    for summary in list_runs(workspace.root / "outputs")[:_LOOKED_AT]:
        run = RunDirectory(summary.path)
        if summary.seconds_per_step is None or not _was_here(run):
            continue
        try:
            facts = read_json(run.manifest)
            dataset = load_spec(run.spec).dataset
        except (OSError, ValueError, FluxgymError):
            continue  # a run without its files tells nothing about itself
        if not isinstance(facts, dict) or (facts.get("base_model"), facts.get("backend")) != (base_model, backend):
            continue
        if (dataset.resolution, dataset.batch_size) == (spec.dataset.resolution, spec.dataset.batch_size):
            return summary.seconds_per_step, summary.name
    return None, ""


def _was_here(run: RunDirectory) -> bool:
    """Whether this machine ran it last: a disk may be shared with others."""
    holder = last_holder(run.lock)
    return holder is not None and holder.host == os.uname().nodename
