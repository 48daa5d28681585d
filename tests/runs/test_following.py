"""Following, finding and starting runs from terminals that come and go."""

import json
import os
import pty
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from fluxgym_tui.base.errors import ExitCode, FluxgymError
from fluxgym_tui.base.events import EndEvent, StepEvent
from fluxgym_tui.machine.processes import Identity, identify, is_alive
from fluxgym_tui.runs.directory import RunDirectory, create
from fluxgym_tui.runs.follow import Follower, follow, follow_async
from fluxgym_tui.runs.listing import find_run, list_runs
from fluxgym_tui.runs.lock import RunLock, holder_of, last_holder
from fluxgym_tui.runs.start import ensure_supervised, start
from fluxgym_tui.runs.state import RunState, read_state
from tests.runs.fake_runs import FakeRun, until

FOLLOW = "import sys; from pathlib import Path; from fluxgym_tui.runs.directory import RunDirectory as R;"


def _in_a_terminal(program: str, *, argument: Path) -> tuple[subprocess.Popen[bytes], int]:
    """Run Python on a new pseudo-terminal that is its controlling one; the process and the master's handle."""
    master, slave = pty.openpty()

    take = "import fcntl, termios; fcntl.ioctl(0, termios.TIOCSCTTY, 0);"
    process = subprocess.Popen(
        [sys.executable, "-c", take + program, str(argument)],
        stdin=slave,
        stdout=slave,
        stderr=slave,
        start_new_session=True,
    )
    os.close(slave)
    return process, master


def test_follow_brings_every_event_to_the_end(fake: FakeRun) -> None:
    fake.start("--steps", "4", "--wait_at", "3")
    follower = follow(fake.run, poll_s=0.02)
    seen = []
    for event in follower:
        seen.append(event)
        if isinstance(event, StepEvent) and event.step == 2:
            fake.open_gate()
    assert seen == fake.events
    assert isinstance(seen[-1], EndEvent)
    assert list(follow(fake.run)) == seen


async def test_the_asynchronous_follower_brings_the_same(fake: FakeRun) -> None:
    fake.start("--steps", "4")
    lists = [events async for events in follow_async(fake.run, poll_s=0.02)]
    assert [event for events in lists for event in events] == fake.events
    assert isinstance(lists[-1][-1], EndEvent)


def test_following_from_now_leaves_out_what_was(fake: FakeRun) -> None:
    fake.start("--steps", "4", "--wait_at", "3")
    fake.until_step(2)
    follower = Follower(fake.run, from_start=False)
    fake.open_gate()
    fake.until_end()
    events = follower.poll()
    assert isinstance(events[0], StepEvent)
    assert events[0].step == 3
    assert Follower(fake.run, from_start=False).done


def test_a_follower_brings_a_dead_supervisor_back(fake: FakeRun) -> None:
    fake.start("--steps", "4", "--wait_at", "3")
    fake.until_step(2)
    fake.kill(fake.supervisor())
    fake.open_gate()
    seen = list(follow(fake.run, poll_s=0.02))
    assert [event.step for event in seen if isinstance(event, StepEvent)] == [1, 2, 3, 4]
    assert isinstance(seen[-1], EndEvent)
    assert fake.state().journaled


def test_a_follower_that_may_not_write_tells_the_end_from_the_files(fake: FakeRun) -> None:
    fake.start("--wait_at", "3")
    fake.until_step(2)
    fake.kill(fake.supervisor(), fake.wrapper(), fake.trainer())
    seen = list(follow(fake.run, revive=False))
    end = seen[-1]
    assert isinstance(end, EndEvent)
    assert (end.outcome, end.exit_code) == ("interrupted", None)
    assert "both killed" in str(end.reason)
    assert not fake.state().journaled


@pytest.mark.parametrize("how", ["ctrl+c", "hang up", "kill -9"])
def test_ending_a_follower_changes_nothing(fake: FakeRun, how: str) -> None:
    fake.start("--wait_at", "3")
    fake.until_step(2)
    program = FOLLOW + "from fluxgym_tui.runs.follow import follow;"
    program += "[print(event.kind, flush=True) for event in follow(R(Path(sys.argv[1])), poll_s=0.02)]"
    process, master = _in_a_terminal(program, argument=fake.run.output_dir)
    assert os.read(master, 100)  # it follows
    if how == "ctrl+c":
        os.write(master, b"\x03")
    elif how == "kill -9":
        process.kill()
    if how != "hang up":
        _drain(master)
    os.close(master)
    assert process.wait(timeout=60) != 0
    _unharmed(fake)


@pytest.mark.parametrize("how", ["close the terminal", "kill -9"])
def test_ending_who_started_the_run_changes_nothing(fake: FakeRun, how: str) -> None:
    fake.plan(fake.fake("--wait_at", "3"))
    program = FOLLOW + "from fluxgym_tui.runs.start import start; start(R(Path(sys.argv[1]))); print('started');"
    program += "sys.stdout.flush(); import time; time.sleep(600)"
    process, master = _in_a_terminal(program, argument=fake.run.output_dir)
    while b"started" not in os.read(master, 100):
        pass
    if how == "kill -9":
        process.kill()
    os.close(master)
    assert process.wait(timeout=60) in (-signal.SIGHUP, -signal.SIGKILL)
    _unharmed(fake)


def test_a_supervisor_told_to_leave_leaves_the_trainer_alone(fake: FakeRun) -> None:
    fake.start("--wait_at", "3")
    fake.until_step(2)
    trainer, wrapper, supervisor = fake.trainer(), fake.wrapper(), fake.supervisor()
    os.kill(supervisor.pid, signal.SIGTERM)
    until(lambda: not is_alive(supervisor), what="the supervisor to leave")
    assert is_alive(trainer)
    assert is_alive(wrapper)
    assert "end" not in fake.kinds
    assert fake.state().state is RunState.RUNNING
    start(fake.run)
    fake.open_gate()
    fake.until_end()
    assert fake.steps == [1, 2, 3, 4, 5]
    assert fake.state().state is RunState.FINISHED


def test_wrappers_ignore_what_a_shutdown_or_terminal_sends(fake: FakeRun) -> None:
    fake.start("--wait_at", "3")
    fake.until_step(2)
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        os.kill(fake.wrapper().pid, number)
    os.kill(fake.trainer().pid, signal.SIGTERM)
    fake.until_end()
    assert fake.state().state is RunState.INTERRUPTED
    assert "SIGTERM from outside" in str(fake.state().reason)


def test_of_supervisors_that_start_at_once_one_stays(fake: FakeRun) -> None:
    fake.plan(fake.fake("--wait_at", "2"))
    command = [sys.executable, "-P", "-m", "fluxgym_tui.runs.supervisor", str(fake.run.output_dir)]
    racers = [subprocess.Popen(command, stderr=subprocess.PIPE) for _ in range(3)]
    until(lambda: sum(racer.poll() is None for racer in racers) == 1, what="the others to give way")
    fake.open_gate()
    codes = []
    for racer in racers:
        _, said = racer.communicate(timeout=60)
        assert said == b""
        codes.append(racer.returncode)
    assert sorted(codes) == [ExitCode.OK, ExitCode.BUSY, ExitCode.BUSY]
    assert fake.state().state is RunState.FINISHED
    assert len(fake.starts.read_text(encoding="ascii").split()) == 1


def _recycled(identity: Identity) -> Identity:
    return replace(identity, start_ticks=identity.start_ticks - 1)


def _rebooted(identity: Identity) -> Identity:
    return replace(identity, boot_id="another-boot")


def _moved(identity: Identity) -> Identity:
    return replace(identity, host="another-host")


@pytest.mark.parametrize("someone_else", [_recycled, _rebooted, _moved])
def test_a_pid_of_somebody_else_is_never_taken_for_ours(
    fake: FakeRun, someone_else: Callable[[Identity], Identity]
) -> None:
    me = identify()
    assert me is not None
    fake.plan(fake.fake())
    stranger = someone_else(me).to_json()
    fake.run.lock.write_text(json.dumps(stranger), encoding="ascii")
    if someone_else is _moved:
        assert fake.state().host == "another-host"  # it may be alive there
        assert fake.state().supervised
        with pytest.raises(FluxgymError, match="supervised on another-host"):
            start(fake.run)
        assert not ensure_supervised(fake.run)
        quiet = time.time() - 3600
        os.utime(fake.run.command, (quiet, quiet))
        os.utime(fake.run.lock, (quiet, quiet))
    fake.run.child("train", 1).process.write_text(
        json.dumps({"wrapper": stranger, "child": stranger}), encoding="ascii"
    )
    assert holder_of(fake.run.lock) is None
    state = fake.state()
    assert (state.state, state.trainer_pid, state.supervised) == (RunState.INTERRUPTED, None, False)
    if someone_else is _rebooted:
        assert "restarted" in str(state.reason)
    assert ensure_supervised(fake.run)
    fake.until_end()
    assert fake.state().state is RunState.INTERRUPTED
    assert not fake.starts.exists()


def test_a_training_that_a_restart_kept_from_beginning_is_not_begun_later(fake: FakeRun) -> None:
    me = identify()
    assert me is not None
    fake.plan(fake.fake())
    fake.run.lock.write_text(json.dumps(_rebooted(me).to_json()), encoding="ascii")
    start(fake.run)
    fake.until_end()
    assert fake.state().state is RunState.INTERRUPTED
    assert "restarted before train was started" in str(fake.state().reason)
    assert not fake.starts.exists()


def test_a_lock_is_held_once_and_freed_by_its_holders_end(tmp_path: Path) -> None:
    path = tmp_path / "lock"
    assert last_holder(path) is None
    lock = RunLock.acquire(path)
    assert lock is not None
    assert holder_of(path) == lock.holder == identify()
    assert RunLock.acquire(path) is None
    lock.release()
    again = RunLock.acquire(path)
    assert again is not None
    again.release()
    path.write_bytes(b"{ torn")
    assert last_holder(path) is None


def test_runs_are_listed_newest_first_and_found_by_name_or_path(tmp_path: Path) -> None:
    outputs = tmp_path / "outputs"
    assert list_runs(outputs) == []
    with pytest.raises(FluxgymError, match="there is no run 'cat'"):
        find_run(outputs, "cat")
    first, second = create(outputs, "cat"), create(outputs, "cat")
    (outputs / "notes").mkdir()
    assert (first.name, second.name) == ("cat", "cat-2")
    assert [summary.name for summary in list_runs(outputs)] == ["cat-2", "cat"]
    assert read_state(first).state is RunState.QUEUED
    for way in ("cat-2", str(second.output_dir), str(second.run_dir)):
        assert find_run(outputs, way) == second
    with pytest.raises(FluxgymError) as caught:
        find_run(outputs, "cta")
    assert caught.value.hint is not None
    assert "cat" in caught.value.hint
    assert caught.value.code == ExitCode.NOT_FOUND


def test_a_folder_of_another_program_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "cat").mkdir()
    (tmp_path / "cat/cat.safetensors").touch()
    (tmp_path / "dog").mkdir()
    assert create(tmp_path, "cat").name == "cat-2"
    assert create(tmp_path, "dog").name == "dog"  # an empty folder is nobody's
    with pytest.raises(FluxgymError, match="cannot name a run"):
        create(tmp_path, "../dog")
    with pytest.raises(FluxgymError, match="holds no run"):
        read_state(RunDirectory(tmp_path / "nothing"))


def _drain(master: int) -> None:
    """Read a terminal until its other side is closed."""
    try:
        while os.read(master, 1000):
            pass
    except OSError:  # how Linux says that the other side is closed
        pass


def _unharmed(fake: FakeRun) -> None:
    """The run goes on and finishes under the supervisor it had."""
    supervisor, trainer = fake.supervisor(), fake.trainer()
    assert is_alive(supervisor)
    assert is_alive(trainer)
    fake.open_gate()
    fake.until_end()
    assert fake.supervisor() == supervisor
    assert fake.state().state is RunState.FINISHED
    assert fake.steps == [1, 2, 3, 4, 5]
