"""Stopping runs: politely, at a checkpoint, and against a trainer's will."""

import signal

import pytest

from fluxgym_tui.base.errors import FluxgymError
from fluxgym_tui.machine.processes import is_alive, session_members
from fluxgym_tui.runs.control import request_stop
from fluxgym_tui.runs.start import start
from fluxgym_tui.runs.state import RunState
from fluxgym_tui.runs.stopping import Escalation, Patience, signal_child
from tests.runs.fake_runs import FakeRun, until


def test_a_run_stops_when_asked(fake: FakeRun, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FLUXGYM_STOP_INTERRUPT_S", "30")  # however slow the machine is, the first signal is enough
    fake.start("--wait_at", "3")
    fake.until_step(2)
    request_stop(fake.run)
    fake.until_end()
    state = fake.state()
    assert (state.state, state.reason, state.step) == (RunState.STOPPED, "stopped on request", 2)
    assert state.exit_code == -signal.SIGINT
    assert "problem" not in fake.kinds
    assert not fake.run.stop.exists()
    with pytest.raises(FluxgymError, match="not running: it is stopped"):
        request_stop(fake.run)


@pytest.mark.parametrize(("ignored", "ended_by"), [("SIGINT", signal.SIGTERM), ("SIGINT,SIGTERM", signal.SIGKILL)])
def test_a_stubborn_trainer_is_ended_all_the_same(fake: FakeRun, ignored: str, ended_by: signal.Signals) -> None:
    fake.start("--wait_at", "3", "--ignore", ignored, "--helper")
    fake.until_step(2)
    trainer = fake.trainer()
    until(lambda: len(session_members(trainer)) == 2, what="the helper to start")
    request_stop(fake.run)
    assert fake.state().state in (RunState.STOPPING, RunState.STOPPED)
    fake.until_end()
    assert fake.state().state is RunState.STOPPED
    assert fake.state().exit_code == -ended_by
    assert session_members(trainer) == []


def test_an_empty_file_made_by_hand_is_a_request(fake: FakeRun) -> None:
    fake.start("--wait_at", "2")
    fake.until_step(1)
    fake.run.stop.touch()
    fake.until_end()
    assert fake.state().state is RunState.STOPPED


def test_a_stop_at_a_checkpoint_waits_for_one_written_after_it(fake: FakeRun) -> None:
    fake.start("--steps", "500", "--checkpoint_every", "2", "--wait_at", "4")
    fake.until_step(3)  # one checkpoint is there already
    request_stop(fake.run, at_checkpoint=True)
    state = fake.state()
    assert (state.state, state.stop_requested) == (RunState.RUNNING, "stop-at-checkpoint")
    assert is_alive(fake.trainer())
    fake.open_gate()
    fake.until_end()
    assert fake.state().state is RunState.STOPPED
    assert fake.kinds.count("checkpoint") >= 2
    assert fake.state().step < 500


def test_a_crash_before_the_awaited_checkpoint_is_no_stop(fake: FakeRun) -> None:
    fake.start("--wait_at", "2", "--crash_at", "3", lora=False)
    fake.until_step(1)
    request_stop(fake.run, at_checkpoint=True)
    fake.open_gate()
    fake.until_end()
    assert fake.state().state is RunState.FAILED


def test_a_run_that_waits_is_stopped_without_being_started(fake: FakeRun) -> None:
    fake.plan(fake.fake())
    assert fake.state().state is RunState.QUEUED
    request_stop(fake.run)
    fake.until_end()
    assert fake.state().state is RunState.STOPPED
    assert not fake.starts.exists()


def test_stopping_during_the_preparation_starts_no_trainer(fake: FakeRun) -> None:
    fake.plan(fake.fake("--wait_at", "1", "--phase", "prepare", phase="prepare", lora=False), fake.fake())
    start(fake.run)
    fake.trainer(phase="prepare")
    assert fake.state().state is RunState.STARTING
    request_stop(fake.run)
    fake.until_end()
    assert fake.state().state is RunState.STOPPED
    assert not fake.run.log(1).exists()


def test_a_request_finds_a_new_supervisor_where_the_old_one_died(fake: FakeRun) -> None:
    fake.start("--wait_at", "3")
    fake.until_step(2)
    fake.kill(fake.supervisor())
    request_stop(fake.run)
    fake.until_end()
    assert fake.state().state is RunState.STOPPED
    assert fake.steps == [1, 2]


def test_a_training_done_before_the_request_took_hold_is_finished(fake: FakeRun) -> None:
    fake.start("--wait_at", "3")
    fake.until_step(2)
    fake.kill(fake.supervisor())
    fake.open_gate()
    until(lambda: fake.run.exit_file(1).exists(), what="the exit code")
    fake.run.stop.touch()
    start(fake.run)
    fake.until_end()
    assert fake.state().state is RunState.FINISHED


def test_signals_grow_with_impatience_and_each_is_sent_once() -> None:
    escalation = Escalation(Patience(interrupt_s=30, terminate_s=10), begun_s=100.0)
    sent = {now: escalation.due(now) for now in (100.0, 101.0, 129.9, 130.0, 139.0, 140.0, 141.0, 145.0)}
    assert {now: number for now, number in sent.items() if number is not None} == {
        100.0: signal.SIGINT,
        130.0: signal.SIGTERM,
        140.0: signal.SIGKILL,
        145.0: signal.SIGKILL,
    }


@pytest.mark.parametrize("text", ["soon", "-1", "0", "nan"])
def test_patience_that_is_no_time_is_refused(text: str) -> None:
    with pytest.raises(FluxgymError, match="FLUXGYM_TICK_S"):
        Patience.from_environment({"FLUXGYM_TICK_S": text})
    assert Patience.from_environment({"FLUXGYM_TICK_S": "2"}) == Patience(tick_s=2.0)


def test_a_recycled_pid_gets_no_signal(fake: FakeRun) -> None:
    from dataclasses import replace

    fake.start("--wait_at", "3")
    trainer = fake.trainer()
    signal_child(replace(trainer, start_ticks=trainer.start_ticks - 1), signal.SIGKILL)
    fake.until_step(2)
    assert is_alive(trainer)
