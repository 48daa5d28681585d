"""Dataset: several folders of one spec, exact token counts, what is copied, and files that change outside."""

from pathlib import Path

import pytest
from PIL import Image
from textual.widgets import Static

from fluxgym_tui.config.resources import bundled
from fluxgym_tui.config.workspace import Workspace
from fluxgym_tui.dataset.staging import StageSource
from fluxgym_tui.dataset.tokens import count_tokens
from fluxgym_tui.ui.app import FluxgymApp
from fluxgym_tui.ui.picture_words import list_line, row_line
from fluxgym_tui.ui.screens.bulk_captions import BulkCaptionsScreen
from fluxgym_tui.ui.screens.caption_editing import CaptionEditing
from fluxgym_tui.ui.screens.dataset import DatasetScreen
from fluxgym_tui.ui.widgets.line_list import LineList
from tests.ui.test_dataset import shown
from tests.ui.test_parameters import photos
from tests.ui.waiting import until

__all__ = ["photos"]


def text_of(app: FluxgymApp, selector: str) -> str:
    return str(app.screen.query_one(selector, Static).content)


@pytest.fixture
def spec_of_two(photos: Path) -> Path:
    """A spec with a second folder of two pictures for regularisation."""
    regular = photos.parent / "people"
    regular.mkdir()
    for number in range(2):
        Image.new("RGB", (96, 96), (9, 90 * number, 7)).save(regular / f"r{number}.png")
    (regular / "r0.txt").write_text("a person\n", encoding="utf-8")
    spec = photos.parent / "two.yaml"
    spec.write_text(
        f"schema: 1\nname: Two\ntrigger: hrld\nbase_model: tiny-flux\ndataset:\n  path: {photos}\n  num_repeats: 4\n"
        f"  subsets: [{{path: {regular}, num_repeats: 2, is_reg: true}}]\n",
        encoding="utf-8",
    )
    return spec


async def test_all_folders_of_a_spec_are_listed_and_each_alone(workspace: Workspace, spec_of_two: Path) -> None:
    app = FluxgymApp(workspace=workspace, screen="dataset", open_path=spec_of_two)
    async with app.run_test(size=(120, 40)) as pilot:
        screen = await shown(pilot, app)
        assert [row.name for row in screen.rows] == ["p0.png", "p1.png", "p2.png", "people/r0.png", "people/r1.png"]
        assert screen.rows[3].caption_state == "written", "regularisation needs no trigger"
        assert "all 2 folders" in text_of(app, "#folder")
        await pilot.press("G")
        await until(pilot, lambda: "2 repeats · regularisation" in text_of(app, "#about"), what="how it is trained")
        await pilot.press("s")
        assert len(screen.shown) == 3
        assert "4 repeats" in text_of(app, "#folder")
        await pilot.press("s")
        assert [row.name for row in screen.shown] == ["people/r0.png", "people/r1.png"]
        await pilot.press("escape")
        assert len(screen.shown) == 5


async def test_the_trigger_is_not_put_into_captions_for_regularisation(workspace: Workspace, spec_of_two: Path) -> None:
    app = FluxgymApp(workspace=workspace, screen="dataset", open_path=spec_of_two)
    async with app.run_test(size=(120, 40)) as pilot:
        await shown(pilot, app)
        await pilot.press("t")
        await until(pilot, lambda: isinstance(app.screen, BulkCaptionsScreen), what="the question")
        await until(pilot, lambda: app.screen.query_one(LineList).count == 1, what="the one caption that lacks it")


async def test_a_folder_that_is_gone_is_named_and_the_others_are_shown(workspace: Workspace, spec_of_two: Path) -> None:
    (spec_of_two.parent / "people").rename(spec_of_two.parent / "elsewhere")
    app = FluxgymApp(workspace=workspace, screen="dataset", open_path=spec_of_two)
    async with app.run_test(size=(120, 40)) as pilot:
        await until(pilot, lambda: "no plan: " in text_of(app, "#about"), what="the reason")
        assert str(spec_of_two.parent / "people") in text_of(app, "#about")
        assert isinstance(app.screen, DatasetScreen)
        assert [row.name for row in app.screen.rows] == ["p0.png", "p1.png", "p2.png"]


async def test_one_folder_has_no_other_to_switch_to(workspace: Workspace, photos: Path) -> None:
    app = FluxgymApp(workspace=workspace, screen="dataset", open_path=photos)
    async with app.run_test() as pilot:
        screen = await shown(pilot, app)
        assert screen.why_not("subset") == "the spec has one folder"
        assert "10 repeats" in text_of(app, "#folder")


async def test_tokens_are_counted_by_the_tokenizers_that_train(workspace: Workspace, spec_of_two: Path) -> None:
    caption = "a photo of a tree and of hrld under it " * 4
    (spec_of_two.parent / "Hrld/p0.txt").write_text(caption, encoding="utf-8")
    exact = count_tokens(caption.strip(), cache_dir=bundled("examples/tiny-flux/tokenizers"))
    app = FluxgymApp(workspace=workspace, screen="dataset", open_path=spec_of_two)
    async with app.run_test(size=(120, 40)) as pilot:
        await shown(pilot, app)
        await until(pilot, lambda: f"CLIP {exact.clip}/77" in text_of(app, "#caption-title"), what="the exact number")
        told = text_of(app, "#caption-title")
        assert f"T5 {exact.t5}/64" in told, "the tiny base reads 64"
        assert "~" not in told
        (spec_of_two.parent / "Hrld/p0.txt").write_text(caption * 3, encoding="utf-8")
        await pilot.press("r")
        await until(pilot, lambda: "cut for CLIP only" in text_of(app, "#caption-title"), what="the longer caption")
        assert "what is beyond is not trained" in text_of(app, "#caption-title")


async def test_tokens_without_tokenizers_are_an_estimate(
    workspace: Workspace, photos: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path / "hub"))
    app = FluxgymApp(workspace=workspace, screen="dataset", open_path=photos)
    async with app.run_test(size=(120, 40)) as pilot:
        screen = await shown(pilot, app)
        assert isinstance(screen, CaptionEditing)
        await until(pilot, lambda: screen._counts is not None, what="the count")
        assert "CLIP ~4/77" in text_of(app, "#caption-title")


async def test_path_and_caption_are_copied(workspace: Workspace, photos: Path) -> None:
    app = FluxgymApp(workspace=workspace, screen="dataset", open_path=photos)
    async with app.run_test() as pilot:
        screen = await shown(pilot, app)
        await until(pilot, lambda: screen._text == "a tree", what="the caption")
        await pilot.press("y")
        assert app.clipboard == str(photos / "p0.png")
        await pilot.press("Y")
        assert app.clipboard == "a tree"


async def test_a_folder_that_is_as_it_was_is_not_drawn_anew(workspace: Workspace, photos: Path) -> None:
    app = FluxgymApp(workspace=workspace, screen="dataset", open_path=photos)
    async with app.run_test() as pilot:
        screen = await shown(pilot, app)
        await pilot.press("j", "space")
        rows, ready = screen.rows, app.draft.ready
        await pilot.press("r")
        await until(pilot, lambda: app.draft.ready is not ready, what="the new check")
        assert screen.rows is rows
        (photos / "a.png").write_bytes((photos / "p0.png").read_bytes())
        await pilot.press("r")
        await until(pilot, lambda: len(screen.rows) == 4, what="the new picture")
        assert screen.current is not None
        assert screen.current.name == "p2.png"
        assert {Path(file).name for file in screen.marked} == {"p1.png"}


async def test_what_is_typed_for_a_picture_that_vanished_is_told_not_lost(
    workspace: Workspace, photos: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("fluxgym_tui.ui.screens.caption_editing.WRITE_AFTER_S", 60.0)  # not while this types
    app = FluxgymApp(workspace=workspace, screen="dataset", open_path=photos)
    async with app.run_test() as pilot:
        screen = await shown(pilot, app)
        await until(pilot, lambda: screen._text == "a tree", what="the caption")
        await pilot.press("enter", *" here")
        (photos / "p0.png").unlink()
        (photos / "p0.txt").unlink()
        screen.action_look()
        await until(pilot, lambda: len(screen.rows) == 2, what="the list without it")
        await until(pilot, lambda: any("a tree here" in one.message for one in app.told), what="a word about it")
        assert not (photos / "p0.txt").exists()


async def test_the_list_marks_what_is_turned_and_what_is_to_be_mended(workspace: Workspace, photos: Path) -> None:
    turned = Image.new("RGB", (96, 128), (1, 2, 3))
    exif = turned.getexif()
    exif[0x0112] = 6
    turned.save(photos / "p3.jpg", exif=exif)
    (photos / "p4.png").write_bytes((photos / "p1.png").read_bytes())
    app = FluxgymApp(workspace=workspace, screen="dataset", open_path=photos)
    async with app.run_test(size=(120, 40)) as pilot:
        screen = await shown(pilot, app)
        lines = {row.name: row_line(row, 100, marked=False).plain for row in screen.rows}
        assert "128x96↻" in lines["p3.jpg"]
        assert "↻" not in lines["p2.png"]
        assert " !" in lines["p4.png"].partition("128x96")[0]
        assert "!" not in lines["p2.png"]


def test_the_path_gives_way_to_the_numbers(photos: Path) -> None:
    sources = (StageSource(photos, trigger="hrld", num_repeats=3),)
    told = list_line((), 0, width=70, sources=sources, source=None, kind="to mend", words="", marked=2).plain
    assert len(told) <= 70
    assert told.endswith("0 pictures · 0 shown (to mend) · 2 marked")
    assert told.startswith(" …")
    assert " · 3 repeats" in told
    wide = list_line((), 0, width=400, sources=sources, source=None, kind="all", words="", marked=0, by_hand=True).plain
    assert wide == f" {photos} · dataset.toml by hand  0 pictures"


async def test_the_list_fits_any_width(workspace: Workspace, photos: Path) -> None:
    app = FluxgymApp(workspace=workspace, screen="dataset", open_path=photos)
    async with app.run_test(size=(200, 60)) as pilot:
        screen = await shown(pilot, app)
        pictures, bucket = screen.query_one("#pictures", LineList), bucket_of(screen)
        for width, height in ((80, 24), (120, 40), (200, 60), (81, 24)):
            await pilot.resize_terminal(width, height)

            def ends() -> tuple[int, int]:
                heading, row = (pictures.render_line(y).text for y in (0, 1))
                return heading.find("bucket") + len("bucket"), row.find(f" {bucket} ") + len(bucket) + 1

            await until(pilot, lambda: ends()[0] == ends()[1], what=f"the columns at {width}")
            assert len(text_of(app, "#folder")) <= width


def bucket_of(screen: DatasetScreen) -> str:
    """The bucket of the first picture, as the list has it."""
    planned = screen.rows[0].planned
    assert planned is not None
    assert planned.fit is not None
    return "{}x{}".format(*planned.fit.bucket)
