"""Every screen at every size, in every theme, by mouse and by keys: nothing breaks, and the two bars stay in place."""

from pathlib import Path

import pytest
from textual.pilot import Pilot

from fluxgym_tui.config.workspace import Workspace
from fluxgym_tui.ui.app import FluxgymApp
from fluxgym_tui.ui.screens import SCREENS
from fluxgym_tui.ui.widgets.tab_bar import TabBar
from tests.ui.shown_workspace import shown_workspace

SIZES = ((200, 60), (80, 24), (120, 40), (99, 31), (100, 32), (40, 12), (80, 24))
THEMES = ("fluxgym-light", "fluxgym-colour-blind", "ansi-dark", "fluxgym-dark")


def lines(app: FluxgymApp) -> list[str]:
    return [strip.text for strip in app.screen._compositor.render_strips()]


async def check_bars(app: FluxgymApp, pilot: Pilot[None], size: tuple[int, int]) -> None:
    await pilot.pause()
    shown = lines(app)
    assert [len(shown), {len(line) for line in shown}] == [size[1], {size[0]}]
    assert shown[0].startswith(" 1 Dataset  2 Parameters")
    assert shown[-1].rstrip().endswith("q quit")


@pytest.mark.parametrize("name", [entry.name for entry in SCREENS])
async def test_a_screen_survives_every_size_and_theme(workspace: Workspace, name: str) -> None:
    spec, run = shown_workspace(workspace.root)
    app = FluxgymApp(workspace=workspace, screen=name, open_path=spec, run=run)
    async with app.run_test(size=SIZES[0]) as pilot:
        for size in SIZES:
            await pilot.resize_terminal(*size)
            await check_bars(app, pilot, size)
        for theme in THEMES:
            app.theme = theme
            await check_bars(app, pilot, SIZES[-1])
        assert [told.message for told in app.told if told.severity == "error"] == []


async def test_the_mouse_shows_every_screen(workspace: Workspace) -> None:
    app = FluxgymApp(workspace=workspace, screen="runs")
    async with app.run_test(size=(100, 30)) as pilot:
        for entry in SCREENS:
            begin = lines(app)[0].index(f"{entry.digit} {entry.title}")
            await pilot.click(TabBar, offset=(begin + 2, 0))
            await pilot.pause()
            assert type(app.screen) is entry.load()


async def test_a_theme_chosen_on_one_screen_is_there_on_another_that_was_shown_before(workspace: Workspace) -> None:
    app = FluxgymApp(workspace=workspace, screen="runs")
    async with app.run_test(size=(80, 24)) as pilot:
        await pilot.press("5", "8")
        app.theme = "fluxgym-light"
        await pilot.press("5")
        await pilot.pause()
        assert app.screen.styles.background.hex.lower() == "#fafafa"
        assert app.screen.query_one(TabBar).styles.background.hex.lower() == "#e1e4ea"


def test_no_screen_is_left_out() -> None:
    assert [entry.digit for entry in SCREENS] == list("12345678")
    assert all(
        (Path(__file__).parents[2] / "fluxgym_tui/ui/screens" / f"{entry.name}.tcss").exists() for entry in SCREENS
    )
