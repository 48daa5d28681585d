"""A spec that wants its run published: refused before the start where that cannot be, done as the last child."""

import os
from pathlib import Path

import pytest
from PIL import Image

from fluxgym_tui.base.errors import FluxgymError
from fluxgym_tui.config.spec import TrainSpec
from fluxgym_tui.config.specfile import build_spec
from fluxgym_tui.config.workspace import Workspace
from fluxgym_tui.hub.library import HubError
from fluxgym_tui.runs.commands import read_plan
from fluxgym_tui.runs.directory import RunDirectory
from fluxgym_tui.runs.launch import after_children, launch
from fluxgym_tui.runs.publication import published_before
from fluxgym_tui.runs.start import start
from tests.hub.publishing import accept_publishing
from tests.hub.standin import StandIn, Token
from tests.runs.fake_runs import FakeRun

SECRET = "hf_afterSECRETtoken0123456789"


def test_the_supervisor_publishes_when_the_training_has_succeeded(
    fake: FakeRun,
    hub: StandIn,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    hub.tokens[SECRET] = Token(name="ada", role="write")
    monkeypatch.setenv("HF_TOKEN", SECRET)
    state = accept_publishing(hub)
    fake.plan(fake.fake(), *after_children(fake.run, publish=True))
    fake.open_gate()
    start(fake.run)
    fake.until_end()
    assert fake.state().state == "finished"
    assert state.hub.repos["ada/hrld"].private
    assert state.hub.repos["ada/hrld"].files["hrld.safetensors"] == fake.state().lora.read_bytes()  # type: ignore[union-attr]
    assert published_before(fake.run)["url"] == f"{hub.url}/ada/hrld"
    phases = [event.name for event in fake.events if event.kind == "phase"]  # type: ignore[attr-defined]
    assert phases[-1] == "publish"
    assert hub.leaks(SECRET) == []
    for folder, _, names in os.walk(fake.run.output_dir):
        for name in names:
            assert SECRET.encode() not in (Path(folder) / name).read_bytes(), name


def test_a_publication_that_fails_leaves_the_run_finished_and_says_why(
    fake: FakeRun,
    hub: StandIn,
) -> None:
    fake.plan(fake.fake(), *after_children(fake.run, publish=True))
    fake.open_gate()
    start(fake.run)
    fake.until_end()
    assert fake.state().state == "finished"
    warning = next(event for event in fake.events if event.kind == "warning")
    assert warning.code == "publish_failed"  # type: ignore[attr-defined]
    assert "nobody is logged in to Hugging Face" in warning.title  # type: ignore[attr-defined]
    assert warning.fix == f"Then: fluxgym-tui publish {fake.run.name}"  # type: ignore[attr-defined]
    assert published_before(fake.run) == {}
    assert hub.requests == []


@pytest.fixture
def workspace(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Workspace:
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")
    (tmp_path / "photos").mkdir()
    Image.new("RGB", (300, 200)).save(tmp_path / "photos/a.png")
    return Workspace(tmp_path / "ws")


@pytest.mark.parametrize(
    ("token", "refusal"),
    [
        (None, "nobody is logged in"),
        (Token(role="read"), "may only read"),
        (Token(role="fineGrained"), "may not write to any repository"),
    ],
)
def test_a_training_that_could_not_be_published_is_not_started(
    workspace: Workspace,
    hub: StandIn,
    monkeypatch: pytest.MonkeyPatch,
    token: Token | None,
    refusal: str,
) -> None:
    if token is not None:
        hub.tokens[SECRET] = token
        monkeypatch.setenv("HF_TOKEN", SECRET)
    with pytest.raises(FluxgymError, match=refusal):
        launch(_spec(workspace), workspace=workspace)
    assert not list((workspace.root / "outputs").glob("*"))


def test_without_an_answer_the_training_starts_and_that_is_told(
    workspace: Workspace,
    hub: StandIn,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("HF_TOKEN", SECRET)
    told: list[str] = []
    made: list[RunDirectory] = []

    def no_answer(_: object = None) -> None:
        raise HubError("unreachable", "no answer from the Hub")

    monkeypatch.setattr("fluxgym_tui.runs.launch.writer", no_answer)
    monkeypatch.setattr("fluxgym_tui.runs.launch.start", made.append)
    run = launch(_spec(workspace), workspace=workspace, narrate=told.append)
    assert made == [run]
    assert any("no answer from the Hub" in line for line in told)
    assert [child.phase for child in read_plan(run).children] == ["prepare", "train", "publish"]
    script = (run.output_dir / "train.sh").read_text(encoding="utf-8")
    assert "fluxgym_tui.runs.publishing" not in script
    assert hub.requests == []


def _spec(workspace: Workspace) -> TrainSpec:
    return build_spec(
        {
            "name": "Hrld",
            "trigger": "hrld",
            "base_model": "tiny-flux",
            "backend": "builtin",
            "dataset": {"path": workspace.root.parent / "photos", "resolution": 128},
            "training": {"vram": "cpu"},
            "after": {"publish": True},
        }
    )
