"""The real supervisor and wrapper with a fake trainer: how runs end, and what is written about it."""

import json
import math
import os
import sys
from pathlib import Path

import pytest

from fluxgym_tui.base.events import AttemptEvent, EndEvent, ProblemEvent
from fluxgym_tui.machine.processes import is_alive, session_members
from fluxgym_tui.runs.commands import ChildCommand
from fluxgym_tui.runs.start import start
from fluxgym_tui.runs.state import RunState
from tests.runs.fake_runs import FakeRun, until


def test_a_run_starts_trains_and_finishes(fake: FakeRun) -> None:
    fake.start("--steps", "5")
    fake.until_end()
    assert fake.steps == [1, 2, 3, 4, 5]
    assert fake.kinds[0] == "attempt"
    assert fake.kinds[-1] == "end"
    state = fake.state()
    assert state.state is RunState.FINISHED
    assert (state.step, state.total, state.exit_code, state.reason) == (5, 5, 0, None)
    assert state.lora == fake.run.output_dir / "hrld.safetensors"
    assert fake.run.exit_file(1).read_text().strip() == "0"
    assert "fake trainer: 5 steps" in fake.run.log(1).read_text()
    assert fake.run.supervisor_log.read_text() == ""
    assert json.loads(fake.run.state.read_text())["offset"] == fake.run.events.stat().st_size


def test_the_attempt_names_the_trainer_and_not_its_wrapper(fake: FakeRun) -> None:
    fake.start("--wait_at", "2")
    fake.until_step(1)
    attempt = fake.events[0]
    assert isinstance(attempt, AttemptEvent)
    assert attempt.pid == fake.trainer().pid == int(fake.starts.read_text())
    assert attempt.command[0] == sys.executable
    state = fake.state()
    assert state.state is RunState.RUNNING
    assert state.trainer_pid == attempt.pid
    assert state.supervisor_pid == fake.supervisor().pid
    sessions = {os.getsid(pid) for pid in (attempt.pid, fake.wrapper().pid, fake.supervisor().pid)}
    assert len(sessions | {os.getsid(0)}) == 4


def test_children_run_in_order_and_their_events_come_in_order(fake: FakeRun) -> None:
    fake.plan(fake.fake("--steps", "0", "--phase", "prepare", phase="prepare", lora=False), fake.fake("--steps", "2"))
    start(fake.run)
    fake.until_end()
    assert fake.kinds == ["phase", "attempt", "phase", "step", "step", "phase", "end"]
    assert (fake.run.run_dir / "prepare-001.log").exists()
    assert (fake.run.run_dir / "exit-prepare-001").read_text().strip() == "0"
    assert len(fake.starts.read_text().split()) == 2


def test_a_failing_preparation_keeps_the_trainer_from_starting(fake: FakeRun) -> None:
    fake.plan(fake.fake("--crash_at", "1", phase="prepare", lora=False), fake.fake())
    start(fake.run)
    fake.until_end()
    assert fake.state().state is RunState.FAILED
    assert "prepare ended with exit code 1" in str(fake.state().reason)
    assert not fake.run.log(1).exists()
    assert "attempt" not in fake.kinds


def test_a_child_after_the_training_only_warns(fake: FakeRun) -> None:
    fake.plan(fake.fake(), fake.fake("--crash_at", "1", phase="publish", lora=False))
    start(fake.run)
    fake.until_end()
    assert fake.state().state is RunState.FINISHED
    warning = next(event for event in fake.events if event.kind == "warning")
    assert warning.code == "publish_failed"  # type: ignore[attr-defined]


def test_a_crash_is_explained_from_the_log(fake: FakeRun) -> None:
    fake.start("--steps", "9", "--crash_at", "3", lora=False)
    fake.until_end()
    problem, end = fake.events[-2:]
    assert isinstance(problem, ProblemEvent)
    assert isinstance(end, EndEvent)
    assert "RuntimeError: CUDA error: it broke" in str(end.reason)
    assert problem.detail is not None
    assert problem.detail.startswith("fake trainer")
    assert problem.log_offset == 0
    assert (end.outcome, end.exit_code, fake.state().state) == ("failed", 1, RunState.FAILED)


@pytest.mark.parametrize(
    ("flags", "lora", "says"),
    [
        ((), False, "was not written"),
        (("--nan",), True, "up holds NaN or infinity"),
    ],
)
def test_exit_0_is_no_success_without_a_lora_of_numbers(
    fake: FakeRun, flags: tuple[str, ...], lora: bool, says: str
) -> None:
    fake.start(*flags, lora=lora)
    fake.until_end()
    assert fake.state().state is RunState.FAILED
    assert says in str(fake.state().reason)
    assert fake.state().lora is None


def test_a_lora_from_before_is_no_success(fake: FakeRun) -> None:
    old = fake.run.output_dir / "hrld.safetensors"
    old.write_bytes(b"old")
    os.utime(old, (1_000_000, 1_000_000))
    fake.start(lora=False)
    fake.until_end()
    assert fake.state().state is RunState.FAILED
    assert "from before this training" in str(fake.state().reason)


def test_a_program_that_does_not_exist_is_named(fake: FakeRun) -> None:
    fake.plan(ChildCommand(phase="train", argv=("no-such-trainer",), cwd=fake.run.output_dir))
    start(fake.run)
    fake.until_end()
    assert fake.state().exit_code == 127
    assert "PATH" in str(fake.state().fix)
    assert "cannot run no-such-trainer: No such file" in fake.run.log(1).read_text()


def test_a_folder_that_is_gone_is_named(fake: FakeRun, tmp_path: Path) -> None:
    fake.plan(ChildCommand(phase="train", argv=("true",), cwd=tmp_path / "gone"))
    start(fake.run)
    fake.until_end()
    assert fake.state().state is RunState.FAILED
    assert "cannot start train" in str(fake.state().reason)


def test_a_torn_last_event_is_left_out(fake: FakeRun) -> None:
    fake.start("--steps", "3", "--torn")
    fake.until_end()
    assert fake.steps == [1, 2, 3]
    assert fake.state().state is RunState.FINISHED


def test_steps_go_on_counting_in_the_next_attempt(fake: FakeRun) -> None:
    fake.start("--steps", "4", "--crash_at", "4", lora=False)
    fake.until_end()
    fake.plan(fake.fake("--steps", "3", "--checkpoint_every", "3"), attempt=2, first_step=4)
    assert fake.state().state is RunState.QUEUED
    start(fake.run)
    fake.until_end(2)
    assert fake.steps == [1, 2, 3, 4, 5, 6, 7]
    state = fake.state()
    assert (state.state, state.step, state.total, state.attempt) == (RunState.FINISHED, 7, 7, 2)
    checkpoint = next(event for event in fake.events if event.kind == "checkpoint")
    assert checkpoint.step == 7  # type: ignore[attr-defined]
    assert fake.run.log(2).exists()
    assert fake.run.exit_file(2).read_text().strip() == "0"
    assert fake.state().fix is None


def test_what_a_trainer_leaves_running_is_ended(fake: FakeRun) -> None:
    fake.start("--helper", "--wait_at", "3")
    trainer = fake.trainer()
    until(lambda: len(session_members(trainer)) == 2, what="the helper to start")
    fake.open_gate()
    fake.until_end()
    assert session_members(trainer) == []
    assert fake.state().state is RunState.FINISHED


def test_a_second_start_finds_the_first(fake: FakeRun) -> None:
    pid = fake.start("--wait_at", "2")
    assert start(fake.run) == pid
    fake.open_gate()
    fake.until_end()
    assert start(fake.run) != pid  # a supervisor that finds nothing to do
    until(lambda: not is_alive(fake.supervisor()), what="it to leave")
    assert fake.kinds.count("end") == 1
    assert len(fake.starts.read_text().split()) == 1


def test_a_loss_that_is_no_number_stays_visible(fake: FakeRun) -> None:
    program = (
        "import os; open(os.environ['FLUXGYM_EVENTS'], 'w')"
        """.write('{"kind":"step","schema":1,"time":1.0,"step":1,"loss":"nan"}\\n')"""
    )
    fake.plan(ChildCommand(phase="train", argv=(sys.executable, "-c", program), cwd=fake.run.output_dir))
    start(fake.run)
    fake.until_end()
    loss = fake.state().loss
    assert loss is not None
    assert math.isnan(loss)
    assert json.loads(json.dumps(fake.state().to_json(), allow_nan=False))["loss"] == "nan"
