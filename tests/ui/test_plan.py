"""Plan: buckets, steps and findings of the draft; start that names what is missing."""

from pathlib import Path

import pytest
from textual.widgets import Static

from fluxgym_tui.config.workspace import Workspace
from fluxgym_tui.ui.app import FluxgymApp
from fluxgym_tui.ui.screens.plan import BucketPictures, PlanScreen
from fluxgym_tui.ui.widgets.line_list import LineList
from tests.ui.test_parameters import photos
from tests.ui.waiting import until

__all__ = ["photos"]


async def test_the_plan_lists_buckets_and_their_pictures(workspace: Workspace, photos: Path) -> None:
    app = FluxgymApp(workspace=workspace, screen="plan", open_path=photos)
    async with app.run_test() as pilot:
        await until(pilot, lambda: app.draft.planned, what="the plan")
        screen = app.screen
        assert isinstance(screen, PlanScreen)
        assert [row.bucket.size for row in screen.rows] == [(64, 128), (128, 64), (192, 64)]
        assert [row.cropped for row in screen.rows] == [1, 1, 1]
        assert "480 steps" in str(screen.query_one("#steps", Static).content)
        await pilot.press("j", "enter")
        assert isinstance(app.screen, BucketPictures)
        assert "p1.png" in app.screen.query_one(LineList).render_line(1).text
        await pilot.press("escape", "y")
        copied = app.clipboard.splitlines()
        assert copied[0].startswith("480 steps")
        assert any(line.split()[:2] == ["192x64", "1"] for line in copied)


async def test_without_a_folder_the_plan_says_what_is_missing(workspace: Workspace) -> None:
    app = FluxgymApp(workspace=workspace, screen="plan")
    async with app.run_test() as pilot:
        await until(pilot, lambda: app.draft.opened, what="the draft")
        await until(pilot, lambda: app.screen.query_one("#empty").display, what="the empty state")
        assert "no folder of pictures is chosen" in str(app.screen.query_one("#empty", Static).content)
        await pilot.press("ctrl+r")
        assert app.told[-1].message == "start: no folder of pictures is chosen"


async def test_start_without_a_base_model_that_can_be_fetched_says_so_and_starts_nothing(
    workspace: Workspace, photos: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("fluxgym_tui.checks.model_files.is_offline", lambda: True)
    app = FluxgymApp(workspace=workspace, screen="parameters", open_path=photos, trigger="hrld")
    async with app.run_test() as pilot:
        await until(pilot, lambda: app.draft.planned, what="the plan")
        await pilot.press("ctrl+r")
        await until(pilot, lambda: isinstance(app.screen, PlanScreen), what="the plan")
        assert app.told[-1].message.startswith("the training is not started:\n")
        assert "flux-dev is not here, and HF_HUB_OFFLINE is set" in app.told[-1].message
        assert not list(workspace.outputs.iterdir())
