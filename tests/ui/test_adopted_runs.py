"""Trainings of a fluxgym folder in the app: seen, with their samples, and taken over; never written into."""

from pathlib import Path

import pytest
from textual.widgets import Button, Static

from fluxgym_tui.config.workspace import Workspace
from fluxgym_tui.ui import start
from fluxgym_tui.ui.app import FluxgymApp
from fluxgym_tui.ui.screens.import_settings import ImportedScreen
from fluxgym_tui.ui.screens.live import LiveScreen
from fluxgym_tui.ui.screens.parameters import ParametersScreen
from fluxgym_tui.ui.screens.runs import RunsScreen
from fluxgym_tui.ui.widgets.run_list import RunList
from fluxgym_tui.ui.widgets.sample_grid import SampleGrid
from tests.runs.fluxgym_folder import finish, write_folder
from tests.ui.waiting import until


def files(root: Path) -> set[str]:
    return {str(path.relative_to(root)) for path in (root / "outputs").rglob("*")}


async def test_a_fluxgym_folder_opens_as_a_workspace(tmp_path: Path) -> None:
    root = write_folder(tmp_path, "hrld", "other", vram="12G")
    finish(root, "hrld")
    before = files(root)
    app = FluxgymApp(workspace=Workspace(root), screen="runs")
    async with app.run_test(size=(120, 30)) as pilot:
        await until(pilot, lambda: app.screen.query_one(RunList).runs, what="the runs")
        listed = app.screen.query_one(RunList)
        text = "\n".join(listed.render_line(y).text for y in range(1, 3))
        assert "✓ finished" in text
        assert "! interrupted" in text
        assert "160" in text
        listed.cursor = [run.name for run in listed.runs].index("hrld")
        await pilot.press("enter")
        await until(pilot, lambda: isinstance(app.screen, LiveScreen), what="the screen Live")
        live = app.screen
        assert isinstance(live, LiveScreen)
        await until(pilot, lambda: live.history.end is not None, what="the end of the run")
        assert [event.step for event in live.history.checkpoints] == [40, 80, 120, 160]
        app.show("samples")
        await until(pilot, lambda: app.screen.query(SampleGrid), what="the screen Samples")
        await until(pilot, lambda: app.screen.query_one("#grid-body").display, what="the samples")
        app.show("runs")
        await until(pilot, lambda: app.screen.query(RunList), what="the screen Runs")
        runs = app.screen
        assert isinstance(runs, RunsScreen)
        assert (runs.why_not("resume") or "").endswith("was trained by another program")
        await pilot.press("n")
        await until(pilot, lambda: isinstance(app.screen, ImportedScreen), what="what is taken over")
        said = "\n".join(str(static.render()) for static in app.screen.query(Static))
        assert "blocks_to_swap: 18" in said
        app.screen.query_one("#take", Button).press()
        await until(pilot, lambda: isinstance(app.screen, ParametersScreen), what="the screen Parameters")
        assert files(root) == before


def test_its_folder_on_the_command_line_is_the_workspace(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[tuple[object, object]] = []
    monkeypatch.setattr(start, "run", lambda path, *, workspace, **_: asked.append((path, workspace)))
    root, photos = write_folder(tmp_path / "fluxgym", "hrld"), tmp_path / "photos"
    photos.mkdir()
    start.main([str(root)])
    start.main([str(photos)])
    start.main([str(root), "--workspace", str(tmp_path)])
    assert asked == [(None, Workspace(root)), (photos, None), (root, Workspace(tmp_path))]
