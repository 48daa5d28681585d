"""Every screen at every size, in every theme, by mouse and by keys: nothing breaks, and the two bars stay in place."""

from pathlib import Path

import pytest
from textual.pilot import Pilot

from fluxgym_tui.config.workspace import Workspace
from fluxgym_tui.ui.app import FluxgymApp
from fluxgym_tui.ui.screens import SCREENS
from fluxgym_tui.ui.widgets.tab_bar import TabBar
from tests.ui.shown_workspace import add_samples, shown_workspace
from tests.ui.waiting import until
from tests.ui.written_runs import write_run

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


async def test_nothing_steers_the_terminal(workspace: Workspace) -> None:
    evil = "evil \x1b]0;title\x07\x1b[2J\u202e\x9b31m"
    spec, _ = shown_workspace(workspace.root)
    (workspace.root / "photos/IMG_2040.txt").write_text(f"{evil} hrld person\n", encoding="utf-8")
    spec.write_text(spec.read_text(encoding="utf-8").replace("in the rain", "in the rain \u202e"), encoding="utf-8")
    run = write_run(workspace.outputs, evil, log=f"{evil}\n" * 50, reason=evil)
    add_samples(run, steps=(0, 10))
    (run.output_dir / "sample_prompts.txt").write_text(f"{evil}\n{evil}\n", encoding="utf-8")
    app = FluxgymApp(workspace=workspace, screen="dataset", open_path=spec, run=run)
    async with app.run_test(size=(120, 40)) as pilot:
        for name, words in (("dataset", "IMG_2040"), ("plan", "steps"), ("parameters", "rain"), ("flags", "option"),
                            ("runs", "evil"), ("live", "evil"), ("samples", "evil"), ("publish", "evil")):  # fmt: skip
            app.show(name)
            await until(pilot, lambda words=words: words in "\n".join(lines(app)), what=f"{words} on {name}")  # type: ignore[misc]
            app.notify(evil)
            await pilot.pause()
            assert [line for line in lines(app) if not line.isprintable()] == []
        await pilot.press("ctrl+e")
        await until(pilot, lambda: "evil" in "\n".join(lines(app)), what="the Events list")
        assert [line for line in lines(app) if not line.isprintable()] == []
