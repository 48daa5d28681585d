"""kill -9 of every process of a run at every moment: the truth is shown, nothing is lost, doubled or started twice.

The whole matrix carries the marker `faults`; a sample of it, drawn with a fixed seed, always runs.
"""

import itertools
import random
import time

import pytest

from fluxgym_tui.machine.processes import is_alive
from fluxgym_tui.runs.start import ensure_supervised, start
from fluxgym_tui.runs.state import RunState
from tests.runs.fake_runs import FakeRun, until

PHASES = ("cache_latents", "cache_text", "load", "save", "sample")  # those of the trainer besides its steps
MOMENTS = ("prepare", "first_step", "training", *PHASES)
VICTIMS = tuple(
    victims for count in (1, 2, 3) for victims in itertools.combinations(("supervisor", "wrapper", "trainer"), count)
)
CELLS = [(moment, victims) for moment in MOMENTS for victims in VICTIMS]
_CHANCE = random.Random(3)
SAMPLE = [(moment, _CHANCE.choice(VICTIMS)) for moment in MOMENTS]
STEPS = 6


@pytest.mark.parametrize(
    ("moment", "victims"),
    [
        pytest.param(
            moment,
            victims,
            id=f"{moment}-{'+'.join(victims)}",
            marks=() if (moment, victims) in SAMPLE else pytest.mark.faults,
        )
        for moment, victims in CELLS
    ],
)
def test_the_truth_survives_kill_9(fake: FakeRun, moment: str, victims: tuple[str, ...]) -> None:
    phase = _bring_to(fake, moment)
    processes = {
        "supervisor": fake.supervisor(),
        "wrapper": fake.wrapper(phase=phase),
        "trainer": fake.trainer(phase=phase),
    }
    fake.kill(*(processes[name] for name in victims))

    going_on = "trainer" not in victims
    if going_on:
        alive = (RunState.STARTING, RunState.RUNNING)
        assert fake.state().state in alive
        assert fake.state().supervised is ("supervisor" not in victims)
        assert fake.state().trainer_pid == processes["trainer"].pid
    elif "supervisor" in victims:
        if "wrapper" not in victims:
            until(fake.run.child(phase, 1).exit.exists, what="the wrapper to leave the exit code")
        assert fake.state().state is (RunState.INTERRUPTED if "wrapper" in victims else RunState.FAILED)
        assert not fake.state().journaled
    if "supervisor" in victims:
        assert ensure_supervised(fake.run)
    fake.open_gate()
    fake.until_end()

    expected = RunState.FINISHED
    if "wrapper" in victims:
        expected = RunState.INTERRUPTED  # nobody knows the exit code any more
    elif "trainer" in victims:
        expected = RunState.FAILED
    state = fake.state()
    assert state.state is expected
    assert state.journaled
    until(lambda: not any(map(is_alive, processes.values())), what="all of it to be gone")
    _exactly_once(fake, trained=phase == "train" or expected is RunState.FINISHED)
    if expected is RunState.FINISHED:
        assert fake.steps == list(range(1, STEPS + 1))
    if expected is RunState.FAILED:
        assert "SIGKILL (exit code 137)" in str(state.reason)


@pytest.mark.parametrize(
    "seed", [pytest.param(seed, marks=() if seed == 0 else pytest.mark.faults) for seed in range(12)]
)
def test_supervisors_killed_again_and_again_lose_and_double_nothing(fake: FakeRun, seed: int) -> None:
    chance = random.Random(seed)
    fake.start("--steps", "60", "--step_s", "0.01", "--wait_at", "55")
    for _ in range(4):
        wanted = min(max(fake.steps, default=0) + chance.randrange(1, 10), 54)
        fake.until_step(wanted)
        fake.kill(fake.supervisor())
        start(fake.run)
    fake.open_gate()
    fake.until_end()
    assert fake.steps == list(range(1, 61))
    assert fake.state().state is RunState.FINISHED
    _exactly_once(fake, trained=True)


def test_a_supervisor_killed_before_it_was_told_of_the_end_leaves_it_to_the_next(fake: FakeRun) -> None:
    fake.start("--wait_at", "3")
    fake.until_step(2)
    fake.kill(fake.supervisor())
    fake.open_gate()
    until(lambda: fake.run.exit_file(1).exists(), what="the exit code")
    assert fake.state().state is RunState.FINISHED  # by the files alone
    assert not fake.state().journaled
    assert fake.state().step == 2
    start(fake.run)
    fake.until_end()
    assert fake.steps == [1, 2, 3, 4, 5]
    assert fake.state().state is RunState.FINISHED


def _bring_to(fake: FakeRun, moment: str) -> str:
    """Start the run and wait until it is at `moment`; the phase of the child that runs then."""
    phase = "prepare" if moment == "prepare" else "train"
    held = {"prepare": 1, "first_step": 1, "training": 4}
    waiting = ("--wait_in", moment) if moment in PHASES else ("--wait_at", str(held[moment]))
    fake.plan(
        fake.fake(
            "--steps", "2", "--phase", "prepare", *(waiting if phase == "prepare" else ()), phase="prepare", lora=False
        ),
        fake.fake("--steps", str(STEPS), *waiting),
    )
    start(fake.run)
    fake.trainer(phase=phase)
    until(lambda: len(_started(fake)) == (1 if phase == "prepare" else 2), what="the child's program to begin")
    if moment == "training":
        fake.until_step(3)
    if moment in PHASES:
        until(lambda: fake.state().phase == moment, what=f"the trainer to be at {moment}")
    return phase


def _started(fake: FakeRun) -> list[str]:
    """The pids of all children whose program began."""
    return fake.starts.read_text(encoding="ascii").split() if fake.starts.exists() else []


def _exactly_once(fake: FakeRun, *, trained: bool) -> None:
    steps = fake.steps
    assert steps == sorted(set(steps))
    assert fake.kinds.count("attempt") == (1 if trained else 0)
    assert fake.kinds.count("end") == 1
    assert len(_started(fake)) == len(list(fake.run.run_dir.glob("process-*.json")))


@pytest.mark.parametrize(
    "seed", [pytest.param(seed, marks=() if seed == 0 else pytest.mark.faults) for seed in range(8)]
)
def test_supervisors_killed_while_they_start_the_trainer_start_it_once(fake: FakeRun, seed: int) -> None:
    chance = random.Random(seed)
    fake.plan(fake.fake("--wait_at", "2"))
    for _ in range(4):
        start(fake.run)
        time.sleep(chance.uniform(0.0, 0.15))  # no condition to wait for: any moment of the start is meant
        supervisor = fake.supervisor()
        if is_alive(supervisor):
            fake.kill(supervisor)
    start(fake.run)
    fake.open_gate()
    fake.until_end()
    assert fake.state().state is RunState.FINISHED
    _exactly_once(fake, trained=True)
