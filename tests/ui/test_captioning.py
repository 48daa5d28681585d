"""Captions by a model, asked for on the Dataset screen."""

from pathlib import Path

import pytest
from textual.pilot import Pilot
from textual.widgets import Button, Static

from fluxgym_tui.config.workspace import Workspace
from fluxgym_tui.ui.app import FluxgymApp
from fluxgym_tui.ui.screens.captioning import AutoCaptionScreen, CaptionProgressScreen
from fluxgym_tui.ui.screens.dataset import DatasetScreen
from tests.captioner.chat_standin import chat_standin
from tests.ui.test_dataset import shown
from tests.ui.test_parameters import photos
from tests.ui.waiting import until

__all__ = ["photos"]


@pytest.fixture(autouse=True)
def own_settings(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Settings of this test alone, and no key."""
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))
    monkeypatch.delenv("OPENAI_API_KEY", raising=False)
    path = tmp_path / "config" / "fluxgym-tui" / "settings.yaml"
    path.parent.mkdir(parents=True)
    return path


async def asked(pilot: Pilot[None], app: FluxgymApp) -> AutoCaptionScreen:
    """Press the key and wait for the question."""
    await pilot.press("a")
    await until(pilot, lambda: isinstance(app.screen, AutoCaptionScreen), what="the question")
    assert isinstance(app.screen, AutoCaptionScreen)
    return app.screen


def told(screen: AutoCaptionScreen) -> str:
    return str(screen.query_one("#told", Static).content)


async def test_captions_come_while_another_screen_is_looked_at_and_go_again(
    workspace: Workspace, photos: Path, own_settings: Path
) -> None:
    with chat_standin(slow_s=0.05, key="sk-mine") as server:
        own_settings.write_text(f"endpoints: {{home: {{url: '{server.url}', api_key: sk-mine}}}}", encoding="utf-8")
        app = FluxgymApp(workspace=workspace, screen="dataset", open_path=photos, trigger="hrld")
        async with app.run_test(size=(100, 30)) as pilot:
            screen = await shown(pilot, app)
            question = await asked(pilot, app)
            assert "Each begins with 'hrld'." in told(question)
            question.query_one("#maker").value = "@home"  # type: ignore[attr-defined]
            await until(pilot, lambda: "Key: from settings.yaml." in told(question), what="the key's place")
            assert not question.query_one("#row-url").display
            await pilot.click("#start")
            await pilot.press("3")
            captions = [photos / "p1.txt", photos / "p2.txt"]
            await until(pilot, lambda: not app.captioning.running, what="the captions")
            assert [path.read_text(encoding="utf-8").partition(",")[0] for path in captions] == ["hrld", "hrld"]
            assert any("2 captions written" in event.message for event in app.told)
            await pilot.press("1")
            await until(
                pilot, lambda: [row.caption_state for row in screen.rows].count("missing") == 0, what="the new rows"
            )
            question = await asked(pilot, app)
            assert question.query_one("#maker").value == "@home"  # type: ignore[attr-defined]
            await pilot.click("#undo")
            await until(pilot, lambda: not any(path.exists() for path in captions), what="undo")
    assert "sk-mine" not in "".join(event.message for event in app.told)
    assert not any(b"sk-mine" in path.read_bytes() for path in (workspace.root / "captions").iterdir())


async def test_failures_are_listed_and_the_marked_pictures_alone_are_asked_about(
    workspace: Workspace, photos: Path
) -> None:
    with chat_standin(script=lambda number: 400) as server:
        app = FluxgymApp(workspace=workspace, screen="dataset", open_path=photos)
        async with app.run_test(size=(80, 24)) as pilot:
            await shown(pilot, app)
            await pilot.press("G", "space")
            question = await asked(pilot, app)
            assert "the 1 marked picture" in str(question.query_one(".dialog-title", Static).content)
            question.query_one("#maker").value = "endpoint"  # type: ignore[attr-defined]
            await until(pilot, lambda: "need its address" in told(question), what="what is missing")
            assert question.query_one("#start", Button).disabled
            question.query_one("#url").focus()
            await pilot.press(*server.url)
            await until(pilot, lambda: not question.query_one("#start", Button).disabled, what="the button")
            await pilot.click("#start")
            await until(pilot, lambda: app.captioning.progress and not app.captioning.running, what="the end")
            await until(pilot, lambda: isinstance(app.screen, DatasetScreen), what="the list")
            await pilot.press("a")
            await until(pilot, lambda: isinstance(app.screen, CaptionProgressScreen), what="the failures")
            row = app.screen._row(0, 70) if isinstance(app.screen, CaptionProgressScreen) else ""
            assert "refused it: 400" in str(row)
            await pilot.press("escape")
            await asked(pilot, app)
    assert len(server.asked) == 1


async def test_cancelling_finishes_what_is_under_way(workspace: Workspace, photos: Path) -> None:
    from tests.captioner.pictures import make_pictures

    make_pictures(photos, *(f"z{number}.png" for number in range(30)))
    with chat_standin(slow_s=0.1) as server:
        app = FluxgymApp(workspace=workspace, screen="dataset", open_path=photos)
        app.captioning.wish.maker, app.captioning.wish.url = "endpoint", server.url
        async with app.run_test(size=(80, 24)) as pilot:
            screen = await shown(pilot, app)
            await asked(pilot, app)
            await pilot.click("#start")
            await until(pilot, lambda: len(server.asked) > 4, what="the first captions")
            assert screen.query_one("#captioning", Static).display
            await pilot.press("a")
            await until(pilot, lambda: isinstance(app.screen, CaptionProgressScreen), what="the progress")
            await pilot.click("#stop")
            await until(pilot, lambda: not app.captioning.running, what="the end")
            assert "cancelled" in str(app.screen.query_one("#line", Static).content)
    assert len(list(photos.glob("*.txt"))) == len(server.asked) + 1  # one was there
    assert len(server.asked) < 32
