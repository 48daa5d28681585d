"""Dataset: pictures with their crops, captions written, changed by many, taken back."""

from contextlib import nullcontext
from pathlib import Path

import pytest
from textual.pilot import Pilot
from textual.widgets import Button, Input, Static, TextArea

from fluxgym_tui.base.findings import Severity
from fluxgym_tui.config.workspace import Workspace
from fluxgym_tui.dataset.problems import PROBLEMS
from fluxgym_tui.ui.app import FluxgymApp
from fluxgym_tui.ui.draft_fields import NAME, PATH
from fluxgym_tui.ui.mending import MENDINGS
from fluxgym_tui.ui.screens.bulk_captions import BulkCaptionsScreen, change_words
from fluxgym_tui.ui.screens.dataset import DatasetScreen
from fluxgym_tui.ui.screens.dataset_actions import DATASET_ACTIONS
from fluxgym_tui.ui.screens.folder_picker import FolderPicker
from fluxgym_tui.ui.screens.problems import ProblemsScreen
from fluxgym_tui.ui.widgets.line_list import LineList
from tests.ui.test_parameters import photos
from tests.ui.waiting import until

__all__ = ["photos"]


async def shown(pilot: Pilot[None], app: FluxgymApp) -> DatasetScreen:
    """Wait for the list with its crops, and hand back the screen."""
    screen = app.screen
    assert isinstance(screen, DatasetScreen)
    await until(pilot, lambda: screen.rows and all(row.planned for row in screen.rows if row.image), what="the rows")
    return screen


async def test_the_list_tells_caption_bucket_and_loss(workspace: Workspace, photos: Path) -> None:
    (photos / "empty.png").touch()
    app = FluxgymApp(workspace=workspace, screen="dataset", open_path=photos, trigger="hrld")
    async with app.run_test(size=(120, 40)) as pilot:
        screen = await shown(pilot, app)
        assert [row.caption_state for row in screen.rows] == ["not trained", "no trigger", "missing", "missing"]
        kept = screen.rows[1].kept
        assert kept is not None
        assert (round(kept[0], 3), kept[1], round(kept[2], 3), kept[3]) == (0.167, 0.0, 0.833, 1.0)
        await pilot.press("G")
        await until(pilot, lambda: "p2.png" in str(screen.query_one("#about", Static).content), what="the facts")
        assert "192x64" in str(screen.query_one("#about", Static).content)


async def test_a_caption_is_written_beside_its_picture_and_taken_back(workspace: Workspace, photos: Path) -> None:
    app = FluxgymApp(workspace=workspace, screen="dataset", open_path=photos)
    async with app.run_test() as pilot:
        screen = await shown(pilot, app)
        await pilot.press("right_square_bracket")
        current = screen.current
        assert current is not None
        assert current.name == "p1.png"
        await until(pilot, lambda: screen._loaded and screen._loaded[0].endswith("p1.png"), what="the caption")
        await pilot.press("enter", *"sea 8", "escape")
        await until(pilot, (photos / "p1.txt").exists, what="the file")
        assert (photos / "p1.txt").read_text(encoding="utf-8") == "sea 8\n"
        await until(pilot, lambda: screen.rows[1].caption_state == "written", what="the list to tell it")
        await pilot.press("u")
        await until(pilot, lambda: not (photos / "p1.txt").exists(), what="the undo")
        await pilot.press("U")
        await until(pilot, (photos / "p1.txt").exists, what="the redo")


async def test_a_caption_half_typed_is_written_when_the_app_ends(workspace: Workspace, photos: Path) -> None:
    app = FluxgymApp(workspace=workspace, screen="dataset", open_path=photos)
    async with app.run_test() as pilot:
        screen = await shown(pilot, app)
        await until(pilot, lambda: screen._text == "a tree", what="the caption")
        await pilot.press("enter", *" in")
    assert (photos / "p0.txt").read_text(encoding="utf-8") == "a tree in\n"


async def test_many_captions_are_shown_before_they_change(workspace: Workspace, photos: Path) -> None:
    (photos / "p1.txt").write_text("a tree house\n", encoding="utf-8")
    app = FluxgymApp(workspace=workspace, screen="dataset", open_path=photos, trigger="hrld")
    async with app.run_test() as pilot:
        await shown(pilot, app)
        await pilot.press("b")
        await until(pilot, lambda: isinstance(app.screen, BulkCaptionsScreen), what="the question")
        app.screen.query_one("#find", Input).value = "tree"
        app.screen.query_one("#replace", Input).value = "fir"
        await until(pilot, lambda: app.screen.query_one(LineList).count == 2, what="the preview")
        assert "a treefir house" in app.screen.query_one(LineList).render_line(2).text, "what goes is struck out"
        await until(pilot, lambda: not app.screen.query_one("#change", Button).disabled, what="the button")
        app.screen.query_one("#change", Button).press()
        await until(pilot, lambda: (photos / "p1.txt").read_text(encoding="utf-8") == "a fir house\n", what="files")
        await until(pilot, lambda: isinstance(app.screen, DatasetScreen), what="the list")
        await pilot.press("t")
        await until(pilot, lambda: isinstance(app.screen, BulkCaptionsScreen), what="the question")
        await until(pilot, lambda: not app.screen.query_one("#change", Button).disabled, what="the button")
        app.screen.query_one("#change", Button).press()
        await until(pilot, lambda: (photos / "p0.txt").read_text(encoding="utf-8") == "hrld, a fir\n", what="trigger")


@pytest.mark.parametrize(
    ("before", "after", "shown"),
    [
        ("a tree", "hrld, a tree", "hrld, a tree"),
        ("a tree", "a fir", "a treefir"),
        ("x " * 30 + "a photo of it", "x " * 30 + "a picture of it", "… " + "x " * 5 + "a photopicture of it"),
        ("a photo, a photo", "a fir, a fir", "a photofir, a photofir"),
        ("a photo", "a ", "a photo"),
    ],
)
def test_a_change_is_shown_where_it_is(before: str, after: str, shown: str) -> None:
    told = change_words(before, after, width=40)
    assert told.plain == shown


async def test_filter_search_and_marks(workspace: Workspace, photos: Path) -> None:
    app = FluxgymApp(workspace=workspace, screen="dataset", open_path=photos)
    async with app.run_test() as pilot:
        screen = await shown(pilot, app)
        await pilot.press("f", "f")
        assert [row.name for row in screen.shown] == ["p1.png", "p2.png"]
        await pilot.press("space", "f")
        assert [row.name for row in screen.shown] == ["p1.png"]
        await pilot.press("f", "slash", *"tree", "enter")
        assert [row.name for row in screen.shown] == ["p0.png"]
        await pilot.press("escape")
        assert len(screen.shown) == 3


async def test_problems_lead_to_their_picture_and_their_keys_mend_them(workspace: Workspace, photos: Path) -> None:
    (photos / "p2.txt").write_bytes(b"caf\xe9 at night\n")
    app = FluxgymApp(workspace=workspace, screen="dataset", open_path=photos)
    async with app.run_test() as pilot:
        screen = await shown(pilot, app)
        await pilot.press("P")
        assert isinstance(app.screen, ProblemsScreen)
        assert "c rewrites it as UTF-8" in str(app.screen.query_one("#fix", Static).content)
        await pilot.press("enter")
        await until(pilot, lambda: screen.current and screen.current.name == "p2.png", what="the picture")
        await pilot.press("P", "c")
        await until(pilot, lambda: (photos / "p2.txt").read_bytes() == b"caf\xc3\xa9 at night\n", what="the file")
        assert list(photos.glob("p2.txt.*.bak"))


async def test_writing_begins_from_the_problem_list(workspace: Workspace, photos: Path) -> None:
    app = FluxgymApp(workspace=workspace, screen="dataset", open_path=photos)
    async with app.run_test() as pilot:
        screen = await shown(pilot, app)
        await pilot.press("f", "f", "f", "f", "slash", *"tree", "enter")
        assert [row.name for row in screen.shown] == ["p0.png"]
        await pilot.press("P", "enter")
        await until(pilot, lambda: screen.query_one("#caption", TextArea).has_focus, what="the editor")
        assert screen.current is not None
        assert screen.current.name == "p1.png", "a filter that hides the picture is taken away"


async def test_the_trigger_is_a_problem_with_a_key(workspace: Workspace, photos: Path) -> None:
    app = FluxgymApp(workspace=workspace, screen="dataset", open_path=photos, trigger="hrld")
    async with app.run_test() as pilot:
        await shown(pilot, app)
        await pilot.press("P")
        assert "t puts it before the caption" in str(app.screen.query_one("#fix", Static).content)
        await pilot.press("t")
        await until(pilot, lambda: isinstance(app.screen, BulkCaptionsScreen), what="the question")


def test_every_problem_that_is_no_advice_has_a_key_of_the_screen() -> None:
    keys = {key: one for one in DATASET_ACTIONS for key in one.keys.split(",")}
    for code, (severity, _, _) in PROBLEMS.items():
        assert severity is Severity.ADVICE or code in MENDINGS, code
    for mending in MENDINGS.values():
        assert mending.key == "enter" or keys[mending.key].action == mending.action


async def test_an_empty_workspace_leads_to_a_folder(workspace: Workspace, photos: Path) -> None:
    app = FluxgymApp(workspace=workspace, screen="dataset")
    async with app.run_test() as pilot:
        await until(pilot, lambda: app.draft.opened, what="the draft")
        assert "choose the folder" in str(app.screen.query_one("#empty", Static).content)
        await pilot.press("o")
        assert isinstance(app.screen, FolderPicker)
        app.screen.query_one("#path", Input).value = str(photos)
        await pilot.press("enter")
        await until(pilot, lambda: app.draft.planned, what="the plan")
        assert (app.draft.values[PATH], app.draft.values[NAME]) == (str(photos), "Hrld")


async def test_what_appears_and_vanishes_outside_shifts_nothing(workspace: Workspace, photos: Path) -> None:
    app = FluxgymApp(workspace=workspace, screen="dataset", open_path=photos)
    async with app.run_test() as pilot:
        screen = await shown(pilot, app)
        await pilot.press("j", "j")
        (photos / "p0.png").rename(photos / "z.png")
        await pilot.press("r")
        await until(pilot, lambda: screen.rows[-1].name == "z.png", what="the new name")
        current = screen.current
        assert current is not None
        assert current.name == "p2.png"
        assert screen.query_one("#caption", TextArea).text == ""


async def test_e_opens_the_users_editor(workspace: Workspace, photos: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    editor = photos.parent / "editor.sh"
    editor.write_text('#!/bin/sh\necho "by hand" > "$1"\n', encoding="utf-8")
    editor.chmod(0o755)
    monkeypatch.setenv("VISUAL", str(editor))
    app = FluxgymApp(workspace=workspace, screen="dataset", open_path=photos)
    monkeypatch.setattr(app, "suspend", nullcontext)  # a test has no terminal to hand over
    async with app.run_test() as pilot:
        screen = await shown(pilot, app)
        await until(pilot, lambda: screen._text == "a tree", what="the caption")
        await pilot.press("e")
        await until(pilot, lambda: screen._text == "by hand", what="the caption from the editor")
        await until(pilot, lambda: screen.rows[0].image and screen.rows[0].image.caption == "by hand", what="the list")
