"""Flags: each option where the spec has its place for it, reset, refused by name, and the files it leads to."""

from pathlib import Path

from textual.pilot import Pilot
from textual.widgets import Input, Static, TextArea

from fluxgym_tui.config.sd_flags import FLAG_KINDS
from fluxgym_tui.config.workspace import Workspace
from fluxgym_tui.ui.app import FluxgymApp
from fluxgym_tui.ui.flag_rows import OTHER, group_of
from fluxgym_tui.ui.screens.flag_dialogs import EditText
from fluxgym_tui.ui.screens.flags import FlagsScreen
from fluxgym_tui.ui.screens.run_files import RunFilesScreen
from tests.ui.test_parameters import photos
from tests.ui.waiting import until

__all__ = ["photos"]


async def find(pilot: Pilot[None], screen: FlagsScreen, name: str) -> None:
    """Put the cursor on the option `name`."""
    await until(pilot, lambda: screen.rows, what="the options")
    screen.words, screen.changed_only = name, False
    screen._refilter()
    await until(pilot, lambda: screen.current and screen.current.name == name, what=name)


async def opened(pilot: Pilot[None], app: FluxgymApp) -> FlagsScreen:
    """The screen, once its options are known."""
    screen = app.screen
    assert isinstance(screen, FlagsScreen)
    await until(pilot, lambda: app.draft.planned and screen.rows, what="the options")
    return screen


async def test_options_are_set_where_the_spec_has_them_and_reset(workspace: Workspace, photos: Path) -> None:
    app = FluxgymApp(workspace=workspace, screen="flags", open_path=photos)
    async with app.run_test() as pilot:
        screen = await opened(pilot, app)
        for name, typed in (("network_dropout", "0.1"), ("network_dim", "32"), ("max_grad_norm", "0.5")):
            await find(pilot, screen, name)
            await pilot.press("enter")
            assert isinstance(app.screen, EditText)
            app.screen.query_one(Input).value = "much"
            await pilot.press("enter")
            assert isinstance(app.screen, EditText), "what cannot be read is not taken"
            app.screen.query_one(Input).value = typed
            await pilot.press("enter")
        await until(pilot, lambda: app.draft.planned, what="the plan")
        spec = app.draft.spec
        assert spec is not None
        assert (spec.flags, spec.training.network_dim) == ({"network_dropout": 0.1}, 32)
        assert spec.training.max_grad_norm == 0.5
        await pilot.press("x")
        await until(pilot, lambda: app.draft.planned, what="the plan")
        assert app.draft.spec is not None
        assert app.draft.spec.training.max_grad_norm is None
        app.draft.reset_flags()
        assert app.draft.spec.flags == {}
        assert app.draft.spec.training.network_dim == 4


async def test_changed_only_shows_what_differs_from_a_new_spec(workspace: Workspace, photos: Path) -> None:
    app = FluxgymApp(workspace=workspace, screen="flags", open_path=photos)
    async with app.run_test() as pilot:
        screen = await opened(pilot, app)
        assert {row.name for row in screen.rows} >= set(FLAG_KINDS)
        app.draft.set("training.seed", "7")
        screen.changed()
        await until(pilot, lambda: app.draft.planned and any(row.changed for row in screen.rows), what="the change")
        await pilot.press("f")
        assert [row.name for row in screen.shown] == ["seed"]


async def test_options_that_nobody_takes_say_why(workspace: Workspace, photos: Path) -> None:
    app = FluxgymApp(workspace=workspace, screen="flags", open_path=photos)
    async with app.run_test() as pilot:
        screen = await opened(pilot, app)
        for name, words in (("enable_bucket", "dataset.enable_bucket"), ("deepspeed", "built-in"),
                            ("wandb_api_key", "WANDB_API_KEY")):  # fmt: skip
            await find(pilot, screen, name)
            assert words in str(screen.query_one("#about", Static).content)
            assert words in (screen.why_not("edit") or "")


async def test_files_and_extra_arguments(workspace: Workspace, photos: Path) -> None:
    app = FluxgymApp(workspace=workspace, screen="flags", open_path=photos, trigger="hrld")
    async with app.run_test() as pilot:
        await opened(pilot, app)
        await pilot.press("a")
        app.screen.query_one(Input).value = "--fluxgym_probe --training_comment 'two words'"
        await pilot.press("enter")
        assert app.draft.spec is not None
        assert app.draft.spec.extra_args == ("--fluxgym_probe", "--training_comment", "two words")
        await until(pilot, lambda: app.draft.planned, what="the plan")
        await pilot.press("c")
        await until(pilot, lambda: isinstance(app.screen, RunFilesScreen), what="the files")
        text = app.screen.query_one(TextArea)
        assert "--training_comment 'two words'" in text.text
        await pilot.press("n")
        assert "class_tokens = 'hrld'" in text.text
        assert not (workspace.root / "outputs" / "hrld").exists()


def test_few_options_are_in_no_group() -> None:
    assert [name for name in FLAG_KINDS if group_of(name) == OTHER] == ["config_file"]
