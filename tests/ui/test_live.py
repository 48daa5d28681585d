"""The Live screen, on runs written as files and on one that really runs under the real supervisor."""

from pathlib import Path

from textual.widgets import Static

from fluxgym_tui.base import events
from fluxgym_tui.config.workspace import Workspace
from fluxgym_tui.runs.directory import RunDirectory, create
from fluxgym_tui.ui.app import FluxgymApp
from fluxgym_tui.ui.opening import first_screen
from fluxgym_tui.ui.screens.live import LiveScreen
from fluxgym_tui.ui.screens.quit import QuitScreen
from fluxgym_tui.ui.widgets.log_view import LogView
from fluxgym_tui.ui.widgets.loss_chart import LossChart
from tests.runs.fake_runs import FakeRun
from tests.ui.waiting import until
from tests.ui.written_runs import write_run


def text_of(app: FluxgymApp, selector: str) -> str:
    return str(app.screen.query_one(selector, Static).render())


def live(app: FluxgymApp) -> LiveScreen:
    assert isinstance(app.screen, LiveScreen)
    return app.screen


def lines_of(view: LogView) -> list[str]:
    return [view.render_line(y).text.rstrip() for y in range(view.size.height)]


async def test_without_a_run_it_says_where_runs_are(workspace: Workspace) -> None:
    app = FluxgymApp(workspace=workspace, screen="live")
    async with app.run_test() as pilot:
        assert "No run is shown" in text_of(app, "#empty")
        await pilot.press("s")
        assert app.told[-1].message == "stop: no run is shown; 8 lists them"


async def test_a_failed_run_says_why_and_what_to_do(workspace: Workspace) -> None:
    problem = events.ProblemEvent(
        time=1.0, code="out_of_memory", title="the GPU ran out of memory", fix="Take the next smaller recipe."
    )
    run = write_run(workspace.outputs, "hrld", steps=12, outcome="failed", reason="exit code 1", problem=problem)
    app = FluxgymApp(workspace=workspace, screen="live", run=run)
    async with app.run_test(size=(80, 24)) as pilot:
        await until(pilot, lambda: "failed" in text_of(app, "#status"), what="the end")
        status = text_of(app, "#status")
        assert "✗ failed" in status
        assert "the GPU ran out of memory" in status
        assert "What to do: Take the next smaller recipe." in status
        assert "12/40" in status


async def test_the_place_of_the_error_in_the_log_is_one_key_away(workspace: Workspace) -> None:
    log = "".join(f"line {number}\n" for number in range(300)) + "CUDA out of memory\n" + "more\n" * 100
    problem = events.ProblemEvent(time=1.0, code="oom", title="out of memory", log_offset=log.index("CUDA"))
    run = write_run(workspace.outputs, "hrld", steps=12, outcome="failed", problem=problem, log=log)
    app = FluxgymApp(workspace=workspace, screen="live", run=run)
    async with app.run_test(size=(80, 24)) as pilot:
        view = app.screen.query_one(LogView)
        await until(pilot, lambda: view.count == 401 and live(app).history.problem is not None, what="the log")
        await pilot.press("x")
        await until(pilot, lambda: "CUDA out of memory" in "\n".join(lines_of(view)), what="the error")
        assert view.hit == 300


async def test_a_running_run_is_shown_whole_and_stops_when_asked(workspace: Workspace, fake: FakeRun) -> None:
    fake.start("--steps", "30", "--step_s", "0.001", "--wait_at", "20", "--checkpoint_every", "10")
    fake.until_step(19)
    place = Workspace(fake.run.output_dir.parent.parent)
    screen, run = first_screen(place, path=None, run=None)
    assert (screen, run) == ("live", fake.run)
    app = FluxgymApp(workspace=place, screen=screen, run=run)
    async with app.run_test(size=(100, 30)) as pilot:
        await until(pilot, lambda: "19/30" in text_of(app, "#status"), what="its steps")
        assert "▶ running" in text_of(app, "#status")
        assert list(live(app).history.curve.steps) == list(range(1, 20))
        await pilot.press("q")
        await until(pilot, lambda: isinstance(app.screen, QuitScreen), what="the question")
        await pilot.press("escape", "s")
        await until(pilot, lambda: app.screen.query("#do"), what="the question")
        await pilot.press("tab", "enter")
        await until(pilot, lambda: "■ stopped" in text_of(app, "#status"), what="the run to stop")
        assert any("was asked to stop now" in told.message for told in app.told)


async def test_leaving_the_app_leaves_the_run_running(fake: FakeRun) -> None:
    fake.start("--steps", "5", "--wait_at", "3")
    fake.until_step(2)
    app = FluxgymApp(workspace=Workspace(fake.run.output_dir.parent.parent), screen="live", run=fake.run)
    async with app.run_test() as pilot:
        await pilot.press("q")
        await until(pilot, lambda: isinstance(app.screen, QuitScreen), what="the question")
        await pilot.press("enter")
        await until(pilot, lambda: not app.is_running, what="the app to end")
    assert fake.state().state == "running"
    fake.open_gate()
    fake.until_end()
    assert fake.state().state == "finished"


async def test_the_log_follows_until_somebody_scrolls_up(workspace: Workspace) -> None:
    run = write_run(workspace.outputs, "hrld", log="".join(f"line {number}\n" for number in range(500)))
    app = FluxgymApp(workspace=workspace, screen="live", run=run)
    async with app.run_test(size=(100, 30)) as pilot:
        view = app.screen.query_one(LogView)
        await until(pilot, lambda: lines_of(view)[-1] == "line 499", what="the log's end")
        await pilot.press("k")
        await until(pilot, lambda: not view.following, what="following to end")
        with run.log(1).open("a", encoding="utf-8") as log:
            log.write("\x1b[2Jline 500\nline 501\n")
        await until(pilot, lambda: view.unseen == 2, what="two new lines")
        assert lines_of(view)[-1] == "line 498"
        await until(pilot, lambda: "+2 lines" in text_of(app, "#log-title"), what="the offer")
        await pilot.press("G")
        await until(pilot, lambda: lines_of(view)[-2:] == ["\\x1b[2Jline 500", "line 501"], what="the new end")
        await pilot.press("g")
        await until(pilot, lambda: lines_of(view)[0] == "line 0", what="the first line")


async def test_the_log_is_searched_and_filtered(workspace: Workspace) -> None:
    lines = [f"WARNING {number}" if number % 100 == 0 else f"line {number}" for number in range(500)]
    run = write_run(workspace.outputs, "hrld", log="\n".join(lines))
    app = FluxgymApp(workspace=workspace, screen="live", run=run)
    async with app.run_test(size=(100, 30)) as pilot:
        view = app.screen.query_one(LogView)
        await until(pilot, lambda: view.count == 500, what="the log")
        await pilot.press("slash", *"line 25", "enter")
        await until(pilot, lambda: len(view.hits) == 11, what="the hits")
        assert view.hit is not None
        first = view.hit
        await pilot.press("n", "N")
        assert view.hit == first
        await pilot.press("w")
        await until(pilot, lambda: view.count == 5, what="the filter")
        assert lines_of(view)[:5] == [f"WARNING {number}" for number in (0, 100, 200, 300, 400)]
        assert "5 errors and warnings of 500 lines" in text_of(app, "#log-title")


async def test_the_chart_zooms_and_keeps_the_newest_in_sight(workspace: Workspace) -> None:
    run = write_run(workspace.outputs, "hrld", steps=200, total=200)
    app = FluxgymApp(workspace=workspace, screen="live", run=run)
    async with app.run_test(size=(100, 30)) as pilot:
        chart = app.screen.query_one(LossChart)
        await until(pilot, lambda: chart.lines and len(chart.lines[0].curve) == 200, what="the curve")
        chart.focus()
        await pilot.press("plus")
        assert chart.render_line(chart.size.height - 1).text.split()[-1] == "200"
        assert "zoomed" in chart.render_line(0).text
        await pilot.press("0", "L")
        assert "log scale" in chart.render_line(0).text
        assert chart.render_line(chart.size.height - 1).text.split()[0] == "1"


async def test_nothing_is_drawn_of_a_hidden_screen(workspace: Workspace) -> None:
    run = write_run(workspace.outputs, "hrld")
    app = FluxgymApp(workspace=workspace, screen="live", run=run)
    async with app.run_test() as pilot:
        screen = live(app)
        await until(pilot, lambda: "finished" in text_of(app, "#status"), what="the run")
        before = str(screen.query_one("#status", Static).render())
        await pilot.press("8")
        screen.history.feed([events.StepEvent(time=9e9, step=41, total=41)])
        screen._dirty = True
        screen._repaint()
        assert str(screen.query_one("#status", Static).render()) == before


async def test_a_run_that_comes_to_be_later_can_be_shown(workspace: Workspace) -> None:
    app = FluxgymApp(workspace=workspace, screen="live")
    async with app.run_test() as pilot:
        run: RunDirectory = write_run(workspace.outputs, "hrld")
        app.open_run(run)
        await pilot.pause()
        await until(pilot, lambda: "finished" in text_of(app, "#status"), what="the run")


def test_an_empty_workspace_opens_with_the_first_screen(tmp_path: Path) -> None:
    screen, run = first_screen(Workspace(tmp_path), path=None, run=None)
    assert (screen in ("dataset", "runs"), run) == (True, None)
    create(tmp_path / "outputs", "hrld")
