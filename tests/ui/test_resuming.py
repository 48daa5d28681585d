"""Going on with a run from the app: the question, what is not possible and why, and the run that goes on."""

import json
import os
import signal
from pathlib import Path

from textual.pilot import Pilot
from textual.widgets import Button, Static

from fluxgym_tui.base.files import write_json
from fluxgym_tui.config.workspace import Workspace
from fluxgym_tui.runs.directory import RunDirectory
from fluxgym_tui.ui.app import FluxgymApp
from fluxgym_tui.ui.screens.live import LiveScreen
from fluxgym_tui.ui.screens.resume_run import ResumeScreen
from fluxgym_tui.ui.widgets.run_list import RunList
from tests.runs.fake_runs import FakeRun
from tests.runs.fake_runs import until as wait_until
from tests.ui.waiting import until
from tests.ui.written_runs import write_run


def plan_length(run: RunDirectory, *, epochs: int, steps: int, backend: str = "builtin") -> None:
    facts = {"backend": backend, "epochs": epochs, "total_steps": steps, "steps_per_epoch": steps // epochs}
    write_json(run.manifest, facts)


def save_state(run: RunDirectory, *, step: int, epoch: int) -> Path:
    folder = run.output_dir / f"{run.name}-{epoch:06d}-state"
    folder.mkdir()
    (folder / "state.safetensors").touch()
    facts = {"current_epoch": epoch, "current_step": step}
    (folder / "train_state.json").write_text(json.dumps(facts), encoding="utf-8")
    return folder


def said(app: FluxgymApp) -> str:
    return "\n".join(str(static.render()) for static in app.screen.query(Static))


async def asked(app: FluxgymApp, pilot: Pilot[None]) -> None:
    await until(pilot, lambda: app.screen.query_one(RunList).runs, what="the runs")
    await pilot.press("R")
    await until(pilot, lambda: isinstance(app.screen, ResumeScreen), what="the question")


async def test_a_run_whose_trainer_was_killed_goes_on_from_its_state(fake: FakeRun) -> None:
    fake.start("--steps", "4", "--wait_at", "3")
    fake.until_step(2)
    plan_length(fake.run, epochs=2, steps=4)
    save_state(fake.run, step=2, epoch=1)
    os.kill(fake.trainer().pid, signal.SIGKILL)
    wait_until(lambda: fake.state().state.ended, what="the run to end")
    fake.open_gate()
    app = FluxgymApp(workspace=Workspace(fake.run.output_dir.parent.parent), screen="runs", run=fake.run)
    async with app.run_test(size=(80, 24)) as pilot:
        await pilot.press("5")
        await until(pilot, lambda: "failed" in str(app.screen.query_one("#status", Static).render()), what="its end")
        await pilot.press("8")
        await asked(app, pilot)
        assert "From its state: hrld-000001-state, step 2" in said(app)
        assert "not possible, the built-in trainer goes on from states only" in said(app)
        assert app.focused is app.screen.query_one("#state", Button)
        await pilot.press("enter")
        await until(pilot, lambda: isinstance(app.screen, LiveScreen), what="the run to be shown")
        status = app.screen.query_one("#status", Static)
        await until(pilot, lambda: "✓ finished" in str(status.render()), what="its end")
        assert "attempt 2" in str(status.render())
    assert fake.state().state == "finished"


async def test_a_finished_run_wants_to_know_how_many_epochs_more(workspace: Workspace) -> None:
    run = write_run(workspace.outputs, "hrld")
    plan_length(run, epochs=4, steps=40)
    save_state(run, step=40, epoch=4)
    app = FluxgymApp(workspace=workspace, screen="runs")
    async with app.run_test(size=(80, 24)) as pilot:
        await asked(app, pilot)
        assert "It would end at step 80, epoch 8" in said(app)
        assert not app.screen.query_one("#state", Button).disabled
        await pilot.press("backspace")
        await until(pilot, lambda: "say how many epochs more" in said(app), what="the question again")
        assert app.screen.query_one("#state", Button).disabled
        await pilot.press("escape")
        assert app.focused is app.screen.query_one(RunList)


async def test_what_left_nothing_to_go_on_from_says_so(workspace: Workspace) -> None:
    run = write_run(workspace.outputs, "hrld", steps=12, outcome="stopped")
    plan_length(run, epochs=4, steps=40, backend="kohya")
    run.exit_file(1).write_text("0", encoding="ascii")  # its trainer was started
    app = FluxgymApp(workspace=workspace, screen="runs")
    async with app.run_test(size=(80, 24)) as pilot:
        await asked(app, pilot)
        assert "flags.save_state" in said(app)
        assert "it left no LoRA file" in said(app)
        assert "Nothing was saved to go on from" in said(app)
        await pilot.press("enter")
        assert app.focused is app.screen.query_one(RunList)
