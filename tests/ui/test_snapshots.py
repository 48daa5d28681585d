"""Every screen as it is shown, at 80x24 and 120x40, in colour, without, and in ASCII."""

import shutil
import tempfile
import time
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from huggingface_hub import constants
from textual.pilot import Pilot
from textual.widgets import Static

from fluxgym_tui.config.workspace import Workspace
from fluxgym_tui.machine.gpu import Gpu
from fluxgym_tui.ui.app import FluxgymApp
from fluxgym_tui.ui.screens import SCREENS, live
from fluxgym_tui.ui.widgets.log_view import LogView
from fluxgym_tui.ui.widgets.picture import Picture
from fluxgym_tui.ui.widgets.run_list import RunList
from fluxgym_tui.ui.widgets.sample_grid import SampleGrid
from tests.ui.shown_workspace import NOW, running_run, shown_workspace
from tests.ui.snapshots import HOME, check, page
from tests.ui.waiting import until

SIZES = ((80, 24), (120, 40))
_STILL = 5  # looks that find the same, one after the other
Ready = Callable[[FluxgymApp], object]


@pytest.fixture
def root(monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A workspace whose path is as long everywhere, and a machine that is the same everywhere."""
    for name in ("NO_COLOR", "SSH_CONNECTION", "FLUXGYM_HOME", "HF_TOKEN", "HUGGING_FACE_HUB_TOKEN", "TMUX"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("TZ", "UTC")
    time.tzset()
    monkeypatch.setattr(time, "time", lambda: NOW)
    card = Gpu(
        index=0, name="NVIDIA GeForce RTX 4090", total_mib=24_564, used_mib=17_203, utilisation_percent=98,
        power_w=352.0, temperature_c=71, uuid="GPU-0",
    )  # fmt: skip
    monkeypatch.setattr(live, "gpus", lambda: [card])
    monkeypatch.setattr(shutil, "disk_usage", lambda _: shutil._ntuple_diskusage(10**12, 10**11, 512 * 10**9))
    folder = Path(tempfile.mkdtemp(prefix="fg-", dir="/tmp"))
    monkeypatch.setattr(constants, "HF_TOKEN_PATH", str(folder / "no-token"))
    yield folder
    shutil.rmtree(folder)
    monkeypatch.undo()
    time.tzset()


@asynccontextmanager
async def shown(app: FluxgymApp, size: tuple[int, int], ready: Ready, root: Path) -> AsyncIterator[Pilot[None]]:
    """The app at `size`, once `ready` holds, its toasts are gone and it draws nothing new."""
    async with app.run_test(size=size) as pilot:
        await until(pilot, lambda: ready(app), what="what is to be shown")
        alive = (root / "outputs").exists()
        await until(pilot, lambda: bool(app.alive_line) == alive, what="the run that is alive in the tab bar")
        await settled(app, pilot, root)
        yield pilot


async def settled(app: FluxgymApp, pilot: Pilot[None], root: Path) -> None:
    """Wait until the app draws nothing new."""
    looks: list[str] = []

    def still() -> bool:
        app.clear_notifications()
        looks.append(page(app, root=root))
        return len(looks) >= _STILL and len(set(looks[-_STILL:])) == 1

    await until(pilot, still, what="the app to draw nothing new")


def text(app: FluxgymApp, selector: str) -> str:
    return "\n".join(str(static.render()) for static in app.screen.query(selector).results(Static))


def planned(app: FluxgymApp) -> bool:
    return app.draft.planned


def drawn(app: FluxgymApp) -> bool:
    """Whether every picture that has room is drawn."""
    return all(not picture.size.area or picture._strips for picture in app.screen.query(Picture))


def thumbs(app: FluxgymApp) -> bool:
    grid = app.screen.query_one(SampleGrid)
    return grid.table is not None and not grid._wanted and len(grid._thumbs) > 0


def watched(app: FluxgymApp) -> bool:
    """Live has all there is to know: the run, its log and the machine."""
    status = text(app, "#status")
    return "88/200" in status and "VRAM" in status and app.screen.query_one(LogView).count == 89


READY: dict[str, Ready] = {
    "dataset": lambda app: planned(app) and drawn(app),
    "parameters": planned,
    "plan": planned,
    "flags": planned,
    "live": watched,
    "samples": thumbs,
    "publish": lambda app: "hrld-person.safetensors" in page(app, root=Path(HOME)),
    "runs": lambda app: len(app.screen.query_one(RunList).runs) == 5,
}


@pytest.mark.parametrize("size", SIZES, ids=lambda size: f"{size[0]}x{size[1]}")
@pytest.mark.parametrize("name", [entry.name for entry in SCREENS])
async def test_a_screen_looks_as_it_did(root: Path, name: str, size: tuple[int, int]) -> None:
    spec, run = shown_workspace(root)
    alive = running_run(root)
    app = FluxgymApp(workspace=Workspace(root), screen=name, open_path=spec, run=alive if name == "live" else run)
    async with shown(app, size, READY[name], root):
        check(app, f"{name}-{size[0]}x{size[1]}", root=root)


@pytest.mark.parametrize("name", ["live", "runs"])
async def test_without_colour_it_looks_as_it_did(root: Path, name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NO_COLOR", "1")
    shown_workspace(root)
    alive = running_run(root)
    app = FluxgymApp(workspace=Workspace(root), screen=name, run=alive)
    async with shown(app, (80, 24), READY[name], root):
        check(app, f"{name}-no-color-80x24", root=root)


@pytest.mark.parametrize("name", ["live", "samples"])
async def test_in_ascii_it_looks_as_it_did(root: Path, name: str) -> None:
    _, run = shown_workspace(root)
    alive = running_run(root)
    app = FluxgymApp(workspace=Workspace(root), screen=name, run=alive if name == "live" else run, ascii_only=True)
    async with shown(app, (80, 24), READY[name], root):
        assert page(app, root=root).isascii()
        check(app, f"{name}-ascii-80x24", root=root)


@pytest.mark.parametrize("name", ["dataset", "live", "runs", "samples"])
async def test_an_empty_workspace_looks_as_it_did(root: Path, name: str) -> None:
    app = FluxgymApp(workspace=Workspace(root), screen=name)
    async with shown(app, (80, 24), lambda app: app.screen.is_mounted, root):
        check(app, f"{name}-empty-80x24", root=root)
