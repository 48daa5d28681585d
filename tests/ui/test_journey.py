"""The whole way in the app: an empty workspace, the example, start, and a run that finishes; nothing is faked."""

from textual.widgets import Input

from fluxgym_tui.base.safetensors import read_header
from fluxgym_tui.config.workspace import Workspace
from fluxgym_tui.runs.directory import RunDirectory
from fluxgym_tui.runs.follow import follow
from fluxgym_tui.runs.listing import list_runs
from fluxgym_tui.runs.state import RunState
from fluxgym_tui.ui.app import FluxgymApp
from fluxgym_tui.ui.screens.dataset import DatasetScreen
from fluxgym_tui.ui.screens.live import LiveScreen
from tests.ui.waiting import until


async def test_from_nothing_to_a_lora(workspace: Workspace) -> None:
    app = FluxgymApp(workspace=workspace, screen="dataset")
    async with app.run_test(size=(80, 24)) as pilot:
        await until(pilot, lambda: app.draft.opened, what="the empty workspace")
        await pilot.press("d")
        screen = app.screen
        assert isinstance(screen, DatasetScreen)
        await until(pilot, lambda: len(screen.rows) == 10, what="the photographs")
        await pilot.press("2")
        await until(pilot, lambda: app.screen.query("#field-name Input"), what="the form")
        for key, value in (("dataset-num_repeats", "1"), ("training-max_train_epochs", "1")):
            app.screen.query_one(f"#field-{key} Input", Input).value = value
        app.draft.set("samples.prompts", "")
        app.draft.extra_args = ""
        await until(pilot, lambda: app.draft.planned, what="the plan")
        await pilot.press("ctrl+r")
        await until(pilot, lambda: isinstance(app.screen, LiveScreen), what="the run on the Live screen")
        assert (workspace.configs / "demo.yaml").is_file()
    (begun,) = list_runs(workspace.outputs)
    for _ in follow(RunDirectory(begun.path)):
        pass  # the app is closed, and the run goes on to its end
    (run,) = list_runs(workspace.outputs)
    assert (run.state, run.reason) == (RunState.FINISHED, None)
    assert run.lora is not None
    assert read_header(run.lora).tensors
