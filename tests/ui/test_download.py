"""The Live screen while a run downloads its base model from the stand-in for the Hub."""

import os
import sys
from pathlib import Path

import pytest
from PIL import Image
from textual.widgets import Static

from fluxgym_tui.base import events
from fluxgym_tui.config.workspace import Workspace
from fluxgym_tui.hub.download import Wanted
from fluxgym_tui.hub.tokenizers import TOKENIZERS
from fluxgym_tui.runs.commands import ChildCommand
from fluxgym_tui.runs.control import request_stop
from fluxgym_tui.runs.fetch import write_wanted
from fluxgym_tui.runs.listing import run_directories
from fluxgym_tui.runs.start import start
from fluxgym_tui.runs.state import RunState, RunSummary, read_state
from fluxgym_tui.ui.app import FluxgymApp
from fluxgym_tui.ui.run_history import RunHistory
from fluxgym_tui.ui.run_words import bar_line, head_line, numbers_line
from fluxgym_tui.ui.screens.live import LiveScreen
from tests.hub import standin
from tests.hub.model_files import model_bytes, put_model
from tests.runs.fake_runs import FakeRun
from tests.runs.fake_runs import until as wait_until
from tests.ui.waiting import until

REPO = "me/model"
FILES = {"first.safetensors": os.urandom(50_000), "second.safetensors": os.urandom(3_000_000)}


async def test_a_download_is_shown_by_file_and_in_all(hub: standin.StandIn, fake: FakeRun, tmp_path: Path) -> None:
    hub.repos[REPO] = standin.Repo(files=dict(FILES))
    hub.faults["second.safetensors"] = standin.Fault(pause_s=0.05)
    write_wanted(fake.run, [Wanted(repo=REPO, file=name, target=tmp_path / "models" / name) for name in FILES])
    argv = (sys.executable, "-P", "-m", "fluxgym_tui.runs.fetch", str(fake.run.output_dir))
    fake.plan(ChildCommand(phase="download", argv=argv, cwd=fake.run.output_dir), fake.fake())
    start(fake.run)
    wait_until(
        lambda: any(getattr(event, "item", None) == "second.safetensors" for event in fake.events),
        what="the second file",
    )
    place = Workspace(fake.run.output_dir.parent.parent)
    app = FluxgymApp(workspace=place, screen="live", run=fake.run)
    async with app.run_test(size=(80, 24)) as pilot:

        def status() -> str:
            return str(app.screen.query_one("#status", Static).render())

        await until(pilot, lambda: "second.safetensors" in status() and "/s · " in status(), what="its progress")
        assert "downloading second.safetensors" in status()
        assert "of 3.0 MB" in status()
        assert "left" in status()
        assert all(len(line) <= 80 for line in status().splitlines())
    request_stop(fake.run)
    fake.until_end()
    assert fake.state().state is RunState.STOPPED


async def test_a_model_that_is_not_here_is_fetched_when_the_app_starts_a_run(
    hub: standin.StandIn, workspace: Workspace, quick_patience: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HOME", str(workspace.root / "home"))
    hub.repos[REPO] = standin.Repo(files={"flux.safetensors": model_bytes("flux")}, gated=True)
    hub.faults["flux.safetensors"] = standin.Fault(pause_s=0.02)
    home = workspace.models
    for role, path in (("clip", "clip/clip.sft"), ("t5", "clip/t5.sft"), ("ae", "vae/ae.sft")):
        put_model(home / path, role)
    for tokenizer in TOKENIZERS:
        tokenizer.folder(home / "tokenizers").mkdir(parents=True)
        (tokenizer.folder(home / "tokenizers") / tokenizer.vocabulary[0]).write_text("{}", encoding="utf-8")
    (workspace.root / "models.yaml").write_text(_MODELS, encoding="utf-8")
    (workspace.root / "photos").mkdir()
    Image.new("RGB", (64, 64)).save(workspace.root / "photos/a.png")
    spec = workspace.root / "far.yaml"
    spec.write_text(_SPEC, encoding="utf-8")
    app = FluxgymApp(workspace=workspace, screen="plan", open_path=spec)
    try:
        await _start_and_stop(app, workspace, hub, monkeypatch)
    finally:
        for run in run_directories(workspace.outputs):
            if not read_state(run).state.ended:
                request_stop(run)


async def _start_and_stop(
    app: FluxgymApp, workspace: Workspace, hub: standin.StandIn, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with app.run_test(size=(100, 30)) as pilot:
        await until(pilot, lambda: app.draft.ready is not None, what="the plan")
        await pilot.press("ctrl+r")
        await until(pilot, lambda: any("nobody is logged in" in one.message for one in app.told), what="the refusal")
        monkeypatch.setenv("HF_TOKEN", "hf_app")
        hub.tokens["hf_app"] = standin.Token(accepted=frozenset({REPO}))
        await pilot.press("ctrl+r")
        await until(
            pilot, lambda: isinstance(app.screen, LiveScreen) and app.screen.query("#status"), what="the run to start"
        )
        status = app.screen.query_one("#status", Static)
        await until(pilot, lambda: "downloading flux.safetensors" in str(status.render()), what="the download")
        (run,) = run_directories(workspace.outputs)
        request_stop(run)
        await until(pilot, lambda: "stopped" in str(status.render()), what="the end")
        assert read_state(run).state is RunState.STOPPED


_SPEC = """\
name: Far
trigger: hrld person
base_model: far
backend: builtin
dataset: {path: photos, resolution: [64, 64], num_repeats: 1}
training: {vram: cpu, max_train_steps: 2, network_dim: 2}
"""
_MODELS = f"""\
far:
  repo: {REPO}
  file: flux.safetensors
  license: mit
  gated: true
  clip_l: {{repo: {REPO}, file: clip.sft}}
  t5xxl: {{repo: {REPO}, file: t5.sft}}
  ae: {{repo: {REPO}, file: ae.sft}}
"""


def test_the_lines_of_a_real_models_download() -> None:
    history = RunHistory()
    history.feed([
        events.PhaseEvent(time=1, name="download", detail="4 files"),
        events.ProgressEvent(
            time=2, phase="download", done=14_100_000_000, total=34_200_000_000, unit="bytes",
            item="flux1-dev.sft", item_done=12_300_000_000, item_total=23_800_000_000, rate=98e6, left_s=205,
        ),
    ])  # fmt: skip
    summary = RunSummary(name="hrld", path=Path("/x/hrld"), state=RunState.STARTING)
    assert "downloading flux1-dev.sft 12.3 GB of 23.8 GB (51%)" in str(head_line(summary, history))
    assert str(bar_line(history, 78)).endswith("41%  14.1 GB of 34.2 GB")
    assert str(numbers_line(summary, history)).strip() == "98.0 MB/s · 3m 25s left"
