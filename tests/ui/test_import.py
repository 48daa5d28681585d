"""Settings of another program are taken over from the screen Parameters, with what comes out otherwise shown first."""

import shutil
from pathlib import Path

from textual.widgets import Static

from fluxgym_tui.config.workspace import Workspace
from fluxgym_tui.ui.app import FluxgymApp
from fluxgym_tui.ui.screens.import_settings import ImportedScreen, ImportScreen
from fluxgym_tui.ui.widgets.line_list import LineList
from tests.ui.waiting import until

CONFIG = Path(__file__).parents[1] / "data/importers/fluxgym_bucket.json"


async def test_a_fluxgym_config_is_found_read_and_taken_over(workspace: Workspace) -> None:
    for name in ("models", "outputs", "configs", "datasets/hrld-person"):
        (workspace.root / name).mkdir(parents=True)
    shutil.copy(CONFIG, workspace.root / "configs/hrld.json")
    (workspace.root / "configs/broken.json").write_text("{", encoding="utf-8")
    app = FluxgymApp(workspace=workspace, screen="parameters")
    async with app.run_test(size=(80, 24)) as pilot:
        await until(pilot, lambda: app.draft.opened, what="the form")
        await pilot.press("f5")
        assert isinstance(app.screen, ImportScreen)
        listed = app.screen.query_one(LineList)
        await until(pilot, lambda: "configs/" in listed.render_line(1).text, what="the folders")
        await pilot.press("down", "enter")
        await until(pilot, lambda: "broken.json" in listed.render_line(1).text, what="the files")
        await pilot.press("enter")
        await until(pilot, lambda: app.told, what="a word about the broken file")
        assert "broken.json" in app.told[-1].message
        await pilot.press("down", "enter")
        await until(pilot, lambda: isinstance(app.screen, ImportedScreen), what="the notes")
        shown = "\n".join(str(static.render()) for static in app.screen.query(Static))
        assert "all of it is carried over" in shown
        assert "train_clip_l: true" in shown
        await pilot.press("enter")
        await until(pilot, lambda: app.draft.values.get("name") == "Hrld Person", what="the settings")
        assert app.draft.values["training.train_clip_l"] is True
        assert "hrld.json was taken over." in [told.message for told in app.told]
