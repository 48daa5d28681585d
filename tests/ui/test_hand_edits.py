"""Flags: the run's files edited by hand, in an editor and here, marked everywhere, and never silently undone."""

from contextlib import nullcontext
from pathlib import Path

import pytest
from textual.pilot import Pilot
from textual.widgets import Button, Static, TextArea

from fluxgym_tui.base.errors import FluxgymError
from fluxgym_tui.checks.preflight import preflight
from fluxgym_tui.config.by_hand import hand_edits, keep_edit
from fluxgym_tui.config.specfile import dump_spec
from fluxgym_tui.config.workspace import Workspace
from fluxgym_tui.runs.commands import read_plan
from fluxgym_tui.runs.directory import RunDirectory
from fluxgym_tui.runs.launch import preview_files
from fluxgym_tui.runs.state import read_state
from fluxgym_tui.ui.app import FluxgymApp
from fluxgym_tui.ui.draft_fields import NAME
from fluxgym_tui.ui.draft_files import clone_spec
from fluxgym_tui.ui.screens.confirm import ConfirmScreen
from fluxgym_tui.ui.screens.flags import FlagsScreen
from fluxgym_tui.ui.screens.run_files import RunFilesScreen
from tests.backends.kohya.test_run import gym, play, spec_in
from tests.ui.test_flags import opened
from tests.ui.test_parameters import photos
from tests.ui.waiting import until

__all__ = ["gym", "photos"]


def told(app: FluxgymApp, selector: str) -> str:
    return str(app.screen.query_one(selector, Static).content)


async def files_of(pilot: Pilot[None], app: FluxgymApp) -> TextArea:
    """Open the window with the files, at train.sh; its text."""
    await until(pilot, lambda: app.draft.planned and app.draft.file is not None, what="the saved spec")
    await pilot.press("c")
    await until(pilot, lambda: isinstance(app.screen, RunFilesScreen) and app.screen.query(TextArea), what="the files")
    await until(pilot, lambda: app.screen.query_one(TextArea).text, what="the text")
    return app.screen.query_one(TextArea)


@pytest.fixture
def no_editor(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("VISUAL", "EDITOR"):
        monkeypatch.delenv(name, raising=False)


@pytest.mark.usefixtures("no_editor")
async def test_a_file_is_edited_here_marked_and_taken_back(workspace: Workspace, photos: Path) -> None:
    app = FluxgymApp(workspace=workspace, screen="flags", open_path=photos, trigger="hrld")
    async with app.run_test(size=(120, 40)) as pilot:
        screen = await opened(pilot, app)
        area = await files_of(pilot, app)
        before = area.text
        await pilot.press("n", "e")
        assert not area.read_only
        area.load_text(area.text.replace("num_repeats = 10", "num_repeats = 3"))
        await pilot.press("n")
        assert area.text.startswith("n"), "letters are letters now"
        await pilot.press("backspace", "escape")
        assert "! edited by hand" in told(app, "#name")
        await pilot.press("d")
        assert "-  num_repeats = 10" in area.text
        assert "+  num_repeats = 3" in area.text
        await pilot.press("escape")
        await until(pilot, lambda: isinstance(app.screen, FlagsScreen), what="the options")
        await until(pilot, lambda: app.draft.ready and app.draft.ready.hand, what="the new check")
        assert app.draft.ready is not None
        assert app.draft.ready.plan.plan.steps.total == 3 * 3 * 16
        await until(pilot, lambda: "dataset.toml edited by hand" in told(app, "#summary"), what="the mark")
        await pilot.press("2")
        await until(pilot, lambda: "dataset.toml edited by hand" in told(app, "#totals"), what="the mark there")
        await pilot.press("4")
        spec_file = app.draft.file
        assert spec_file is not None
        assert spec_file.with_name("hrld.dataset.toml").exists()

        app.draft.set("dataset.num_repeats", "5")
        screen.changed()
        await until(pilot, lambda: app.draft.planned, what="the plan")
        assert app.draft.ready is not None
        assert app.draft.ready.plan.plan.steps.total == 3 * 3 * 16, "the edited file stands"
        area = await files_of(pilot, app)
        assert area.text == before
        await pilot.press("n")
        assert "differs from the parameters, changed since" in told(app, "#name")
        await pilot.press("x")
        await until(pilot, lambda: isinstance(app.screen, ConfirmScreen), what="the question")
        app.screen.query_one("#do", Button).press()
        await until(pilot, lambda: isinstance(app.screen, RunFilesScreen), what="the files")
        assert "as the next run will have it" in told(app, "#name")
        assert "num_repeats = 5" in area.text
        await pilot.press("escape")
        await until(pilot, lambda: app.draft.ready and not app.draft.ready.hand, what="the new check")
        assert not hand_edits(spec_file)


async def test_the_users_editor_edits_it_and_what_is_wrong_is_told(
    workspace: Workspace, photos: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    editor = photos.parent / "editor.sh"
    editor.write_text("#!/bin/sh\nsed -i 's/--max_train_epochs 16/--max_train_epoch 16/' \"$1\"\n", encoding="utf-8")
    editor.chmod(0o755)
    monkeypatch.setenv("VISUAL", str(editor))
    app = FluxgymApp(workspace=workspace, screen="flags", open_path=photos, trigger="hrld")
    monkeypatch.setattr(app, "suspend", nullcontext)  # a test has no terminal to hand over
    async with app.run_test(size=(120, 40)) as pilot:
        await opened(pilot, app)
        area = await files_of(pilot, app)
        await pilot.press("e")
        await until(pilot, lambda: "--max_train_epoch 16" in area.text, what="the edited command")
        await pilot.press("escape")
        await until(pilot, lambda: app.draft.ready and app.draft.ready.hand, what="the new check")
        assert app.draft.ready is not None
        said = " ".join(f"{one.title} {one.fix}" for one in app.draft.ready.errors)
        assert "--max_train_epoch:" in said
        assert "max_train_epochs" in said, "the nearest is named"


@pytest.mark.usefixtures("no_editor")
async def test_what_cannot_be_read_is_told_at_once(workspace: Workspace, photos: Path) -> None:
    app = FluxgymApp(workspace=workspace, screen="flags", open_path=photos, trigger="hrld")
    async with app.run_test(size=(120, 40)) as pilot:
        await opened(pilot, app)
        area = await files_of(pilot, app)
        await pilot.press("e")
        area.load_text(area.text + "python more.py | tee log\n")
        await pilot.press("escape")
        assert "is for a shell" in told(app, "#wrong")
        await pilot.press("n")
        assert told(app, "#wrong") == "", "it is said of the file that it is about"


@pytest.mark.usefixtures("no_editor")
async def test_edited_files_go_with_a_new_name_of_the_spec(workspace: Workspace, photos: Path) -> None:
    app = FluxgymApp(workspace=workspace, screen="flags", open_path=photos, trigger="hrld")
    async with app.run_test(size=(120, 40)) as pilot:
        screen = await opened(pilot, app)
        area = await files_of(pilot, app)
        await pilot.press("e")
        area.load_text(area.text.replace("--seed 42", "--seed 7"))
        await pilot.press("escape", "escape")
        app.draft.set(NAME, "Other")
        screen.changed()
        renamed = workspace.root / "configs/other.train.sh"
        await until(pilot, renamed.exists, what="the file under the new name")
        assert "--seed 7" in renamed.read_text(encoding="utf-8")
        await until(pilot, lambda: app.draft.planned and app.draft.ready and app.draft.ready.hand, what="the check")
        ready = app.draft.ready
        assert ready is not None
        assert ready.hand is not None
        assert not ready.hand.findings, "its folders are those of the new name"
        assert ready.trained_flags["seed"] == 7


@pytest.mark.usefixtures("no_editor")
async def test_a_file_half_written_is_kept_when_the_app_ends(workspace: Workspace, photos: Path) -> None:
    app = FluxgymApp(workspace=workspace, screen="flags", open_path=photos, trigger="hrld")
    async with app.run_test(size=(120, 40)) as pilot:
        await opened(pilot, app)
        await files_of(pilot, app)
        spec_file = app.draft.file
        await pilot.press("e", *"# mine")
    edit = hand_edits(spec_file).train_sh
    assert edit is not None
    assert edit.text.startswith("# mine")


@pytest.mark.usefixtures("no_editor")
async def test_what_cannot_be_kept_stays_in_the_editor(
    workspace: Workspace, photos: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    app = FluxgymApp(workspace=workspace, screen="flags", open_path=photos, trigger="hrld")
    async with app.run_test(size=(120, 40)) as pilot:
        await opened(pilot, app)
        area = await files_of(pilot, app)
        await pilot.press("e", "#")

        def full(*_: object, **__: object) -> None:
            raise FluxgymError("the disk is full", hint="Make room.")

        with monkeypatch.context() as patched:
            patched.setattr("fluxgym_tui.ui.screens.run_files.keep_edit", full)
            await pilot.press("escape")
            assert any("the disk is full" in one.message for one in app.told)
            assert area.read_only is False
        await pilot.press("escape")
        assert app.screen.query_one(TextArea).read_only
        assert "! edited by hand" in told(app, "#name")


def test_a_clone_says_what_it_does_not_take(workspace: Workspace, photos: Path) -> None:
    spec_file = workspace.configs / "a.yaml"
    spec_file.write_text(f"schema: 1\nname: A\ndataset: {{path: {photos}}}\n", encoding="utf-8")
    assert "by hand" not in clone_spec(spec_file, workspace=workspace).note
    keep_edit(spec_file, "train.sh", "x", made_from=None, places=None)
    assert "train.sh, edited by hand, stays with it" in clone_spec(spec_file, workspace=workspace).note


async def test_a_start_from_the_app_trains_from_the_edited_files(
    gym: Workspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    play(monkeypatch, "ok_pipe", status=0, lora=True)
    spec_file = gym.configs / "hrld-person.yaml"
    spec_file.write_text(dump_spec(spec_in(gym)), encoding="utf-8")
    ready = preflight(spec_in(gym), workspace=gym)
    files, places = preview_files(ready, workspace=gym)
    text = files["train.sh"].replace("--max_train_epochs 2", "--max_train_epochs 2 \\\n  --training_comment mine")
    keep_edit(spec_file, "train.sh", text, made_from=files["train.sh"], places=places)
    app = FluxgymApp(workspace=gym, screen="flags", open_path=spec_file)
    run = RunDirectory(gym.root / "outputs/hrld-person")
    async with app.run_test(size=(120, 40)) as pilot:
        await opened(pilot, app)
        await pilot.press("ctrl+r")
        await until(pilot, lambda: any("train.sh as edited by hand" in one.message for one in app.told), what="a word")
        await until(pilot, lambda: read_state(run).state.ended, what="the end of the run")
    trainer = next(child for child in read_plan(run).children if child.phase == "train")
    assert trainer.argv[trainer.argv.index("--training_comment") + 1] == "mine"
    assert read_state(run).state == "finished"
