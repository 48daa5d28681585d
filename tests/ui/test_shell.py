"""The app's shell: screens by key, dimmed keys that say why, the Events list, the question before quitting."""

import pytest
from textual.widgets import Input

from fluxgym_tui.config.settings import Settings, load_settings
from fluxgym_tui.config.workspace import Workspace
from fluxgym_tui.runs.listing import RunLister
from fluxgym_tui.runs.state import RunSummary
from fluxgym_tui.ui.actions import all_actions
from fluxgym_tui.ui.app import FluxgymApp
from fluxgym_tui.ui.screens import SCREENS
from fluxgym_tui.ui.screens.events import EventsScreen
from fluxgym_tui.ui.screens.help import HelpScreen
from fluxgym_tui.ui.screens.jump import JumpScreen
from fluxgym_tui.ui.screens.runs import RunsScreen
from fluxgym_tui.ui.widgets.key_bar import KeyBar
from fluxgym_tui.ui.widgets.tab_bar import TabBar
from tests.runs.fake_runs import FakeRun
from tests.ui.waiting import until
from tests.ui.written_runs import write_run


async def test_the_digits_show_the_screens(workspace: Workspace) -> None:
    app = FluxgymApp(workspace=workspace, screen="runs")
    async with app.run_test() as pilot:
        for entry in SCREENS:
            await pilot.press(entry.digit)
            assert type(app.screen) is entry.load()


async def test_help_events_jump_and_palette_open_and_close(workspace: Workspace) -> None:
    app = FluxgymApp(workspace=workspace, screen="runs")
    async with app.run_test() as pilot:
        for key, screen in (("question_mark", HelpScreen), ("f1", HelpScreen), ("ctrl+e", EventsScreen),
                            ("ctrl+o", JumpScreen)):  # fmt: skip
            await pilot.press(key)
            assert isinstance(app.screen, screen)
            await pilot.press("escape")
            assert not isinstance(app.screen, screen)
        await pilot.press("colon")
        assert app.is_palette()
        await pilot.press("escape")
        assert type(app.screen) is RunsScreen


async def test_a_dimmed_key_says_why_and_it_stays_in_the_events(workspace: Workspace) -> None:
    app = FluxgymApp(workspace=workspace, screen="runs")
    async with app.run_test() as pilot:
        await pilot.press("s")
        assert app.told[-1].message == "stop: there is no run yet"
        assert not app.screen.active_bindings["s"].enabled


async def test_a_field_keeps_the_keys_and_the_first_esc_leaves_it(workspace: Workspace) -> None:
    run = write_run(workspace.outputs, "hrld")
    app = FluxgymApp(workspace=workspace, screen="live", run=run)
    async with app.run_test() as pilot:
        await until(pilot, lambda: app.screen.query_one("#run").display, what="the run")
        await pilot.press("slash", "8", "q")
        field = app.screen.query_one("#search", Input)
        assert (field.value, app.focused) == ("8q", field)
        await pilot.press("escape")
        assert app.focused is not field
        assert type(app.screen).__name__ == "LiveScreen"
        await pilot.press("8")
        assert type(app.screen) is RunsScreen


async def test_control_characters_never_reach_a_toast(workspace: Workspace) -> None:
    app = FluxgymApp(workspace=workspace, screen="runs")
    async with app.run_test():
        app.notify("caught \x1b[31m[bold]")
        assert app.told[-1].message == "caught \\x1b[31m[bold]"


async def test_q_leaves_at_once_where_nothing_runs(workspace: Workspace) -> None:
    write_run(workspace.outputs, "hrld")
    app = FluxgymApp(workspace=workspace, screen="runs")
    async with app.run_test() as pilot:
        await pilot.press("ctrl+c")
        assert app.is_running
        await pilot.press("q")
        await until(pilot, lambda: not app.is_running, what="the app to end")


def test_every_action_has_an_id_of_its_own_and_words() -> None:
    actions = [action for _, group in all_actions() for action in group]
    ids = [action.id for action in actions]
    assert len(ids) == len(set(ids))
    assert all(action.help.endswith(".") and action.label for action in actions)


async def test_the_users_keys_and_theme_are_taken_and_a_new_theme_is_kept(workspace: Workspace) -> None:
    file = workspace.root / "settings.yaml"
    settings = Settings(theme="fluxgym-light", keys={"app.events": "f3", "nothing.here": "x"})
    app = FluxgymApp(workspace=workspace, screen="runs", settings=settings, settings_file=file)
    async with app.run_test() as pilot:
        assert app.theme == "fluxgym-light"
        await pilot.press("f3")
        assert isinstance(app.screen, EventsScreen)
        await pilot.press("escape")
        await until(pilot, lambda: app.told, what="a word about the unknown action")
        assert "nothing.here" in app.told[-1].message
        assert not file.exists()
        app.theme = "fluxgym-colour-blind"
        await until(pilot, file.exists, what="the theme to be kept")
    assert load_settings(file).theme == "fluxgym-colour-blind"


async def test_in_ascii_nothing_else_reaches_the_terminal(workspace: Workspace) -> None:
    run = write_run(workspace.outputs, "hrld", log="100% \u2588\u2588 done\n")
    app = FluxgymApp(workspace=workspace, screen="live", run=run, ascii_only=True)
    async with app.run_test() as pilot:
        await until(pilot, lambda: "finished" in str(app.screen.query_one("#status").render()), what="the run")
        for key in ("5", "8", "question_mark"):
            await pilot.press(key)
            await pilot.pause()
            lines = [strip.text for strip in app.screen._compositor.render_strips()]
            assert [line for line in lines if not line.isascii()] == []


async def test_what_a_worker_did_not_expect_is_told(workspace: Workspace, monkeypatch: pytest.MonkeyPatch) -> None:
    def gone(_: RunLister) -> list[RunSummary]:
        raise OSError("the disk is gone")

    monkeypatch.setattr(RunLister, "look", gone)
    app = FluxgymApp(workspace=workspace, screen="runs")
    async with app.run_test() as pilot:
        await until(pilot, lambda: app.told, what="a word about it")
        assert "the disk is gone" in app.told[-1].message


async def test_a_click_on_a_key_presses_it_and_the_apps_keys_are_always_in_sight(workspace: Workspace) -> None:
    app = FluxgymApp(workspace=workspace, screen="live")
    async with app.run_test(size=(80, 24)) as pilot:
        bar = app.screen.query_one(KeyBar)
        text = bar.render_line(0).text
        assert len(text) == 80
        assert text.rstrip().endswith("? help  q quit")
        await pilot.click(bar, offset=(text.index("s stop"), 0))
        assert app.told[-1].message == "stop: no run is shown; 8 lists them"
        await pilot.click(bar, offset=(text.index("? help"), 0))
        assert isinstance(app.screen, HelpScreen)


@pytest.mark.parametrize("name", ["fluxgym-dark", "fluxgym-light", "fluxgym-colour-blind", "ansi-dark"])
async def test_a_theme_is_there_from_the_start_and_as_if_it_had_been_chosen(workspace: Workspace, name: str) -> None:
    async def looks(begin: str, then: str) -> tuple[object, ...]:
        app = FluxgymApp(workspace=workspace, screen="runs", settings=Settings(theme=begin))
        async with app.run_test(size=(80, 24)) as pilot:
            app.theme = then
            await pilot.pause()
            empty = app.screen.query_one("#empty")
            await until(pilot, lambda: str(empty.render()), what="the empty state")
            return app.screen.styles.background, empty.styles.color, app.screen.query_one(KeyBar).styles.background

    assert await looks(name, name) == await looks("nord", name)


async def test_the_tab_bar_tells_of_a_run_that_another_terminal_started(fake: FakeRun) -> None:
    app = FluxgymApp(workspace=Workspace(fake.run.output_dir.parent.parent), screen="plan")
    async with app.run_test(size=(120, 24)) as pilot:
        fake.start("--steps", "4", "--wait_at", "3")
        await until(pilot, lambda: "running hrld 50%" in tabs(app), what="the run in the tab bar")
        fake.open_gate()
        await until(pilot, lambda: "hrld" not in tabs(app), what="its end")


def tabs(app: FluxgymApp) -> str:
    return app.screen.query_one(TabBar).render_line(0).text
