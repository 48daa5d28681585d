"""The screens Runs, Samples and the comparison, on runs written as files."""

from pathlib import Path

from PIL import Image
from textual.widgets import Static

from fluxgym_tui.base import events
from fluxgym_tui.base.files import write_atomic
from fluxgym_tui.config.workspace import Workspace
from fluxgym_tui.runs.directory import RunDirectory
from fluxgym_tui.runs.journal import Entry, JournalWriter
from fluxgym_tui.runs.picked import picked
from fluxgym_tui.ui.app import FluxgymApp
from fluxgym_tui.ui.pictures import draw_picture, fitted
from fluxgym_tui.ui.screens.compare import CompareScreen
from fluxgym_tui.ui.screens.live import LiveScreen
from fluxgym_tui.ui.screens.parameters import ParametersScreen
from fluxgym_tui.ui.screens.zoom import ZoomScreen
from fluxgym_tui.ui.widgets.run_list import RunList
from fluxgym_tui.ui.widgets.sample_grid import SampleGrid
from tests.ui.waiting import until
from tests.ui.written_runs import write_run


def rows(app: FluxgymApp) -> list[str]:
    listed = app.screen.query_one(RunList)
    return [listed.render_line(y).text for y in range(1, len(listed.runs) + 1)]


def add_samples(run: RunDirectory, *, steps: tuple[int, ...] = (0, 10, 20), prompts: int = 2) -> None:
    run.samples.mkdir()
    told: list[events.RunEvent] = []
    for step in steps:
        for prompt in range(prompts):
            path = run.samples / f"{run.name}_{step:06d}_{prompt:02d}.png"
            Image.new("RGB", (64, 48), (step * 10, prompt * 200, 80)).save(path)
            told.append(events.SampleEvent(time=1.0, path=str(path), prompt_index=prompt, step=step, seed=42))
    writer = JournalWriter(run.events)
    writer.append([Entry(event) for event in told])
    writer.close()
    write_atomic(run.output_dir / "sample_prompts.txt", "hrld on a bike\nhrld in the rain\n")


async def test_every_state_is_told_by_glyph_and_word(workspace: Workspace) -> None:
    write_run(workspace.outputs, "one", outcome="finished", began=4e8)
    write_run(workspace.outputs, "two", outcome="failed", reason="the disk is full")
    write_run(workspace.outputs, "three", outcome=None)
    write_run(workspace.outputs, "evil\x1b[2J", outcome="stopped")
    app = FluxgymApp(workspace=workspace, screen="runs")
    async with app.run_test(size=(120, 30)) as pilot:
        await until(pilot, lambda: app.screen.query_one(RunList).runs, what="the runs")
        text = "\n".join(rows(app))
        for words in ("✓ finished", "✗ failed", "! interrupted", "■ stopped", "the disk is full", "evil\\x1b[2J"):
            assert words in text
        assert "\x1b" not in text


async def test_runs_that_come_and_go_do_not_move_the_cursor(workspace: Workspace) -> None:
    write_run(workspace.outputs, "one")
    write_run(workspace.outputs, "two")
    app = FluxgymApp(workspace=workspace, screen="runs")
    async with app.run_test() as pilot:
        listed = app.screen.query_one(RunList)
        await until(pilot, lambda: len(listed.runs) == 2, what="the runs")
        await pilot.press("j")
        assert listed.current is not None
        name = listed.current.name
        write_run(workspace.outputs, "three")
        await pilot.press("r")
        await until(pilot, lambda: len(listed.runs) == 3, what="the new run")
        assert listed.current.name == name
        await pilot.press("enter")
        assert type(app.screen) is LiveScreen
        await until(pilot, lambda: app.screen.query_one("#run").display, what="the run")
        assert app.run_shown == RunDirectory(workspace.outputs / name)


async def test_deleting_asks_and_the_focus_is_on_keeping(workspace: Workspace) -> None:
    run = write_run(workspace.outputs, "hrld")
    app = FluxgymApp(workspace=workspace, screen="runs")
    async with app.run_test() as pilot:
        await until(pilot, lambda: app.screen.query_one(RunList).runs, what="the runs")
        await pilot.press("d", "enter")
        assert run.output_dir.exists()
        await pilot.press("d", "tab", "enter")
        await until(pilot, lambda: not run.output_dir.exists(), what="the run to be gone")
        await until(pilot, lambda: app.screen.query_one("#empty").display, what="the empty state")


async def test_marked_runs_are_compared(workspace: Workspace) -> None:
    spec = "name: {}\nbase_model: flux-dev\ndataset: {{path: /pictures}}\ntraining: {{learning_rate: {}}}\n"
    for name, rate in (("one", "8e-4"), ("two", "1e-4")):
        run = write_run(workspace.outputs, name)
        write_atomic(run.spec, spec.format(name, rate))
        add_samples(run)
    app = FluxgymApp(workspace=workspace, screen="runs")
    async with app.run_test(size=(100, 40)) as pilot:
        await until(pilot, lambda: app.screen.query_one(RunList).runs, what="the runs")
        await pilot.press("c")
        assert "mark two to 4 runs" in app.told[-1].message
        await pilot.press("space", "space", "c")
        assert isinstance(app.screen, CompareScreen)
        table = app.screen.query_one("#table", Static)
        await until(pilot, lambda: "learning_rate" in str(table.render()), what="the settings")
        lines = str(table.render()).splitlines()
        assert [line.split() for line in lines[1:]] == [["training.learning_rate", "0.0001", "0.0008"]]
        assert "hrld" not in str(table.render())
        await pilot.press("p")
        assert "prompt 2" in str(app.screen.query_one("#caption-0", Static).render())


async def test_a_run_is_the_beginning_of_a_new_training(workspace: Workspace) -> None:
    run = write_run(workspace.outputs, "hrld")
    write_atomic(run.spec, "name: Hrld\ndataset: {path: /pictures, num_repeats: 7}\n")
    app = FluxgymApp(workspace=workspace, screen="runs")
    async with app.run_test(size=(100, 40)) as pilot:
        for _ in range(2):  # the screen is there the second time
            await until(
                pilot, lambda: app.screen.query(RunList) and app.screen.query_one(RunList).runs, what="the runs"
            )
            await pilot.press("n")
            await until(pilot, lambda: app.draft.values.get("dataset.num_repeats") == "7", what="its settings")
            assert isinstance(app.screen, ParametersScreen)
            app.draft.values["dataset.num_repeats"] = "8"
            app.set_focus(None)
            await pilot.press("8")


async def test_samples_are_a_grid_to_look_closer_at_and_to_pick_from(workspace: Workspace) -> None:
    run = write_run(workspace.outputs, "hrld")
    add_samples(run)
    lora = run.output_dir / "hrld-000020.safetensors"
    lora.write_bytes(b"")
    app = FluxgymApp(workspace=workspace, screen="samples", run=run)
    async with app.run_test(size=(100, 40)) as pilot:
        grid = app.screen.query_one(SampleGrid)
        await until(pilot, lambda: grid.table is not None, what="the samples")
        await until(pilot, lambda: "base model" in grid.render_line(0).text, what="the labels")
        await until(pilot, lambda: "▀" in grid.render_line(3).text, what="a thumbnail")
        await pilot.press("j")
        assert "hrld in the rain" in str(app.screen.query_one("#prompt", Static).render())
        await pilot.press("left", "p")
        assert app.told[-1].message == "pick: there is no LoRA file of this step"
        await pilot.press("right", "p")
        assert picked(run) == lora
        await pilot.press("b")
        assert isinstance(app.screen, ZoomScreen)
        await pilot.press("left", "up")
        assert "step 10" in str(app.screen.query_one("#where", Static).render())
        await pilot.press("escape")
        assert (grid.row, grid.column) == (0, 1)


async def test_a_run_without_samples_says_how_to_get_them(workspace: Workspace) -> None:
    run = write_run(workspace.outputs, "hrld")
    app = FluxgymApp(workspace=workspace, screen="samples", run=run)
    async with app.run_test() as pilot:
        empty = app.screen.query_one("#empty", Static)
        await until(pilot, lambda: "every_n_steps" in str(empty.render()), what="the empty state")


def test_pictures_fit_their_room_and_go_without_colour(tmp_path: Path) -> None:
    assert fitted(100, 50, 24, 12) == (24, 6)
    assert fitted(50, 100, 24, 12) == (12, 12)
    assert fitted(0, 10, 24, 12) == (0, 0)
    path = tmp_path / "a.png"
    Image.new("L", (40, 40), 255).save(path)
    assert [strip.text for strip in draw_picture(path, 8, 4)] == ["▀" * 8] * 4
    assert [strip.text for strip in draw_picture(path, 8, 4, colour=False)] == ["@" * 8] * 4


async def test_cells_are_as_high_as_the_pictures_and_their_paths_can_be_copied(workspace: Workspace) -> None:
    run = write_run(workspace.outputs, "hrld")
    add_samples(run)  # 64 by 48: 24 cells wide are 9 high
    app = FluxgymApp(workspace=workspace, screen="samples", run=run)
    async with app.run_test(size=(100, 40)) as pilot:
        grid = app.screen.query_one(SampleGrid)
        await until(pilot, lambda: grid._cell.height == 9 + 2, what="the height of the pictures")
        await pilot.press("j", "y")
        assert app.clipboard == str(run.samples / "hrld_000020_01.png")
