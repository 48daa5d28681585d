"""Start a training by keys, kill the terminal with everything in it, come back in another, see it finish."""

import os
import signal
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from PIL import Image

from fluxgym_tui.base.files import write_atomic
from fluxgym_tui.config.workspace import Workspace
from fluxgym_tui.runs.listing import list_runs, run_directories
from fluxgym_tui.runs.lock import holder_of
from tests.runs.fake_runs import until
from tests.ui.terminal import Terminal
from tests.ui.tmux import TmuxPane, open_terminal

STEPS = 80
SPEC = f"""\
name: Journey
trigger: hrld person
base_model: tiny-flux
backend: builtin
dataset: {{path: photos, resolution: [64, 64], num_repeats: 1}}
training: {{vram: cpu, max_train_epochs: null, max_train_steps: {STEPS}, network_dim: 2}}
"""


@pytest.fixture
def terminals(workspace: Workspace) -> Iterator[list[TmuxPane | Terminal]]:
    """The terminals that a test opens; they are closed and a run that is left is stopped, whatever happens."""
    opened: list[TmuxPane | Terminal] = []
    yield opened
    for terminal in opened:
        terminal.close()
    for left in run_directories(workspace.outputs):
        supervisor = holder_of(left.lock)
        if supervisor is not None:
            os.kill(supervisor.pid, signal.SIGTERM)


def program(workspace: Workspace, *arguments: str) -> TmuxPane | Terminal:
    home = str(workspace.root)
    env = {"FLUXGYM_HOME": home, "XDG_CONFIG_HOME": home, "PYTHONPATH": os.pathsep.join(sys.path)}
    return open_terminal([sys.executable, "-P", "-m", "fluxgym_tui", *arguments], env=env)


def test_a_training_outlives_the_terminal_it_was_started_in(
    workspace: Workspace, terminals: list[TmuxPane | Terminal]
) -> None:
    photos: Path = workspace.root / "photos"
    photos.mkdir()
    Image.new("RGB", (64, 64), (90, 80, 120)).save(photos / "a.png")
    spec = workspace.root / "journey.yaml"
    write_atomic(spec, SPEC)
    first = program(workspace, str(spec))
    terminals.append(first)
    first.until("a.png")
    first.press("3")
    first.until("ctrl+r starts")
    first.press("\x12")
    first.until(f"/{STEPS}")
    first.close()
    (run,) = list_runs(workspace.outputs)
    assert not run.state.ended
    assert run.step < STEPS
    second = program(workspace)
    terminals.append(second)
    second.until("finished")
    second.until(f"{STEPS}/{STEPS}")
    second.press("8")
    second.until("journey")
    second.press("q")
    until(lambda: list_runs(workspace.outputs)[0].state == "finished", what="the run to be finished")
