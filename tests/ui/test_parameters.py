"""Parameters: typed, checked and kept; buckets in one key; prompts follow the trigger until they are one's own."""

from collections.abc import Callable
from pathlib import Path

import pytest
from PIL import Image
from textual.pilot import Pilot
from textual.widgets import Input

from fluxgym_tui.config.specfile import load_spec
from fluxgym_tui.config.workspace import Workspace
from fluxgym_tui.ui.app import FluxgymApp
from fluxgym_tui.ui.draft import Draft
from fluxgym_tui.ui.draft_fields import NAME, PROMPTS, TRIGGER
from fluxgym_tui.ui.draft_files import SavedDraft, new_draft
from fluxgym_tui.ui.draft_writer import DraftWriter
from fluxgym_tui.ui.widgets.form import Choice, FieldRow
from tests.ui.waiting import until


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    """Three small pictures, one with a caption."""
    folder = tmp_path / "Hrld"
    folder.mkdir()
    for number, size in enumerate(((96, 128), (128, 96), (200, 100))):
        Image.new("RGB", size, (40 * number, 90, 120)).save(folder / f"p{number}.png")
    (folder / "p0.txt").write_text("a tree\n", encoding="utf-8")
    return folder


async def opened(pilot: Pilot[None], app: FluxgymApp) -> None:
    """Wait until the form shows the draft."""
    await until(pilot, lambda: app.draft.opened and app.screen.query("#field-name Input"), what="the form")
    await until(pilot, lambda: app.screen.query_one("#field-name Input", Input).value, what="the name")


def saved(app: FluxgymApp) -> Callable[[], bool]:
    return lambda: app.draft.saved_version == app.draft.version and app.draft.file is not None


async def test_a_folder_becomes_a_spec_that_is_saved_as_typed(workspace: Workspace, photos: Path) -> None:
    app = FluxgymApp(workspace=workspace, screen="parameters", open_path=photos, trigger="hrld man")
    async with app.run_test() as pilot:
        await opened(pilot, app)
        assert (app.draft.values[NAME], app.draft.values[PROMPTS]) == ("Hrld", "hrld man")
        field = app.screen.query_one("#field-training-network_dim Input", Input)
        field.focus()
        field.value = "8"
        await until(pilot, lambda: app.draft.values.get("training.network_dim") == "8", what="the rank")
        await until(pilot, lambda: app.draft.planned, what="the plan")
        assert app.draft.ready is not None
        assert app.draft.ready.plan.plan.steps.total == 3 * 10 * 16
        await until(pilot, saved(app), what="the spec to be saved")
        spec = load_spec(workspace.configs / "hrld.yaml")
        assert (spec.training.network_dim, spec.trigger, spec.dataset.path) == (8, "hrld man", photos)


async def test_what_is_no_spec_is_told_at_its_field_and_kept(workspace: Workspace, photos: Path) -> None:
    app = FluxgymApp(workspace=workspace, screen="parameters", open_path=photos)
    async with app.run_test() as pilot:
        await opened(pilot, app)
        app.screen.query_one("#field-training-learning_rate Input", Input).value = "fast"
        await until(pilot, lambda: "training.learning_rate" in app.draft.errors, what="the error")
        assert "must be a number" in app.draft.errors["training.learning_rate"]
        await pilot.press("ctrl+r")
        assert "learning rate must be a number" in app.told[-1].message
    again = FluxgymApp(workspace=workspace, screen="parameters")
    async with again.run_test() as pilot:
        await opened(pilot, again)
        assert again.draft.values["training.learning_rate"] == "fast"


async def test_buckets_switch_in_one_key_and_back(workspace: Workspace, photos: Path) -> None:
    app = FluxgymApp(workspace=workspace, screen="parameters", open_path=photos)
    async with app.run_test() as pilot:
        await opened(pilot, app)
        app.draft.set("dataset.resolution.width", "256")
        before = dict(app.draft.values)
        await pilot.press("b")
        changed = {key: value for key, value in app.draft.values.items() if before[key] != value}
        assert changed == {
            "dataset.enable_bucket": False,
            "dataset.bucket_no_upscale": False,
            "dataset.resize": "256",
            "dataset.downscale_only": False,
        }
        app.draft.set(NAME, "Other")
        await pilot.press("u")
        assert app.draft.values == {**before, NAME: "Other"}
        assert app.draft.undoable is None
        await pilot.press("f2", "f2")
        assert app.draft.values["dataset.max_bucket_reso"] == "512"
        assert app.draft.values["dataset.enable_bucket"] is True


async def test_prompts_follow_the_trigger_until_they_are_ones_own(workspace: Workspace, photos: Path) -> None:
    app = FluxgymApp(workspace=workspace, screen="parameters", open_path=photos)
    async with app.run_test() as pilot:
        await opened(pilot, app)
        app.draft.set(TRIGGER, "hrld")
        assert app.draft.values[PROMPTS] == "hrld"
        app.draft.set(PROMPTS, "hrld on a horse")
        app.draft.set(TRIGGER, "hrld man")
        assert app.draft.values[PROMPTS] == "hrld on a horse"


async def test_another_spec_of_that_name_is_not_overwritten(workspace: Workspace, photos: Path) -> None:
    other = workspace.configs / "mine.yaml"
    other.write_text("name: mine\ndataset: {path: /elsewhere}  # keep me\n", encoding="utf-8")
    app = FluxgymApp(workspace=workspace, screen="parameters", open_path=photos)
    async with app.run_test() as pilot:
        await opened(pilot, app)
        app.screen.query_one("#field-name Input", Input).value = "Mine"
        await until(pilot, lambda: app.draft.held, what="the note that it is held")
        assert "keep me" in other.read_text(encoding="utf-8")


async def test_comments_of_an_opened_spec_survive(workspace: Workspace, photos: Path, tmp_path: Path) -> None:
    path = tmp_path / "my.yaml"
    path.write_text(f"name: Mine  # of the sea\ndataset:\n  path: {photos}\n", encoding="utf-8")
    app = FluxgymApp(workspace=workspace, screen="parameters", open_path=path)
    async with app.run_test() as pilot:
        await opened(pilot, app)
        app.screen.query_one("#field-training-max_train_epochs Input", Input).value = "3"
        await until(pilot, lambda: "max_train_epochs" in path.read_text(encoding="utf-8"), what="the file")
    assert path.read_text(encoding="utf-8").startswith("name: Mine  # of the sea\n")
    assert load_spec(path).training.max_train_epochs == 3


def test_saves_in_a_row_know_what_the_one_before_wrote(workspace: Workspace, photos: Path) -> None:
    draft, writer = Draft(), DraftWriter()
    draft.take(new_draft(photos))

    def save(version: int, epochs: str) -> SavedDraft | None:
        draft.set("training.max_train_epochs", epochs)
        arguments = {"workspace": workspace, "version": version, "base": draft.base, "values": dict(draft.values),
                     "file": None, "mtime_ns": None, "spec": draft.spec, "settled": True}  # fmt: skip
        return writer.save(generation=1, arguments=arguments)

    first, second = save(1, "2"), save(3, "3")
    assert first is not None
    assert second is not None
    assert (first.held, second.held) == ("", "")
    assert save(2, "4") is None, "an older version never lands on a newer one"
    assert load_spec(workspace.configs / "hrld.yaml").training.max_train_epochs == 3


async def test_up_and_down_walk_through_the_form(workspace: Workspace, photos: Path) -> None:
    app = FluxgymApp(workspace=workspace, screen="parameters", open_path=photos)
    async with app.run_test() as pilot:
        await opened(pilot, app)
        walked = []
        for _ in range(5):
            await pilot.press("down")
            row = app.focused.parent if app.focused is not None else None
            assert isinstance(row, FieldRow)
            walked.append(row.field.label)
        assert walked == ["name", "trigger", "base model", "VRAM recipe", "repeats"]
        await pilot.press("up")
        assert isinstance(app.focused, Choice)
