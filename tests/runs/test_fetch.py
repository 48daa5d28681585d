"""A run that downloads its base model first: told in its events, stopped, killed, failed, and begun again."""

import os
import sys
from pathlib import Path

import pytest

from fluxgym_tui.base.errors import FluxgymError
from fluxgym_tui.base.events import PhaseEvent, ProblemEvent, ProgressEvent
from fluxgym_tui.base.files import write_json
from fluxgym_tui.hub.download import Wanted
from fluxgym_tui.hub.partial import partial_bytes
from fluxgym_tui.runs.commands import ChildCommand
from fluxgym_tui.runs.control import request_stop
from fluxgym_tui.runs.fetch import write_wanted
from fluxgym_tui.runs.resume import prospects, resume
from fluxgym_tui.runs.start import ensure_supervised, start
from fluxgym_tui.runs.state import RunState
from tests.hub import standin
from tests.runs.fake_runs import FakeRun, until

REPO, FILE = "me/model", "big.safetensors"
DATA = os.urandom(600_000)
SECRET = "hf_runruntherunrun1234"


@pytest.fixture
def target(hub: standin.StandIn, fake: FakeRun, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A run that is to fetch one file before its fake trainer starts; where that file belongs."""
    monkeypatch.setenv("HF_TOKEN", SECRET)
    hub.tokens[SECRET] = standin.Token(accepted=frozenset({REPO}))
    hub.repos[REPO] = standin.Repo(files={FILE: DATA}, gated=True)
    target = tmp_path / "models/unet" / FILE
    write_wanted(fake.run, [Wanted(repo=REPO, file=FILE, target=target)])
    write_json(
        fake.run.manifest,
        {"backend": "builtin", "epochs": 1, "total_steps": 3, "steps_per_epoch": 3},
    )
    module = (sys.executable, "-P", "-m", "fluxgym_tui.runs.fetch", str(fake.run.output_dir))
    fetch = ChildCommand(phase="download", argv=module, cwd=fake.run.output_dir)
    fake.plan(fetch, fake.fake("--steps", "3"))
    return target


def everything_written(folder: Path) -> bytes:
    return b"".join(path.read_bytes() for path in folder.rglob("*") if path.is_file())


def test_the_model_comes_first_and_is_told_in_the_events(
    hub: standin.StandIn, fake: FakeRun, target: Path, tmp_path: Path
) -> None:
    fake.open_gate()
    start(fake.run)
    fake.until_end()
    assert fake.state().state is RunState.FINISHED
    assert target.read_bytes() == DATA
    phases = [event.name for event in fake.events if isinstance(event, PhaseEvent)]
    assert phases[:2] == ["download", "train"]
    told = [event for event in fake.events if isinstance(event, ProgressEvent)]
    last = told[-1]
    assert (last.phase, last.unit, last.item, last.done, last.total) == ("download", "bytes", FILE, 600_000, 600_000)
    assert (last.item_done, last.item_total, last.left_s) == (600_000, 600_000, 0)
    assert "600 kB of 600 kB (100%)" in fake.run.child("download", 1).log.read_text(encoding="utf-8")
    # The token went to the Hub, and into nothing that is written.
    assert hub.leaks(SECRET) == []
    assert SECRET.encode() not in everything_written(tmp_path)


def test_a_killed_download_is_begun_again_and_goes_on_by_range(
    hub: standin.StandIn, fake: FakeRun, target: Path
) -> None:
    hub.faults[FILE] = standin.Fault(pause_s=0.03)
    start(fake.run)
    child = fake.trainer(phase="download")
    until(lambda: partial_bytes(target) >= 65_536, what="some bytes")
    for process in (child, fake.wrapper(phase="download"), fake.supervisor()):
        assert SECRET.encode() not in Path(f"/proc/{process.pid}/cmdline").read_bytes()
    fake.kill(child)
    fake.until_end()
    summary = fake.state()
    assert summary.state in (RunState.FAILED, RunState.INTERRUPTED)
    kept = partial_bytes(target)
    hub.faults.clear()
    assert prospects(fake.run).untrained
    with pytest.raises(FluxgymError, match="ended before its training began"):
        resume(fake.run, more_epochs=2)
    fake.open_gate()
    told: list[str] = []
    resume(fake.run, narrate=told.append)
    assert "it begins now" in told[0]
    fake.until_end(2)
    assert fake.state().state is RunState.FINISHED
    assert not prospects(fake.run).untrained
    ranges = [request.headers.get("range") for request in hub.requests if request.server == "cdn"]
    assert ranges == [None, f"bytes={kept}-"]
    assert fake.steps == [1, 2, 3]


def test_a_download_goes_on_without_its_supervisor_and_is_taken_over(
    hub: standin.StandIn, fake: FakeRun, target: Path
) -> None:
    hub.faults[FILE] = standin.Fault(pause_s=0.03)
    fake.open_gate()
    start(fake.run)
    until(lambda: partial_bytes(target) >= 65_536, what="some bytes")
    fake.kill(fake.supervisor())
    kept = partial_bytes(target)
    until(lambda: partial_bytes(target) > kept, what="more bytes, with nobody watching")
    assert ensure_supervised(fake.run)
    fake.until_end()
    assert fake.state().state is RunState.FINISHED
    assert [request.headers.get("range") for request in hub.requests if request.server == "cdn"] == [None]
    done = [event.done for event in fake.events if isinstance(event, ProgressEvent)]
    assert done == sorted(set(done)), "each event once"


def test_a_stopped_download_keeps_what_came(hub: standin.StandIn, fake: FakeRun, target: Path) -> None:
    hub.faults[FILE] = standin.Fault(pause_s=0.03)
    start(fake.run)
    until(lambda: partial_bytes(target) > 0, what="some bytes")
    request_stop(fake.run)
    fake.until_end()
    assert fake.state().state is RunState.STOPPED
    assert 0 < partial_bytes(target) < len(DATA)
    assert "stopped; what has come is kept" in fake.run.child("download", 1).log.read_text(encoding="utf-8")


def test_a_refusal_ends_the_run_with_the_hubs_reason(hub: standin.StandIn, fake: FakeRun, target: Path) -> None:
    hub.tokens[SECRET] = standin.Token()  # access was withdrawn between the check and the start
    start(fake.run)
    fake.until_end()
    summary = fake.state()
    assert summary.state is RunState.FAILED
    (problem,) = [event for event in fake.events if isinstance(event, ProblemEvent)]
    assert problem.code == "download_failed"
    assert problem.title == f"the licence of {REPO} is not accepted yet by the account of this token"
    assert "https://huggingface.co/me/model" in str(problem.fix)
    assert summary.reason == problem.title
    assert not fake.starts.exists()


def test_what_is_there_already_asks_nobody(hub: standin.StandIn, fake: FakeRun, target: Path) -> None:
    target.parent.mkdir(parents=True)
    target.write_bytes(DATA)
    hub.stop()
    fake.open_gate()
    start(fake.run)
    fake.until_end()
    assert fake.state().state is RunState.FINISHED
    assert hub.requests == []
