"""What the app costs: first paint, a log of a million lines, the loss chart, and bytes to the terminal.

`python scripts/bench/app.py` prints the rows; `make bench` puts them into docs/performance.md.
"""

import asyncio
import math
import os
import re
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Mapping
from pathlib import Path

from rows import Row, children_ms

ROOT = Path(__file__).parents[2]
sys.path.insert(0, str(ROOT))  # runs written as files, and terminals, are the tests'

from fluxgym_tui.runs.commands import ChildCommand, CommandPlan, write_plan  # noqa: E402
from fluxgym_tui.runs.control import request_stop  # noqa: E402
from fluxgym_tui.runs.directory import create  # noqa: E402
from fluxgym_tui.runs.start import start  # noqa: E402
from fluxgym_tui.ui.log_index import LogIndex  # noqa: E402
from fluxgym_tui.ui.run_history import Curve  # noqa: E402
from fluxgym_tui.ui.widgets.loss_chart import Line, LossChart  # noqa: E402
from tests.ui.terminal import Terminal  # noqa: E402

_ROUNDS = 9
_LINES = 1_000_000
_POINTS = 10_000
_LIVE_S = 10.0
_PAINT_RATIO = 2.0


def measure_first_paint() -> list[Row]:
    """CPU of the app on a real terminal until its first frame stands, empty workspace, against importing Textual.

    Both find their modules compiled, as an installed program does; the environment may forbid to write them down.
    """
    figures, floors = [], []
    with tempfile.TemporaryDirectory() as compiled:
        env = {**os.environ, "PYTHONDONTWRITEBYTECODE": "", "PYTHONPYCACHEPREFIX": compiled}
        for _ in range(1 + _ROUNDS):
            floors.append(
                _children_ms(lambda: subprocess.run([sys.executable, "-c", "import textual.app"], check=True, env=env))
            )
            figures.append(_children_ms(lambda: _paint_once(env)))
    figure, floor = statistics.median(figures[1:]), statistics.median(floors[1:])  # the first ones compile
    return [
        Row("first paint, empty workspace", figure, floor, "ms CPU", "import textual.app", f"<= {_PAINT_RATIO}x",
            figure <= _PAINT_RATIO * floor)
    ]  # fmt: skip


def _paint_once(env: Mapping[str, str]) -> None:
    with tempfile.TemporaryDirectory() as home:
        terminal = Terminal(
            [sys.executable, "-m", "fluxgym_tui"],
            env={**env, "FLUXGYM_HOME": home, "XDG_CONFIG_HOME": home},
            columns=120,
            rows=40,
        )
        terminal.until("Runs")
        terminal.close(kill=True)


def _children_ms(work: Callable[[], object]) -> float:
    before = children_ms()
    work()
    return children_ms() - before


def measure_log() -> list[Row]:
    """Indexing a log of a million lines, errors found, and the memory it takes."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "train-001.log"
        with path.open("w", encoding="ascii") as file:
            file.writelines(f"INFO step {number}/{_LINES} avr_loss=0.1234\n" for number in range(_LINES))
        begun = time.process_time()
        index = LogIndex(path)
        while index.grow():
            pass
        seconds = time.process_time() - begun
        begun = time.process_time()
        count = path.read_bytes().count(b"\n")
        floor = time.process_time() - begun
        index.close()
    assert index.lines == count == _LINES
    memory = (index.starts.buffer_info()[1] * index.starts.itemsize + sys.getsizeof(index.bad)) / _LINES
    return [
        Row(
            "log, 1,000,000 lines opened", seconds, floor, "s CPU", "read it and count its lines", "< 1 s", seconds < 1
        ),
        Row("log, memory beyond the file", memory, 8.0, "B/line", "one offset a line", "<= 200 B/line", memory <= 200),
    ]


def measure_chart() -> list[Row]:
    """The whole loss chart at 120x40 drawn anew from 10,000 points, raw and smoothed."""
    curve = Curve()
    for step in range(1, _POINTS + 1):
        curve.put(step, 0.3 + 0.1 * math.sin(step * 7.1) + 1 / step)
    return asyncio.run(_chart_rows(curve))


async def _chart_rows(curve: Curve) -> list[Row]:
    from textual.app import App

    chart = LossChart()

    class Alone(App[None]):
        def compose(self):  # type: ignore[no-untyped-def]
            yield chart

    async with Alone().run_test(size=(120, 40)):
        chart.show([Line("smoothed", curve)])
        figures = []
        for _ in range(20):
            curve.version += 1
            begun = time.process_time()
            for y in range(chart.size.height):
                chart.render_line(y)
            figures.append(1000 * (time.process_time() - begun))
    begun = time.process_time()
    for values in (curve.raw, curve.smooth):
        for begin in range(0, _POINTS, _POINTS // 224):
            part = values[begin : begin + _POINTS // 224]
            min(part), max(part)
    floor = 1000 * (time.process_time() - begun)
    figure = statistics.median(figures)
    return [
        Row("loss chart, 10,000 points redrawn", figure, floor, "ms CPU", "least and greatest of each column",
            "<= 25 ms", figure <= 25)
    ]  # fmt: skip


def measure_live_bytes() -> list[Row]:
    """Bytes to a terminal of 120x40 while a run makes 50 steps a second."""
    with tempfile.TemporaryDirectory() as home:
        run = create(Path(home) / "outputs", "bench")
        fake = str(ROOT / "tests/runs/fake_trainer.py")
        argv = (sys.executable, fake, "--steps", "5000", "--step_s", "0.02")
        write_plan(run, CommandPlan(children=(ChildCommand(phase="train", argv=argv, cwd=run.output_dir),)))
        start(run)
        try:
            terminal = Terminal(
                [sys.executable, "-m", "fluxgym_tui"],
                env={"FLUXGYM_HOME": home, "XDG_CONFIG_HOME": home},
                columns=120,
                rows=40,
            )
            terminal.until("running")
            terminal.read_for(2.0)
            before = len(terminal.raw)
            terminal.read_for(_LIVE_S)
            figure = (len(terminal.raw) - before) / _LIVE_S / 1000
            text = re.sub(rb"\x1b\[[0-9;?]*[a-zA-Z]", b"", terminal.raw[before:])
            terminal.close(kill=True)
        finally:
            request_stop(run)
    return [
        Row("Live at 120x40, to the terminal", figure, len(text) / _LIVE_S / 1000, "kB/s", "its characters alone",
            "<= 80 kB/s", figure <= 80)
    ]  # fmt: skip


MEASURES = (measure_first_paint, measure_log, measure_chart, measure_live_bytes)

if __name__ == "__main__":
    for measured in MEASURES:
        for row in measured():
            print(f"{row.what}: {row.figure:.3g} {row.unit}, {row.ratio:.2f}x of {row.floor_is} ({row.budget})")
