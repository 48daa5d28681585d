"""`runs`, `follow`, `events`, `log`, `stop`, `train` and `demo` on runs of a fake trainer under the real supervisor."""

import json
import os
import pty
import re
import select
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from fluxgym_tui.backends.builtin import BuiltinBackend
from fluxgym_tui.base.errors import ExitCode, FluxgymError
from fluxgym_tui.base.files import read_json, write_json
from fluxgym_tui.base.findings import Finding, Severity
from fluxgym_tui.cli import launching
from fluxgym_tui.config.spec import TrainSpec
from fluxgym_tui.config.workspace import Workspace
from fluxgym_tui.runs.directory import RunDirectory
from fluxgym_tui.runs.start import start
from fluxgym_tui.runs.state import read_state
from tests.cli.calls import Run, RunJson
from tests.runs.fake_runs import FakeRun, until


def _lines(text: str) -> list[Any]:
    return [json.loads(line) for line in text.splitlines()]


def test_follow_shows_a_run_to_its_end_and_what_it_made(fake: FakeRun, run: Run) -> None:
    fake.start("--steps", "4", "--checkpoint_every", "2")
    code, out, err = run("follow", "hrld")
    assert (code, err) == (0, "")
    lines = out.splitlines()
    assert "saved fake-000002.safetensors at step 2, epoch 1" in lines
    assert lines[-4] == "finished"
    assert lines[-3] == "files of hrld:"
    assert str(fake.run.output_dir / "hrld.safetensors") in lines[-2]
    assert lines[-5].startswith("step 4/4 · epoch 1 · loss 0.2500 · ")
    code, again, _ = run("follow", fake.run.output_dir)  # by its path, after its end
    assert code == 0
    assert again.splitlines()[-4:] == lines[-4:]


def test_events_are_the_journal_as_json_lines(fake: FakeRun, run: Run) -> None:
    fake.start("--steps", "3")
    code, out, _ = run("events", "hrld", "--follow", "--json")
    assert code == 0
    events = _lines(out)
    assert [event["kind"] for event in events] == ["attempt", "phase", "step", "step", "step", "phase", "end"]
    assert all(event["schema"] == 1 and event["time"] > 0 for event in events)
    assert _lines(run("events", "hrld", "--json")[1]) == events
    assert _lines(run("follow", "hrld", "--json")[1]) == events
    plain = run("events", "hrld")[1].splitlines()
    assert re.fullmatch(r"\d\d:\d\d:\d\d  step 2/3 · loss 0\.5000 · 0\.01 s", plain[3])


def test_runs_tells_the_state_and_the_exit_code_of_follow_the_outcome(
    fake: FakeRun, run: Run, run_json: RunJson
) -> None:
    fake.start("--crash_at", "2")
    code, out, _ = run("follow", "hrld")
    assert code == 1
    assert "problem: RuntimeError: CUDA error: it broke" in out or "CUDA error" in out
    code, found = run_json("runs")
    assert code == 0
    (summary,) = found["runs"]
    assert (summary["name"], summary["path"]) == ("hrld", str(fake.run.output_dir))
    assert (summary["state"], summary["step"], summary["total"]) == ("failed", 2, 5)
    table = run("runs")[1].splitlines()
    assert table[0].split() == ["name", "state", "step", "loss", "started", "lasted", "why"]
    assert table[1].split()[:3] == ["hrld", "failed", "2/5"]


def test_a_killed_run_says_that_it_has_no_lora_whatever_else_it_made(fake: FakeRun, run: Run) -> None:
    fake.run.samples.mkdir()
    Image.new("RGB", (8, 8)).save(fake.run.samples / "hrld_e000000_00_20260101000000_42.png")
    fake.start("--wait_at", "2", lora=False)
    fake.until_step(1)
    fake.kill(fake.trainer())
    code, out, _ = run("follow", "hrld")
    assert code == 1
    lines = out.splitlines()
    assert lines[-4:-1] == ["files of hrld:", "  no LoRA was saved", f"  {fake.run.samples}/  1 sample picture"]
    assert "exit code 137" in out
    assert "exit code -9" not in out


def test_hints_name_the_workspace_that_was_given(fake: FakeRun, run: Run, tmp_path: Path) -> None:
    fake.start("--wait_at", "2")
    fake.until_step(1)
    _, out, _ = run("stop", "hrld", "--at-checkpoint", "--workspace", tmp_path)
    assert f"fluxgym-tui follow hrld --workspace {tmp_path} shows it end" in out


def test_no_runs_say_how_to_start_one(run: Run, run_json: RunJson) -> None:
    assert run_json("runs") == (0, {"runs": []})
    assert "fluxgym-tui train" in run("runs")[1]
    code, _, err = run("follow", "hrld")
    assert code == 4
    assert "there is no run 'hrld'" in err


def test_stop_ends_a_run_that_would_go_on_and_leaves_an_ended_one_alone(
    fake: FakeRun, run: Run, run_json: RunJson
) -> None:
    fake.start("--wait_at", "2")
    fake.until_step(1)
    code, asked = run_json("stop", "hrld")
    assert code == 0
    assert asked == {
        "run": str(fake.run.output_dir),
        "state": "running",
        "asked": True,
        "at_checkpoint": False,
    }
    code, out, _ = run("follow", "hrld")
    assert code == 7
    assert "stopped" in out
    code, asked = run_json("stop", "hrld")
    assert (code, asked["asked"], asked["state"]) == (0, False, "stopped")
    assert "does not run any more: stopped" in run("stop", "hrld")[1]


def test_stop_all_waits_for_every_run_to_end(fake: FakeRun, run: Run, run_json: RunJson) -> None:
    assert run("stop")[0] == run("stop", "hrld", "--all")[0] == ExitCode.USAGE
    fake.start("--wait_at", "2")
    fake.until_step(1)
    code, out, _ = run("stop", "--all", "--wait", 30)
    assert (code, out) == (ExitCode.OK, "hrld: stopped\n")
    assert run("stop", "--all") == (ExitCode.OK, "no run is running\n", "")
    code, data = run_json("stop", "--all")
    assert [(row["asked"], row["state"]) for row in data["runs"]] == [(False, "stopped")]


def test_stop_at_checkpoint_puts_that_request(fake: FakeRun, run: Run) -> None:
    fake.start("--wait_at", "2")
    fake.until_step(1)
    assert "when its next LoRA file is saved" in run("stop", "hrld", "--at-checkpoint")[1]
    assert fake.run.stop_at_checkpoint.exists()


def test_log_is_the_trainers_bytes(fake: FakeRun) -> None:
    fake.start("--steps", "1")
    fake.until_end()
    with fake.run.log(1).open("ab") as file:
        file.write(b"10%\r20%\xff\x1b[31m\r\nlast")
    command = [sys.executable, "-m", "fluxgym_tui", "log", str(fake.run.output_dir)]
    raw = subprocess.run(command, capture_output=True, timeout=60, check=True).stdout
    assert raw == fake.run.log(1).read_bytes()


def test_log_as_json_has_a_line_for_each_state_of_a_bar(fake: FakeRun, run: Run) -> None:
    fake.start("--steps", "1")
    fake.until_end()
    fake.run.log(1).write_bytes(b"10%\r20%\xff\r\nlast")
    code, out, _ = run("log", "hrld", "--json")
    assert code == 0
    assert _lines(out) == [
        {"offset": 0, "text": "10%"},
        {"offset": 4, "text": "20%\udcff"},
        {"offset": 10, "text": "last"},
    ]
    code, _, err = run("log", "hrld", "--attempt", "2")
    assert code == 4
    assert "hrld has no log of attempt 2 of train" in err
    assert "train-001" in err


def test_log_follows_until_the_run_is_over(fake: FakeRun, run: Run) -> None:
    fake.start("--steps", "3", "--wait_at", "3")
    fake.until_step(2)
    fake.open_gate()
    code, out, _ = run("log", "hrld", "-f")
    assert code == 0
    assert out == "fake trainer: 3 steps\n"


def test_ctrl_c_ends_the_watching_and_not_the_run(fake: FakeRun, tmp_path: Path) -> None:
    fake.start("--wait_at", "3")
    command = [sys.executable, "-m", "fluxgym_tui", "follow", "hrld", "--workspace", str(tmp_path)]
    terminal, inside = pty.openpty()
    env = {**os.environ, "TERM": "xterm"}
    with subprocess.Popen(
        command, stdin=inside, stdout=inside, stderr=inside, start_new_session=True, env=env
    ) as child:
        os.close(inside)
        try:
            seen = _read_until(terminal, b"step 2/5")
            child.send_signal(signal.SIGINT)
            seen += _read_until(terminal, b"stops it")
            assert child.wait(timeout=20) == 130
        finally:
            child.kill()
            os.close(terminal)
    assert b"\r\x1b[2Ktraining \xc2\xb7 step 2/5" in seen
    assert b"hrld goes on; fluxgym-tui stop hrld --workspace " + os.fsencode(tmp_path) + b" stops it" in seen
    assert not read_state(fake.run).state.ended
    fake.open_gate()
    fake.until_end()
    assert read_state(fake.run).state.value == "finished"


def _read_until(terminal: int, text: bytes) -> bytes:
    """What the terminal shows until `text` has come."""
    seen = b""
    deadline = time.monotonic() + 10
    while text not in seen:
        ready, _, _ = select.select([terminal], [], [], max(0.0, deadline - time.monotonic()))
        assert ready, f"{text!r} did not come: {seen!r}"
        seen += os.read(terminal, 4096)
    return seen


@pytest.fixture
def launched(fake: FakeRun, monkeypatch: pytest.MonkeyPatch) -> list[TrainSpec]:
    """`launch` starts the fake trainer's run in place of a real one; the specs it was given."""
    specs: list[TrainSpec] = []

    def launch(
        spec: TrainSpec, *, workspace: Workspace, narrate: Any, sd_scripts: Path | None, by_hand: Any, started: Any
    ) -> RunDirectory:
        specs.append(spec)
        narrate("12 pictures")
        found = [
            Finding(code="one_picture", severity=Severity.WARNING, title="there is only one picture", fix="add more"),
            Finding(code="fluxgym_estimate", severity=Severity.ADVICE, title="fluxgym would say 480; it is 400"),
        ]
        manifest = read_json(fake.run.manifest)
        write_json(fake.run.manifest, {**manifest, "findings": [finding.to_json() for finding in found]})
        start(fake.run)
        started(fake.run)
        return fake.run

    monkeypatch.setattr(launching, "launch", launch)
    return specs


def test_train_starts_a_run_of_what_was_asked_and_follows_it(
    fake: FakeRun, launched: list[TrainSpec], run: Run, tmp_path: Path
) -> None:
    fake.plan(fake.fake("--steps", "3"))
    options = ["--trigger", "hrld man", "--name", "My LoRA", "--epochs", "2", "--sample-prompt", "a --d 1"]
    code, out, err = run("train", tmp_path, *options, "--json")
    assert code == 0
    *events, last = _lines(out)
    assert [event["kind"] for event in events][-1] == "end"
    lora = str(fake.run.output_dir / "hrld.safetensors")
    assert last == {"run": str(fake.run.output_dir), "outcome": "finished", "lora": lora}
    assert err.splitlines() == [
        "12 pictures",
        "warning: there is only one picture",
        "  -> add more",
        f"run hrld in {fake.run.output_dir}",
    ]
    (spec,) = launched
    assert (spec.name, spec.trigger, spec.dataset.path) == ("My LoRA", "hrld man", tmp_path)
    assert (spec.training.max_train_epochs, spec.samples.prompts) == (2, ("a --d 1",))


def test_train_detached_comes_back_at_once(fake: FakeRun, launched: list[TrainSpec], run: Run, tmp_path: Path) -> None:
    fake.plan(fake.fake("--wait_at", "1"))
    code, out, _ = run("train", tmp_path, "--detach", "--json")
    assert code == 0
    assert _lines(out) == [{"run": str(fake.run.output_dir), "outcome": None, "lora": None}]
    assert not read_state(fake.run).state.ended


def test_a_failed_training_is_exit_code_1(fake: FakeRun, launched: list[TrainSpec], run: Run, tmp_path: Path) -> None:
    fake.plan(fake.fake("--crash_at", "1"))
    code, out, _ = run("train", tmp_path, "--json")
    assert code == 1
    assert _lines(out)[-1] == {"run": str(fake.run.output_dir), "outcome": "failed", "lora": None}


def test_what_stops_a_training_is_told_and_nothing_is_started(
    run: Run, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    def launch(spec: TrainSpec, **_: object) -> RunDirectory:
        raise FluxgymError("no pictures", hint="Add some.", code=ExitCode.FINDINGS)

    monkeypatch.setattr(launching, "launch", launch)
    assert run("train", tmp_path, "--json") == (3, "", "error: no pictures\n  Add some.\n")


def test_ctrl_c_in_train_says_how_to_watch_and_stop(
    fake: FakeRun, launched: list[TrainSpec], run: Run, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    fake.plan(fake.fake("--wait_at", "1"))

    def interrupted(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(launching, "watch", interrupted)
    code, out, err = run("train", tmp_path, "--workspace", tmp_path)
    assert (code, out) == (130, "")
    assert f"fluxgym-tui follow hrld --workspace {tmp_path}   watches it again" in err
    assert f"fluxgym-tui stop hrld --workspace {tmp_path}   stops it" in err
    until(lambda: read_state(fake.run).supervised, what="the run to go on")


def test_demo_tells_what_was_learnt(fake: FakeRun, launched: list[TrainSpec], run: Run, tmp_path: Path) -> None:
    fake.plan(fake.fake("--steps", "20", "--step_s", "0.001"))
    code, out, _ = run("demo", "--workspace", tmp_path)
    assert code == 0
    assert out.splitlines()[-1] == "mean loss of the first and the last tenth of 20 steps: 0.7500 -> 0.0513 (-93%)"
    assert launched[0].base_model == "tiny-flux"


def test_a_light_installation_names_the_one_command(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(BuiltinBackend, "available", lambda _: "torch not installed")
    code, out, err = run("demo")
    assert (code, out) == (6, "")
    assert "pip install 'fluxgym-tui[train]'" in err
