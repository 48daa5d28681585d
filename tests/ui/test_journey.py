"""The whole way: an empty workspace, a spec, ctrl+r, and a finished LoRA, with the real supervisor and trainer."""

import os
import signal

from PIL import Image
from textual.widgets import Static

from fluxgym_tui.base.files import write_atomic
from fluxgym_tui.base.safetensors import read_header
from fluxgym_tui.config.workspace import Workspace
from fluxgym_tui.runs.listing import run_directories
from fluxgym_tui.runs.lock import holder_of
from fluxgym_tui.ui.app import FluxgymApp
from fluxgym_tui.ui.opening import first_screen
from fluxgym_tui.ui.screens.live import LiveScreen
from fluxgym_tui.ui.widgets.run_list import RunList
from tests.ui.waiting import until

SPEC = """\
name: Journey
trigger: hrld person
base_model: tiny-flux
backend: builtin
dataset: {path: photos, resolution: [64, 64], num_repeats: 1}
training: {vram: cpu, max_train_steps: 2, network_dim: 2}
"""


async def test_from_an_empty_workspace_to_a_finished_lora(workspace: Workspace) -> None:
    photos = workspace.root / "photos"
    photos.mkdir()
    for number in range(2):
        Image.new("RGB", (64, 64), (number * 200, 80, 120)).save(photos / f"{number}.png")
    spec = workspace.root / "journey.yaml"
    write_atomic(spec, SPEC)
    screen, run = first_screen(workspace, path=spec, run=None)
    app = FluxgymApp(workspace=workspace, screen=screen, open_path=spec, run=run)
    try:
        async with app.run_test(size=(100, 30)) as pilot:
            await until(pilot, lambda: app.draft.ready is not None, what="the plan")
            await pilot.press("ctrl+r")
            await until(
                pilot,
                lambda: isinstance(app.screen, LiveScreen) and app.screen.query("#status"),
                what="the run to start",
            )
            status = app.screen.query_one("#status", Static)
            await until(pilot, lambda: "✓ finished" in str(status.render()), what="the LoRA", patience_s=240.0)
            assert "2/2" in str(status.render())
            await pilot.press("8")
            await until(pilot, lambda: app.screen.query_one(RunList).runs, what="the list")
            summary = app.screen.query_one(RunList).runs[0]
        assert (summary.state, summary.step) == ("finished", 2)
        assert summary.lora is not None
        assert len(read_header(summary.lora).tensors) > 0
    finally:
        for left in run_directories(workspace.outputs):
            supervisor = holder_of(left.lock)
            if supervisor is not None:
                os.kill(supervisor.pid, signal.SIGTERM)
