"""What a supervisor costs while a trainer makes 10 steps a second, and how fast the journal is written and summed up.

`python scripts/bench/runs.py [SECONDS]` prints the rows; `make bench` puts them into docs/performance.md.
"""

import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from rows import Row

from fluxgym_tui.base.events import StepEvent
from fluxgym_tui.machine.processes import cpu_seconds, resident_bytes
from fluxgym_tui.runs.commands import ChildCommand, CommandPlan, write_plan
from fluxgym_tui.runs.control import request_stop
from fluxgym_tui.runs.directory import RunDirectory, create
from fluxgym_tui.runs.fold import load_fold
from fluxgym_tui.runs.follow import follow
from fluxgym_tui.runs.journal import Entry, JournalWriter
from fluxgym_tui.runs.start import start

# It makes steps and events at any rate, and computes nothing: what is measured here is the supervisor beside it.
_FAKE_TRAINER = Path(__file__).parents[2] / "tests/runs/fake_trainer.py"
_STEPS_PER_S = 10
_EVENTS = 50_000
_WARM_UP_S = 2.0


def measure_supervisor(*, seconds: float = 10.0) -> list[Row]:
    """CPU (percent of one core) and resident memory (MB) of a supervisor over `seconds` of a running training."""
    with tempfile.TemporaryDirectory() as folder:
        run = create(Path(folder), "bench")
        steps = int((seconds + _WARM_UP_S + 60) * _STEPS_PER_S)
        argv = (sys.executable, str(_FAKE_TRAINER), "--steps", str(steps), "--step_s", str(1 / _STEPS_PER_S))
        write_plan(run, CommandPlan(children=(ChildCommand(phase="train", argv=argv, cwd=run.output_dir),)))
        pid = start(run)
        try:
            _wait_for_step(run)
            time.sleep(_WARM_UP_S)
            begun, used = time.perf_counter(), cpu_seconds(pid)
            time.sleep(seconds)
            now = cpu_seconds(pid)
            elapsed = time.perf_counter() - begun
            memory = resident_bytes(pid)
        finally:
            request_stop(run)
            for _ in follow(run, from_start=False, poll_s=0.05):
                pass
    if used is None or now is None or memory is None:
        raise SystemExit("the supervisor ended while it was measured")
    percent = 100 * (now - used) / elapsed
    floor_percent = 100 * _copying_seconds() * _STEPS_PER_S
    floor_mb = _bare_asyncio_bytes() / 1e6
    return [
        Row(
            "supervisor at 10 steps/s, CPU",
            percent,
            floor_percent,
            "% of a core",
            "parsing and appending the same lines",
            "<= 1 %",
            percent <= 1.0,
        ),
        Row(
            "supervisor, resident",
            memory / 1e6,
            floor_mb,
            "MB",
            "Python that imported asyncio",
            "<= 60 MB",
            memory <= 60e6,
        ),
    ]


def measure_journal(*, events: int = _EVENTS) -> list[Row]:
    """Microseconds an event to append (in batches of 10) and to sum up, against JSON alone."""
    entries = [
        Entry(StepEvent(time=1.8e9 + step, step=step, total=events, loss=0.4, lr=8e-4), "trainer-001.jsonl", step)
        for step in range(events)
    ]
    with tempfile.TemporaryDirectory() as folder:
        run = create(Path(folder), "bench")
        writer = JournalWriter(run.events)
        begun = time.perf_counter()
        for first in range(0, events, 10):
            writer.append(entries[first : first + 10])
        append_s = time.perf_counter() - begun
        writer.close()
        begun = time.perf_counter()
        fold = load_fold(run)
        sum_s = time.perf_counter() - begun
        assert fold.step == events - 1
        lines = run.events.read_bytes().splitlines()
    begun = time.perf_counter()
    rows = [json.loads(line) for line in lines]
    load_s = time.perf_counter() - begun
    begun = time.perf_counter()
    for row in rows:
        json.dumps(row)
    dump_s = time.perf_counter() - begun
    scale = 1e6 / events
    return [
        Row("journal, append", append_s * scale, dump_s * scale, "µs/event", "json.dumps", "none set", True),
        Row("journal, sum up", sum_s * scale, load_s * scale, "µs/event", "json.loads", "none set", True),
    ]


def _wait_for_step(run: RunDirectory) -> None:
    for event in follow(run, poll_s=0.05):
        if event.kind == "step":
            return
    raise SystemExit(f"the training ended before its first step; see {run.run_dir}")


def _copying_seconds(*, lines: int = 2000) -> float:
    """Seconds that parsing and appending one event's line takes at least."""
    line = StepEvent(time=1.8e9, step=1, total=9, loss=0.4, lr=8e-4).to_line().encode()
    with tempfile.TemporaryFile() as file:
        begun = time.process_time()
        for _ in range(lines):
            os.write(file.fileno(), json.dumps(json.loads(line)).encode())
        return (time.process_time() - begun) / lines


def _bare_asyncio_bytes() -> int:
    """What a Python that has imported asyncio holds resident."""
    program = "import asyncio, sys; print(flush=True); sys.stdin.read()"
    with subprocess.Popen([sys.executable, "-c", program], stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        process.stdout.readline()
        resident = resident_bytes(process.pid)
        process.communicate()
    if resident is None:
        raise SystemExit("a process that was to be measured ended")
    return resident


def main() -> None:
    """Print all rows."""
    seconds = float(sys.argv[1]) if len(sys.argv) > 1 else 10.0
    for row in [*measure_supervisor(seconds=seconds), *measure_journal()]:
        verdict = "" if row.within else "  OVER BUDGET"
        print(
            f"{row.what:32} {row.figure:8.2f} {row.unit:12} floor {row.floor:6.2f} ({row.floor_is}), "
            f"ratio {row.ratio:.1f}, budget {row.budget}{verdict}"
        )


if __name__ == "__main__":
    main()
