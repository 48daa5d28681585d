"""The screen Publish: login without a trace of the token, the right file and samples, upload, failure, dry run."""

import shutil
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from textual.pilot import Pilot
from textual.screen import Screen
from textual.widgets import Button, Input, Static

from fluxgym_tui.config.workspace import Workspace
from fluxgym_tui.hub.publish import PublishCancelledError, UploadProgress
from fluxgym_tui.runs.directory import RunDirectory
from fluxgym_tui.runs.picked import pick
from fluxgym_tui.runs.publication import Publication
from fluxgym_tui.ui.app import FluxgymApp
from fluxgym_tui.ui.publish_words import preview_markdown, progress_words
from fluxgym_tui.ui.screens.confirm import ConfirmScreen
from fluxgym_tui.ui.screens.help import HelpScreen
from fluxgym_tui.ui.screens.publish import PublishScreen
from fluxgym_tui.ui.screens.publish_dialogs import (
    ChooseCheckpointScreen,
    ChooseRunScreen,
    DryRunScreen,
    LoginScreen,
)
from fluxgym_tui.ui.widgets.line_list import LineList
from fluxgym_tui.ui.widgets.picture import Picture
from tests.hub.publishing import Publishing, accept_publishing
from tests.hub.standin import Repo, StandIn, Token
from tests.runs.publishable import publishable_run
from tests.ui.waiting import until
from tests.ui.written_runs import write_run

SECRET = "hf_screenSECRETtoken0123456789"


@pytest.fixture
def state(hub: StandIn, monkeypatch: pytest.MonkeyPatch) -> Publishing:
    """Ada is logged in by HF_TOKEN, and may write for an organisation as well."""
    hub.tokens[SECRET] = Token(name="ada", role="write", orgs=("lovelace",))
    monkeypatch.setenv("HF_TOKEN", SECRET)
    return accept_publishing(hub)


@pytest.fixture
def hrld(workspace: Workspace) -> RunDirectory:
    return publishable_run(workspace.outputs)


def screen(app: FluxgymApp) -> PublishScreen:
    found = app.screen
    assert isinstance(found, PublishScreen)
    return found


def text(app: FluxgymApp, name: str) -> str:
    return str(app.screen.query_one(name, Static).render())


def seen(app: FluxgymApp) -> str:
    """All that the terminal shows."""
    return "\n".join(strip.text for strip in app.screen._compositor.render_strips())


async def shown(pilot: Pilot[None], app: FluxgymApp, words: str) -> None:
    await until(pilot, lambda: words in seen(app), what=f"{words!r} on the screen")


async def opened(pilot: Pilot[None], app: FluxgymApp, window: type[Screen[Any]]) -> None:
    """Wait until `window` stands in front with the focus in it."""
    await until(pilot, lambda: isinstance(app.screen, window) and app.focused is not None, what=window.__name__)


def publication(app: FluxgymApp) -> Publication:
    found = screen(app).publication
    assert found is not None
    return found


async def ready(pilot: Pilot[None], app: FluxgymApp) -> None:
    """Wait for run and account, and for the card that names both."""

    def is_ready() -> bool:
        found = screen(app).publication
        return screen(app).account is not None and found is not None and found.repo_id.startswith("ada/")

    await until(pilot, is_ready, what="what goes up, and as whom")


@pytest.mark.parametrize("size", [(80, 24), (120, 40)])
async def test_what_goes_up_is_shown_and_goes_up(
    workspace: Workspace, state: Publishing, hrld: RunDirectory, size: tuple[int, int]
) -> None:
    app = FluxgymApp(workspace=workspace, screen="publish", run=hrld)
    async with app.run_test(size=size) as pilot:
        await ready(pilot, app)
        await shown(pilot, app, "ada, may write")
        for words in ("640 steps (epoch 8)", "only you (private)", "6 files", "spec.yaml"):
            assert words in seen(app)
        assert app.screen.query_one("#repo", Input).value == "ada/hrld-person"
        assert "o: owner" in seen(app)
        assert "p uploads it to ada/hrld-person" in seen(app)
        await pilot.press("p")
        await shown(pilot, app, f"published: {state.hub.url}/ada/hrld-person")
        files = state.hub.repos["ada/hrld-person"].files
        assert {file.path_in_repo for file in publication(app).files} == set(files) - {".gitattributes"}
        assert state.hub.repos["ada/hrld-person"].private
        assert app.told[-1].message == f"Published: {state.hub.url}/ada/hrld-person"
        await pilot.press("y")
        assert app.clipboard == f"{state.hub.url}/ada/hrld-person"
        assert SECRET not in seen(app)


async def test_an_empty_workspace_teaches_and_keys_say_why(workspace: Workspace, hub: StandIn) -> None:
    app = FluxgymApp(workspace=workspace, screen="publish")
    async with app.run_test(size=(80, 24)) as pilot:
        await shown(pilot, app, "There is nothing to publish yet.")
        assert "fluxgym-tui demo" in seen(app)
        for key, why in (
            ("p", "publish: there is no LoRA file"),
            ("d", "dry run: there is no LoRA file"),
            ("y", "copy link: it is not published yet"),
            ("s", "break off: nothing is being uploaded"),
        ):
            await pilot.press(key)
            assert app.told[-1].message == why
        await pilot.press("r")
        await until(pilot, lambda: app.told[-1].message == "There is no run yet.", what="a word about it")
        await pilot.press("question_mark")
        assert isinstance(app.screen, HelpScreen)


async def test_a_run_without_a_lora_says_so_and_another_can_be_chosen(
    workspace: Workspace, state: Publishing, hrld: RunDirectory
) -> None:
    bare = write_run(workspace.outputs, "bare")
    app = FluxgymApp(workspace=workspace, screen="publish", run=bare)
    async with app.run_test(size=(100, 30)) as pilot:
        await shown(pilot, app, "bare has no LoRA file yet.")
        await pilot.press("r")
        await opened(pilot, app, ChooseRunScreen)
        rows = app.screen.query_one(LineList)
        await until(pilot, lambda: rows.count == 2, what="both runs")
        names = [rows.render_line(y).text for y in range(1, 3)]
        await pilot.press(*(["down"] if "hrld" in names[1] else []), "enter")
        await ready(pilot, app)
        assert screen(app).run_dir == hrld


async def test_without_a_run_on_live_the_newest_with_a_lora_is_taken(
    workspace: Workspace, state: Publishing, hrld: RunDirectory
) -> None:
    write_run(workspace.outputs, "newer")
    app = FluxgymApp(workspace=workspace, screen="publish")
    async with app.run_test() as pilot:
        await ready(pilot, app)
        assert screen(app).run_dir == hrld


async def test_the_picked_file_is_taken_and_another_can_be_chosen(
    workspace: Workspace, state: Publishing, hrld: RunDirectory
) -> None:
    pick(hrld, hrld.output_dir / "hrld-person-000004.safetensors")
    app = FluxgymApp(workspace=workspace, screen="publish", run=hrld)
    async with app.run_test(size=(120, 40)) as pilot:
        await ready(pilot, app)
        await shown(pilot, app, "320 steps (epoch 4), picked in Samples")
        assert "e000004_00" in seen(app)
        await pilot.press("c")
        await opened(pilot, app, ChooseCheckpointScreen)
        await pilot.press("down", "enter")
        await shown(pilot, app, "640 steps (epoch 8)")
        assert "e000004_00" not in seen(app)
        assert "picked" not in seen(app)
        # What is picked while the screen is away is there when it comes back; what was chosen here stays.
        await pilot.press("8", "7")
        await shown(pilot, app, "640 steps (epoch 8)")


async def test_what_a_run_saves_meanwhile_is_there_by_itself(
    workspace: Workspace, state: Publishing, hrld: RunDirectory, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("fluxgym_tui.ui.screens.publish._LOOK_S", 0.05)
    last = hrld.output_dir / "hrld-person.safetensors"
    kept = last.read_bytes()
    last.unlink()
    app = FluxgymApp(workspace=workspace, screen="publish", run=hrld)
    async with app.run_test(size=(120, 40)) as pilot:
        await ready(pilot, app)
        await shown(pilot, app, "320 steps (epoch 4)")
        await until(pilot, lambda: screen(app)._changed, what="a first look")
        last.write_bytes(kept)
        await shown(pilot, app, "640 steps (epoch 8)")


async def test_the_name_is_checked_as_it_is_typed_and_the_card_follows(
    workspace: Workspace, state: Publishing, hrld: RunDirectory
) -> None:
    app = FluxgymApp(workspace=workspace, screen="publish", run=hrld)
    async with app.run_test(size=(140, 50)) as pilot:
        await ready(pilot, app)
        await pilot.press("e", "home", *"p d-", "escape")
        field = app.screen.query_one("#repo", Input)
        assert field.value == "p d-ada/hrld-person"
        assert "may have letters" in seen(app)
        await pilot.press("p")
        assert "may have letters" in app.told[-1].message
        assert state.commits == []
        field.value = "babbage/hrld"
        await shown(pilot, app, "babbage is neither ada nor an organisation")
        field.value = "lovelace/hrld"
        await until(pilot, lambda: publication(app).repo_id == "lovelace/hrld", what="the card to follow")
        assert "only the organisation (private)" in seen(app)
        assert "lovelace/hrld" in publication(app).card
        await pilot.press("o")
        assert field.value == "ada/hrld"
        await pilot.press("o")
        assert field.value == "lovelace/hrld"


async def test_what_everybody_will_see_is_asked_about_first(
    workspace: Workspace, state: Publishing, hrld: RunDirectory
) -> None:
    app = FluxgymApp(workspace=workspace, screen="publish", run=hrld)
    async with app.run_test(size=(120, 40)) as pilot:
        await ready(pilot, app)
        await pilot.press("t")
        assert "everybody (public)" in seen(app)
        await pilot.press("p")
        await opened(pilot, app, ConfirmScreen)
        await pilot.press("enter")
        assert isinstance(app.screen, PublishScreen)
        assert state.commits == []
        await pilot.press("p")
        await opened(pilot, app, ConfirmScreen)
        await pilot.press("tab", "enter")
        await shown(pilot, app, "published: ")
        assert not state.hub.repos["ada/hrld-person"].private


async def test_a_repository_with_other_work_is_asked_about(
    workspace: Workspace, state: Publishing, hrld: RunDirectory
) -> None:
    state.hub.repos["ada/hrld-person"] = Repo(private=True, files={"README.md": b"mine"})
    app = FluxgymApp(workspace=workspace, screen="publish", run=hrld)
    async with app.run_test(size=(120, 40)) as pilot:
        await ready(pilot, app)
        await pilot.press("p")
        await shown(pilot, app, "exists with other files: README.md")
        await pilot.press("escape")
        assert state.hub.repos["ada/hrld-person"].files == {"README.md": b"mine"}
        await pilot.press("p")
        await shown(pilot, app, "Publish into it?")
        app.screen.query_one("#do", Button).press()
        await shown(pilot, app, "published: ")
    assert state.hub.repos["ada/hrld-person"].files["README.md"] != b"mine"


async def test_a_failure_is_told_and_the_next_try_goes_on(
    workspace: Workspace, state: Publishing, hrld: RunDirectory
) -> None:
    state.fail_commits = 1
    app = FluxgymApp(workspace=workspace, screen="publish", run=hrld)
    async with app.run_test(size=(120, 40)) as pilot:
        await ready(pilot, app)
        await pilot.press("p")
        await shown(pilot, app, "✗ not published: ")
        assert app.told[-1].severity == "error"
        sent = len(state.uploads)
        await pilot.press("p")
        await shown(pilot, app, "published: ")
        assert len(state.uploads) == sent


def endless(
    _: object,
    *,
    progress: Callable[[UploadProgress], None],
    cancelled: Callable[[], bool],
    private: bool,
    replace: bool,
) -> None:
    """In the place of an upload: goes on until it is broken off."""
    assert private
    assert not replace
    for done in range(100_000):
        progress(UploadProgress(done_bytes=done, total_bytes=100_000, doing="hrld-person.safetensors"))
        if cancelled():
            raise PublishCancelledError("publishing was broken off")
        time.sleep(0.01)


@pytest.fixture
def endless_upload(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("fluxgym_tui.ui.screens.publish_work.publish_run", endless)


@pytest.mark.usefixtures("endless_upload")
async def test_an_upload_can_be_broken_off_and_keys_wait_for_it(
    workspace: Workspace, state: Publishing, hrld: RunDirectory
) -> None:
    app = FluxgymApp(workspace=workspace, screen="publish", run=hrld)
    async with app.run_test(size=(120, 40)) as pilot:
        await ready(pilot, app)
        await pilot.press("p")
        await shown(pilot, app, "of 100 kB")
        for key in ("p", "c", "t", "l", "r"):
            await pilot.press(key)
            assert "an upload is going on" in app.told[-1].message
            assert isinstance(app.screen, PublishScreen)
        await pilot.press("s")
        await shown(pilot, app, "✗ broken off")
        assert screen(app).why_not("publish") is None


@pytest.mark.usefixtures("endless_upload")
async def test_leaving_the_app_ends_an_upload(workspace: Workspace, state: Publishing, hrld: RunDirectory) -> None:
    app = FluxgymApp(workspace=workspace, screen="publish", run=hrld)
    async with app.run_test(size=(120, 40)) as pilot:
        await ready(pilot, app)
        await pilot.press("p")
        await shown(pilot, app, "of 100 kB")
        # A look at other screens leaves it alone.
        await pilot.press("8", "7")
        assert screen(app).uploading
        await pilot.press("8", "q")
        await opened(pilot, app, ConfirmScreen)
        assert "ada/hrld-person is being uploaded" in seen(app)
        await pilot.press("escape", "q")
        await opened(pilot, app, ConfirmScreen)
        app.screen.query_one("#do", Button).press()
        await until(pilot, lambda: not app.is_running, what="the app to end")
    assert not [worker for worker in app.workers if worker.is_running]


async def test_a_token_is_taken_checked_and_never_seen(
    workspace: Workspace, hub: StandIn, hrld: RunDirectory, tmp_path: Path
) -> None:
    hub.tokens[SECRET] = Token(name="ada", role="read")
    accept_publishing(hub)
    app = FluxgymApp(workspace=workspace, screen="publish", run=hrld)
    frames: list[str] = []
    async with app.run_test(size=(100, 30)) as pilot:
        await shown(pilot, app, "nobody is logged in")
        await pilot.press("p")
        assert app.told[-1].message == "publish: nobody is logged in"
        await pilot.press("l")
        await opened(pilot, app, LoginScreen)
        field = app.screen.query_one("#token", Input)
        field.insert_text_at_cursor("hf_wrong")
        await pilot.press("enter")
        await until(pilot, lambda: "does not know the token" in text(app, "#told"), what="the refusal")
        assert field.value == ""
        field.insert_text_at_cursor(SECRET)
        await pilot.pause()
        frames.append(seen(app))
        await pilot.press("enter")
        await shown(pilot, app, "ada, may only read")
        frames.append(seen(app))
        assert "the token of ada may only read" in seen(app)
        await pilot.press("p")
        assert "may only read" in app.told[-1].message
        await pilot.press("L")
        await shown(pilot, app, "nobody is logged in")
        frames += [told.message for told in app.told]
        frames.append(app.export_screenshot())
    assert all(SECRET not in frame for frame in frames)
    assert hub.leaks(SECRET) == []
    for path in tmp_path.rglob("*"):
        assert not path.is_file() or SECRET.encode() not in path.read_bytes(), path


async def test_fluxgyms_old_token_is_offered_once_and_used_only_when_wanted(
    workspace: Workspace, hub: StandIn, hrld: RunDirectory
) -> None:
    hub.tokens[SECRET] = Token(name="ada", role="write")
    (workspace.root / "HF_TOKEN").write_text(f"{SECRET}\n", encoding="utf-8")
    app = FluxgymApp(workspace=workspace, screen="publish", run=hrld)
    async with app.run_test(size=(120, 40)) as pilot:
        await shown(pilot, app, "nobody is logged in")
        await pilot.press("l")
        await opened(pilot, app, LoginScreen)
        await shown(pilot, app, "fluxgym left its token")
        assert SECRET not in seen(app)
        assert hub.requests == []
        app.screen.query_one("#old", Button).press()
        await shown(pilot, app, "ada, may write")
        assert SECRET not in seen(app)
        await pilot.press("L")
        await shown(pilot, app, "nobody is logged in")
        await pilot.press("l")
        await opened(pilot, app, LoginScreen)
        assert not app.screen.query("#old")
    assert hub.leaks(SECRET) == []


async def test_a_dry_run_writes_what_goes_up(workspace: Workspace, state: Publishing, hrld: RunDirectory) -> None:
    app = FluxgymApp(workspace=workspace, screen="publish", run=hrld)
    target = workspace.root / "publish-hrld-person"
    async with app.run_test(size=(100, 30)) as pilot:
        await ready(pilot, app)
        await pilot.press("d")
        await opened(pilot, app, DryRunScreen)
        await pilot.press("enter")
        await until(pilot, lambda: app.told and "nothing was uploaded" in app.told[-1].message, what="the files")
        await pilot.press("p")
        await shown(pilot, app, "published: ")
        await pilot.press("d")
        await opened(pilot, app, DryRunScreen)
        app.screen.query_one("#write", Button).press()
        await until(pilot, lambda: "is not empty" in app.told[-1].message, what="a word about the full folder")
    written = {str(path.relative_to(target)): path.read_bytes() for path in target.rglob("*") if path.is_file()}
    up = state.hub.repos["ada/hrld-person"].files
    assert written == {name: data for name, data in up.items() if name != ".gitattributes"}


async def test_the_sample_under_the_cursor_is_drawn(
    workspace: Workspace, state: Publishing, hrld: RunDirectory
) -> None:
    app = FluxgymApp(workspace=workspace, screen="publish", run=hrld)
    async with app.run_test(size=(120, 40)) as pilot:
        await ready(pilot, app)
        picture = app.screen.query_one(Picture)
        samples = [file.source for file in publication(app).files if file.path_in_repo.startswith("sample/")]
        assert picture._path == samples[0]
        await until(pilot, lambda: picture._strips, what="the picture")
        await pilot.press("down", "down", "down")
        assert picture._path == samples[1]
        await pilot.resize_terminal(80, 24)
        await until(pilot, lambda: not picture.region, what="the room to go")


async def test_the_card_is_a_page_of_its_own_on_a_narrow_terminal(
    workspace: Workspace, state: Publishing, hrld: RunDirectory
) -> None:
    app = FluxgymApp(workspace=workspace, screen="publish", run=hrld)
    async with app.run_test(size=(80, 24)) as pilot:
        await ready(pilot, app)
        assert not app.screen.query_one("#card").region
        await pilot.press("enter")
        assert str(hrld.output_dir / "hrld-person.safetensors") in app.told[-1].message
        await pilot.press("end", "enter")
        assert "without local paths" in app.told[-1].message
        await pilot.press("v")
        await shown(pilot, app, "Here the hub shows 3 sample pictures")
        assert "files that go up" not in seen(app)
        await pilot.press("v", "home", "down", "enter")
        await until(pilot, lambda: app.screen.query_one("#card").has_focus, what="the card")
        await pilot.press("escape")
        await shown(pilot, app, "files that go up")
        await pilot.resize_terminal(130, 40)
        await shown(pilot, app, "Here the hub shows 3 sample pictures")
        assert "files that go up" in seen(app)


async def test_what_vanishes_meanwhile_is_told(workspace: Workspace, state: Publishing, hrld: RunDirectory) -> None:
    app = FluxgymApp(workspace=workspace, screen="publish", run=hrld)
    async with app.run_test(size=(100, 30)) as pilot:
        await ready(pilot, app)
        (hrld.output_dir / "hrld-person.safetensors").unlink()
        await pilot.press("p")
        await shown(pilot, app, "✗ not published: ")
        shutil.rmtree(hrld.output_dir)
        await pilot.press("f5")
        await shown(pilot, app, "hrld-person has no LoRA file yet.")
    assert state.commits == []


async def test_beside_a_broken_file_another_can_be_chosen(
    workspace: Workspace, state: Publishing, hrld: RunDirectory
) -> None:
    (hrld.output_dir / "hrld-person.safetensors").write_bytes(b"")
    app = FluxgymApp(workspace=workspace, screen="publish", run=hrld)
    async with app.run_test(size=(100, 30)) as pilot:
        await shown(pilot, app, "Nothing of hrld-person can be published")
        await pilot.press("p")
        assert "hrld-person.safetensors" in app.told[-1].message
        await pilot.press("c", "home", "enter")
        await shown(pilot, app, "320 steps (epoch 4)")


async def test_in_ascii_and_without_colour_nothing_is_lost(
    workspace: Workspace, state: Publishing, hrld: RunDirectory, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("NO_COLOR", "1")
    app = FluxgymApp(workspace=workspace, screen="publish", run=hrld, ascii_only=True)
    async with app.run_test(size=(120, 40)) as pilot:
        await ready(pilot, app)
        await shown(pilot, app, "+ ada, may write")
        assert [line for line in seen(app).splitlines() if not line.isascii()] == []


async def test_control_characters_never_reach_the_terminal(workspace: Workspace, state: Publishing) -> None:
    run = publishable_run(
        workspace.outputs, "evil", facts={"title": "a\x1b[2Jb\x9b31m", "trigger": "x\x1b]52;c;aGk=\x07", "settings": {}}
    )
    app = FluxgymApp(workspace=workspace, screen="publish", run=run)
    async with app.run_test(size=(140, 60)) as pilot:
        await ready(pilot, app)
        await shown(pilot, app, "Here the hub shows")
        assert not {"\x1b", "\x9b", "\x07"} & set(seen(app))


def test_progress_says_how_much_how_fast_and_how_long() -> None:
    at = UploadProgress(done_bytes=10_000_000, total_bytes=40_000_000, doing="a.safetensors")
    words = progress_words(at, seconds=5.0)
    assert words == "█████░░░░░░░░░░░░░░░  25%  10.0 MB of 40.0 MB  2.0 MB/s  15s left  a.safetensors"
    done = UploadProgress(done_bytes=0, total_bytes=0, doing="done")
    assert "100%" in progress_words(done, seconds=0.0)


def test_the_preview_keeps_the_head_as_code_whatever_is_in_it() -> None:
    shown_card = preview_markdown("---\ntext: '``` x'\nwidget:\n- output:\n---\n\n# A\n\n<Gallery />\n\nb\n")
    assert "````text\ntext: '``` x'" in shown_card
    assert "<Gallery" not in shown_card
