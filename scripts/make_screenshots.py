"""docs/screenshots/*.svg: the app's own pictures of itself, from a workspace in which the demo has run.

`python scripts/make_screenshots.py WORKSPACE`, where `fluxgym-tui demo --workspace WORKSPACE` has finished.
"""

import asyncio
import os
import sys
import time
from pathlib import Path
from shutil import copyfile, copytree, rmtree

from textual.pilot import Pilot

from fluxgym_tui.base.events import PhaseEvent, ProgressEvent
from fluxgym_tui.config.resources import bundled
from fluxgym_tui.config.workspace import Workspace
from fluxgym_tui.hub.auth import Account, Token, TokenSource
from fluxgym_tui.runs.commands import ChildCommand, CommandPlan, write_plan
from fluxgym_tui.runs.control import request_stop
from fluxgym_tui.runs.directory import create
from fluxgym_tui.runs.listing import run_directories
from fluxgym_tui.runs.start import start
from fluxgym_tui.runs.state import read_state
from fluxgym_tui.ui.app import FluxgymApp
from fluxgym_tui.ui.screens import SCREENS
from fluxgym_tui.ui.screens.publish_work import AccountKnown

TARGET = Path(__file__).parents[1] / "docs/screenshots"
SIZES = ((120, 40), (80, 24))
_SETTLED_S = 3.0  # scans, pictures and plans come from threads


async def take(workspace: Workspace) -> None:
    """A picture of every screen in both sizes, and of the samples large."""
    runs = run_directories(workspace.outputs)
    if not runs:
        raise SystemExit(f"no run in {workspace.outputs}; first: fluxgym-tui demo --workspace {workspace.root}")
    # Copies: the pages must not show where this checkout lies.
    copytree(bundled("examples/photos"), workspace.root / "photos", dirs_exist_ok=True)
    spec = workspace.root / "demo.yaml"
    copyfile(bundled("examples/demo.yaml"), spec)
    for entry in SCREENS:
        for size in SIZES:
            app = FluxgymApp(workspace=workspace, screen=entry.name, run=runs[0], open_path=spec)
            async with app.run_test(size=size) as pilot:
                await pilot.pause(_SETTLED_S)
                if entry.name == "publish":
                    await _log_in(pilot)
                _save(pilot, f"{entry.name}-{size[0]}x{size[1]}")
                if entry.name == "samples" and size == SIZES[0]:
                    await pilot.press("b")
                    await pilot.pause(_SETTLED_S)
                    _save(pilot, "samples-beside-base")
    await _downloading(workspace)
    await _captioning(workspace)


async def _captioning(workspace: Workspace) -> None:
    """The question what makes captions, and the list while they are made: by a program that only takes its time."""
    photos = workspace.root / "photos"
    for caption in photos.glob("*.txt"):
        caption.unlink()
    for size in SIZES:
        app = FluxgymApp(workspace=workspace, screen="dataset", open_path=photos, trigger="hrld person")
        app.captioning.wish.maker, app.captioning.wish.command = (
            "command",
            "sh -c 'sleep 1; echo what is seen' {picture}",
        )
        async with app.run_test(size=size) as pilot:
            await pilot.pause(_SETTLED_S)
            await pilot.press("a")
            await pilot.pause(_SETTLED_S)
            _save(pilot, f"captioning-{size[0]}x{size[1]}")
            await pilot.click("#start")
            await pilot.pause(_SETTLED_S / 2)
            _save(pilot, f"captioning-goes-on-{size[0]}x{size[1]}")
            app.captioning.cancel()
            while app.captioning.running:
                await pilot.pause(0.1)
        for caption in photos.glob("*.txt"):
            caption.unlink()


async def _log_in(pilot: Pilot[None]) -> None:
    """Somebody who may publish, without a network: the message that the hub's answer would bring."""
    source = TokenSource(Token("none"), "environment", "HF_TOKEN")
    pilot.app.screen.post_message(AccountKnown(Account(name="ada", role="write"), source))
    await pilot.pause(_SETTLED_S)


async def _downloading(workspace: Workspace) -> None:
    """The Live screen while a base model comes: a real run whose download only says what one would say."""
    run = create(workspace.outputs, "hrld-person")
    told = [
        PhaseEvent(time=time.time(), name="download", detail="4 files"),
        ProgressEvent(
            time=time.time(), phase="download", done=14_100_000_000, total=34_200_000_000, unit="bytes",
            item="flux1-dev.sft", item_done=14_100_000_000, item_total=23_800_000_000, rate=98e6, left_s=205,
        ),
    ]  # fmt: skip
    program = f"import os, time; open(os.environ['FLUXGYM_EVENTS'], 'w').write({''.join(e.to_line() for e in told)!r})"
    argv = (sys.executable, "-c", program + "; time.sleep(600)")
    write_plan(run, CommandPlan(children=(ChildCommand(phase="download", argv=argv, cwd=run.output_dir),)))
    start(run)
    for size in SIZES:
        app = FluxgymApp(workspace=workspace, screen="live", run=run)
        async with app.run_test(size=size) as pilot:
            await pilot.pause(_SETTLED_S)
            _save(pilot, f"live-download-{size[0]}x{size[1]}")
    request_stop(run)
    while not read_state(run).journaled:
        await asyncio.sleep(0.1)
    rmtree(run.output_dir)


def _save(pilot: Pilot[None], name: str) -> None:
    TARGET.mkdir(parents=True, exist_ok=True)
    pilot.app.save_screenshot(f"{name}.svg", path=str(TARGET))
    sys.stdout.write(f"wrote {TARGET / name}.svg\n")


if __name__ == "__main__":
    # Whoever takes the pictures is not in them: no token, and nobody asked for one.
    os.environ.pop("HF_TOKEN", None)
    os.environ["HF_HUB_OFFLINE"] = "1"
    asyncio.run(take(Workspace(Path(sys.argv[1]).absolute())))
