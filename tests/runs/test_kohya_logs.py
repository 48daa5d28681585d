"""Recorded logs of the real sd-scripts under the real supervisor: their events reach the journal once each."""

import gzip
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from fluxgym_tui.backends.kohya.log import KohyaLog
from fluxgym_tui.base.events import ProblemEvent, RunEvent
from fluxgym_tui.runs.commands import ChildCommand
from fluxgym_tui.runs.start import start
from fluxgym_tui.runs.state import RunState
from tests.runs.fake_runs import FakeRun, until

LOGS = Path(__file__).parents[1] / "data/kohya-logs"

# Prints a recorded log, its second half once a file exists, and exits with a code. It trains nothing.
FAKE_KOHYA = """
import gzip, pathlib, sys, time
raw = gzip.decompress(pathlib.Path(sys.argv[1]).read_bytes())
half = len(raw) // 2
sys.stdout.buffer.write(raw[:half])
sys.stdout.buffer.flush()
while not pathlib.Path(sys.argv[2]).exists():
    time.sleep(0.01)
sys.stdout.buffer.write(raw[half:])
sys.stdout.buffer.flush()
sys.exit(int(sys.argv[3]))
"""


def _parsed(log: Path) -> list[RunEvent]:
    """The events of a recorded log, by the parser alone."""
    parser = KohyaLog()
    return parser.feed(gzip.decompress(log.read_bytes())) + parser.close()


def _start(fake: FakeRun, log: Path, *, code: int) -> None:
    argv = (sys.executable, "-c", FAKE_KOHYA, str(log), str(fake.gate), str(code))
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
