"""The whole way: an empty workspace, a spec, ctrl+r, and a finished LoRA, with the real supervisor and trainer."""

import os
import signal

from textual.widgets import Static

from fluxgym_tui.base.safetensors import read_header
from fluxgym_tui.config.workspace import Workspace
from fluxgym_tui.runs.listing import run_directories
from fluxgym_tui.runs.lock import holder_of
from fluxgym_tui.ui.app import FluxgymApp
from fluxgym_tui.ui.opening import first_screen
from fluxgym_tui.ui.screens.live import LiveScreen
from fluxgym_tui.ui.widgets.run_list import RunList
from tests.ui.waiting import until


async def test_from_an_empty_workspace_to_a_finished_lora_by_keys_alone(workspace: Workspace) -> None:
    screen, run = first_screen(workspace, path=None, run=None)
    assert screen == "dataset"
    app = FluxgymApp(workspace=workspace, screen=screen, run=run)
    try:
        async with app.run_test(size=(100, 30)) as pilot:
            await until(pilot, lambda: app.draft.opened, what="the empty state")
            await pilot.press("d")
            await until(pilot, lambda: app.draft.planned, what="the plan of the bundled example")
            await pilot.press("2", *["down"] * 6)
            assert app.focused is app.screen.query_one("#field-training-max_train_epochs Input")
            await pilot.press("end", "backspace", "backspace", "1")  # of 20 epochs: this test has a minute, not two
            await until(pilot, lambda: app.draft.values["training.max_train_epochs"] == "1", what="one epoch")
            await pilot.press("escape", "3")
            await until(
                pilot, lambda: "20 steps" in str(app.screen.query_one("#steps", Static).render()), what="20 steps"
            )
            await pilot.press("ctrl+r")
            await until(
                pilot,
                lambda: isinstance(app.screen, LiveScreen) and app.screen.query("#status"),
                what="the run to start",
            )
            status = app.screen.query_one("#status", Static)
            await until(pilot, lambda: "✓ finished" in str(status.render()), what="the LoRA", patience_s=240.0)
            assert "20/20" in str(status.render())
            await pilot.press("8")
            await until(pilot, lambda: app.screen.query_one(RunList).runs, what="the list")
            summary = app.screen.query_one(RunList).runs[0]
        assert (summary.state, summary.step) == ("finished", 20)
        assert summary.lora is not None
        assert len(read_header(summary.lora).tensors) > 0
    finally:
        for left in run_directories(workspace.outputs):
            supervisor = holder_of(left.lock)
            if supervisor is not None:
                os.kill(supervisor.pid, signal.SIGTERM)
