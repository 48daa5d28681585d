"""Flags: options of the user's own sd-scripts with their help, inputs by type, and names that nobody knows."""

from pathlib import Path

import pytest
from textual.widgets import Input, OptionList, Static

from fluxgym_tui.config.workspace import Workspace
from fluxgym_tui.ui.app import FluxgymApp
from fluxgym_tui.ui.flag_rows import unknown_option
from fluxgym_tui.ui.paths import PathSuggester
from fluxgym_tui.ui.screens.flag_dialogs import ChooseOne, EditText
from fluxgym_tui.ui.screens.flags import FlagsScreen
from tests.backends.kohya.fake_checkout import write_checkout
from tests.ui.test_flags import find, opened
from tests.ui.test_parameters import photos
from tests.ui.waiting import until

__all__ = ["photos"]


@pytest.fixture
def kohya_spec(workspace: Workspace, photos: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A spec for backend kohya, and a checkout of sd-scripts with options of its own."""
    monkeypatch.delenv("FLUXGYM_SD_SCRIPTS", raising=False)
    monkeypatch.setenv("XDG_CACHE_HOME", str(workspace.root / "cache"))
    write_checkout(workspace.root / "sd-scripts")
    spec = workspace.root / "k.yaml"
    spec.write_text(f"schema: 1\nname: K\nbackend: kohya\ndataset: {{path: {photos}}}\n", encoding="utf-8")
    return spec


async def test_the_checkout_tells_its_options_and_their_help(workspace: Workspace, kohya_spec: Path) -> None:
    app = FluxgymApp(workspace=workspace, screen="flags", open_path=kohya_spec)
    async with app.run_test(size=(120, 40)) as pilot:
        screen = await opened(pilot, app)
        await find(pilot, screen, "brand_new")
        about = str(screen.query_one("#about", Static).content)
        assert "a whole number; not given by default, the trainer takes 3 then" in about
        assert "new here now" in about
        await pilot.press("enter")
        assert isinstance(app.screen, EditText)
        field = app.screen.query_one(Input)
        await pilot.press(*"much12")
        assert field.value == "12", "of a number only its letters can be typed"
        await pilot.press("enter")
        assert app.draft.spec is not None
        assert app.draft.spec.flags == {"brand_new": 12}
        screen.words = "what seed does"
        screen._refilter()
        assert [row.name for row in screen.shown] == ["seed"], "help is searched, too"


async def test_one_of_a_few_is_chosen_from_a_list(workspace: Workspace, photos: Path) -> None:
    app = FluxgymApp(workspace=workspace, screen="flags", open_path=photos)
    async with app.run_test(size=(120, 40)) as pilot:
        screen = await opened(pilot, app)
        for key, value in (("end", "sigma_sqrt"), ("home", None)):
            await find(pilot, screen, "weighting_scheme")
            await pilot.press("enter")
            assert isinstance(app.screen, ChooseOne)
            options = app.screen.query_one(OptionList)
            choices = [str(options.get_option_at_index(number).prompt) for number in range(options.option_count)]
            assert choices[0] == "the default"
            assert "sigma_sqrt" in choices
            options.highlighted = choices.index(value) if value else 0
            await pilot.press("enter")
            assert app.draft.spec is not None
            assert app.draft.spec.flags.get("weighting_scheme") == value, key


async def test_the_optimiser_is_chosen_among_those_that_the_trainer_has(workspace: Workspace, photos: Path) -> None:
    app = FluxgymApp(workspace=workspace, screen="flags", open_path=photos)
    async with app.run_test(size=(120, 40)) as pilot:
        screen = await opened(pilot, app)
        await find(pilot, screen, "optimizer_type")
        await pilot.press("enter")
        assert isinstance(app.screen, ChooseOne)
        options = app.screen.query_one(OptionList)
        assert options.highlighted is not None
        assert options.get_option_at_index(options.highlighted).prompt == "AdamW", "adamw, as the recipe says it"
        await pilot.press("down", "enter")
        assert app.draft.spec is not None
        assert app.draft.spec.training.optimizer_type == "Adafactor"


async def test_a_path_is_completed(workspace: Workspace, photos: Path) -> None:
    (photos.parent / "weights.safetensors").touch()
    app = FluxgymApp(workspace=workspace, screen="flags", open_path=photos)
    async with app.run_test(size=(120, 40)) as pilot:
        screen = await opened(pilot, app)
        await find(pilot, screen, "network_weights")
        await pilot.press("enter")
        field = app.screen.query_one(Input)
        field.value = f"{photos.parent}/weig"
        await until(pilot, lambda: field._suggestion == f"{photos.parent}/weights.safetensors", what="the completion")
        await pilot.press("right", "enter")
        assert app.draft.spec is not None
        assert app.draft.spec.flags == {"network_weights": f"{photos.parent}/weights.safetensors"}


async def test_nothing_is_offered_where_nothing_fits(tmp_path: Path) -> None:
    for typed in ("", "name", f"{tmp_path}/no", "/no/such/folder/x"):
        assert await PathSuggester().get_suggestion(typed) is None
    (tmp_path / "a.png").touch()
    (tmp_path / "ab").mkdir()
    assert await PathSuggester().get_suggestion(f"{tmp_path}/a") == f"{tmp_path}/a.png"
    assert await PathSuggester(folders=True).get_suggestion(f"{tmp_path}/a") == f"{tmp_path}/ab"


async def test_an_extra_argument_that_nobody_knows_is_refused_with_the_nearest(
    workspace: Workspace, photos: Path
) -> None:
    app = FluxgymApp(workspace=workspace, screen="flags", open_path=photos)
    async with app.run_test(size=(120, 40)) as pilot:
        await opened(pilot, app)
        await pilot.press("a")
        app.screen.query_one(Input).value = "--lr_shceduler cosine"
        await pilot.press("enter")
        assert isinstance(app.screen, EditText), "it is not taken"
        assert "did you mean --lr_scheduler?" in str(app.screen.query_one("#wrong", Static).content)
        await pilot.press("escape")
        await until(pilot, lambda: isinstance(app.screen, FlagsScreen), what="the options")
        assert app.draft.extra_args == ""


def test_the_beginning_of_a_name_is_known_as_to_argparse() -> None:
    known = ["max_train_epochs", "seed"]
    assert unknown_option(["--max_train_ep", "3", "--seed=4", "-1"], known) is None
    assert unknown_option(["--sed", "4"], known) == "there is no option --sed; did you mean --seed?"
    assert unknown_option(["--zzz"], known) == "there is no option --zzz"


async def test_an_option_is_copied_as_a_command_line_has_it(workspace: Workspace, photos: Path) -> None:
    app = FluxgymApp(workspace=workspace, screen="flags", open_path=photos)
    async with app.run_test(size=(120, 40)) as pilot:
        screen = await opened(pilot, app)
        await find(pilot, screen, "seed")
        await pilot.press("y")
        assert app.clipboard == "--seed 42"
