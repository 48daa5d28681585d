"""Recorded logs of the real sd-scripts under the real supervisor: their events reach the journal once each."""

import gzip
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from fluxgym_tui.backends.kohya.log import KohyaLog
from fluxgym_tui.base.events import ProblemEvent, RunEvent, StepEvent
from fluxgym_tui.runs.commands import ChildCommand
from fluxgym_tui.runs.start import start
from fluxgym_tui.runs.state import RunState
from tests.backends.kohya.event_files import write_event_file
from tests.runs.fake_runs import FakeRun, until

LOGS = Path(__file__).parents[1] / "data/kohya-logs"

# Prints a recorded log, its second half once a file exists, and exits with a code. It trains nothing. Where it is given
# an event file, it puts the first half of that into its logging folder at once, the rest at its end.
FAKE_KOHYA = """
import gzip, pathlib, sys, time
raw = gzip.decompress(pathlib.Path(sys.argv[1]).read_bytes())
half = len(raw) // 2
events, told = b"", None
if len(sys.argv) > 4:
    events = pathlib.Path(sys.argv[4]).read_bytes()
    told = pathlib.Path(sys.argv[6]) / f"20261123063415/network_train/events.out.tfevents.{int(time.time())}.h.1.0"
    told.parent.mkdir(parents=True)
    told.write_bytes(events[:len(events) // 2])
sys.stdout.buffer.write(raw[:half])
sys.stdout.buffer.flush()
while not pathlib.Path(sys.argv[2]).exists():
    time.sleep(0.01)
sys.stdout.buffer.write(raw[half:])
sys.stdout.buffer.flush()
if told is not None:
    told.write_bytes(events)
sys.exit(int(sys.argv[3]))
"""


def _parsed(log: Path) -> list[RunEvent]:
    """The events of a recorded log, by the parser alone."""
    parser = KohyaLog()
    return parser.feed(gzip.decompress(log.read_bytes())) + parser.close()


def _start(fake: FakeRun, log: Path, *, code: int, more: tuple[str, ...] = ()) -> None:
    argv = (sys.executable, "-c", FAKE_KOHYA, str(log), str(fake.gate), str(code), *more)
    fake.plan(ChildCommand(phase="train", argv=argv, cwd=fake.run.output_dir, log_format="kohya"))
    start(fake.run)


def test_a_log_is_read_to_its_end_whoever_supervises(fake: FakeRun) -> None:
    log = LOGS / "ok_pipe.raw.gz"
    _start(fake, log, code=0)
    until(lambda: fake.steps, what="the first steps")
    fake.kill(fake.supervisor())
    start(fake.run)
    fake.open_gate()
    fake.until_end()
    own = {"attempt", "end", "problem"}
    copied = [replace(event, time=0.0) for event in fake.events if event.kind not in own]
    assert copied == [event for event in _parsed(log) if event.kind not in own]
    assert all(event.time > 1e9 for event in fake.events)
    state = fake.state()
    assert state.step == state.total
    assert state.state is RunState.FAILED  # no LoRA came of a recording
    assert "was not written" in str(state.reason)


@pytest.mark.parametrize("name", ["fail_oom_simulated_pipe", "fail_bad_flag_pipe"])
def test_a_failure_is_told_in_the_parsers_words(fake: FakeRun, name: str) -> None:
    log = LOGS / f"{name}.raw.gz"
    expected = next(event for event in _parsed(log) if isinstance(event, ProblemEvent))
    fake.open_gate()
    _start(fake, log, code=1)
    fake.until_end()
    problems = [event for event in fake.events if isinstance(event, ProblemEvent)]
    assert [problem.title for problem in problems] == [expected.title]
    state = fake.state()
    assert (state.state, state.exit_code, state.reason, state.fix) == (RunState.FAILED, 1, expected.title, expected.fix)


def test_the_trackers_losses_reach_the_journal_once_each_whoever_supervises(fake: FakeRun, tmp_path: Path) -> None:
    losses = [1 / step for step in range(1, 25)]
    events = write_event_file(tmp_path / "made", losses, begun=1, prefix="")
    _start(fake, LOGS / "ok_pipe.raw.gz", code=0, more=(str(events), "--logging_dir", str(tmp_path / "logs")))
    until(lambda: len(set(fake.steps)) < len(fake.steps), what="a step that is told twice")
    fake.kill(fake.supervisor())
    start(fake.run)
    fake.open_gate()
    fake.until_end()
    steps = [event for event in fake.events if isinstance(event, StepEvent)]
    told = [(event.step, round(event.loss, 6)) for event in steps if event.loss is not None]
    assert told == [(step, round(loss, 6)) for step, loss in enumerate(losses, start=1)]
    assert [event.step for event in steps if event.avg_loss is not None] == list(range(1, 25))
    state = fake.state()
    assert (state.step, state.lr) == (24, 8e-4)
