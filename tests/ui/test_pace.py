"""The time of a training is told by a run that is like it, and by no other."""

import json
from dataclasses import replace
from pathlib import Path

import pytest

from fluxgym_tui.base.files import read_json, write_atomic, write_json
from fluxgym_tui.config.specfile import parse_spec
from fluxgym_tui.config.workspace import Workspace
from fluxgym_tui.runs.lock import last_holder
from fluxgym_tui.ui.pace import known_pace
from tests.ui.written_runs import write_run

SPEC = "name: Hrld\nbase_model: flux-dev\ndataset: {path: /pictures, resolution: [768, 1024], batch_size: 2}\n"


@pytest.mark.parametrize(
    ("change", "known"),
    [
        ("", True),
        ("batch_size: 2 -> batch_size: 1", False),
        ("[768, 1024] -> [512, 512]", False),
    ],
)
def test_only_a_run_of_the_same_size_counts(workspace: Workspace, change: str, known: bool) -> None:
    run = write_run(workspace.outputs, "hrld")
    before, _, after = change.partition(" -> ")
    write_atomic(run.spec, SPEC.replace(before, after) if change else SPEC)
    write_json(run.manifest, {**read_json(run.manifest), "base_model": "flux-dev", "backend": "kohya"})
    spec = parse_spec(SPEC, folder=Path("/"), origin="test")
    pace = known_pace(workspace, spec, base_model="flux-dev", backend="kohya")
    assert pace == ((1.0, "hrld") if known else (None, ""))
    assert known_pace(workspace, spec, base_model="schnell", backend="kohya") == (None, "")


def test_a_run_of_another_machine_does_not_count(workspace: Workspace) -> None:
    run = write_run(workspace.outputs, "hrld")
    write_atomic(run.spec, SPEC)
    write_json(run.manifest, {**read_json(run.manifest), "base_model": "flux-dev", "backend": "kohya"})
    holder = last_holder(run.lock)
    assert holder is not None
    run.lock.write_text(json.dumps(replace(holder, host="elsewhere").to_json()), encoding="utf-8")
    spec = parse_spec(SPEC, folder=Path("/"), origin="test")
    assert known_pace(workspace, spec, base_model="flux-dev", backend="kohya") == (None, "")
