"""What keys cost on a real terminal: 10,000 pictures, 500 runs, 1,000,000 lines of log, and from screen to screen.

`python scripts/bench/keys.py` prints the rows and every key; `make bench` puts the rows into docs/performance.md.

The figure of a row is its worst key: what the app's event loop (its main thread) computes from the press until it
rests again, in milliseconds of CPU. Load on the machine does not count, nor does what threads do beside it.
"""

import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from contextlib import contextmanager
from pathlib import Path

from rows import Row
from scan import make_pictures

ROOT = Path(__file__).parents[2]
sys.path.insert(0, str(ROOT))  # runs written as files, and terminals, are the tests'

from fluxgym_tui.runs.directory import RunDirectory  # noqa: E402
from tests.ui.terminal import Terminal  # noqa: E402
from tests.ui.written_runs import write_run  # noqa: E402

_BUDGET_MS = 100.0
_PICTURES = 10_000
_RUNS = 500
_LINES = 1_000_000
_REST_S = 0.35  # longer than what redraws by itself takes from one time to the next
_PATIENCE_S = 60.0
_DOWN, _PAGE_DOWN, _ESCAPE = "\x1b[B", "\x1b[6~", "\x1b"

DATASET_KEYS = (*"jkGgGg", _PAGE_DOWN, " ", "*", "*", "]", "[", "f", "f", "f", "f", "/", *"pic", _ESCAPE, _ESCAPE)
RUNS_KEYS = (*"jkGgGg", _PAGE_DOWN, " ", " ", "r")
LOG_KEYS = (*"kGgGjk", _PAGE_DOWN, "w", "w", "/", *"step 99", "\r", *"nnNG")
SCREEN_KEYS = tuple("23456781" * 2)


class Loop:
    """The event loop of an app in a terminal: how long it has computed."""

    def __init__(self, terminal: Terminal) -> None:
        self._terminal = terminal
        self._times = Path(f"/proc/{terminal.pid}/task/{terminal.pid}/schedstat")

    def used_ms(self) -> float:
        """CPU time of the main thread, to the microsecond."""
        return int(self._times.read_text().split()[0]) / 1e6

    def rest(self) -> float:
        """Read what is drawn until the loop has nothing to do; the CPU time it has used then."""
        deadline = time.monotonic() + _PATIENCE_S
        before = self.used_ms()
        while time.monotonic() < deadline:
            self._terminal.read_for(_REST_S)
            now = self.used_ms()
            if now - before < _idle_ms():
                return now
            before = now
        raise SystemExit("the app never came to rest")

    def press(self, key: str) -> float:
        """What the loop computes because of `key`, in milliseconds."""
        before = self.rest()
        self._terminal.press(key)
        return self.rest() - before


def _idle_ms() -> float:
    """What a loop at rest may use in `_REST_S`: its timers and a cursor that blinks."""
    return 20.0 * _REST_S


@contextmanager
def opened(home: Path, *arguments: str, until: str):  # type: ignore[no-untyped-def]
    """The app on a terminal of 120x40, once it shows `until`."""
    terminal = Terminal(
        [sys.executable, "-m", "fluxgym_tui", *arguments],
        env={"FLUXGYM_HOME": str(home), "XDG_CONFIG_HOME": str(home)},
        columns=120,
        rows=40,
    )
    try:
        terminal.until(until)
        loop = Loop(terminal)
        loop.rest()
        yield loop
    finally:
        terminal.close(kill=True)


def worst(loop: Loop, keys: Sequence[str]) -> tuple[float, str, list[tuple[str, float]]]:
    """The dearest of `keys`, pressed in their order; and what each of them cost."""
    costs = [(key, loop.press(key)) for key in keys]
    key, cost = max(costs, key=lambda pair: pair[1])
    return cost, key, costs


def _row(what: str, keys: Sequence[str], *, many: Callable[[], Loop], few: Callable[[], Loop], floor_is: str) -> Row:
    with few() as loop:
        floor, _, _ = worst(loop, keys)
    with many() as loop:
        figure, key, costs = worst(loop, keys)
    told = " ".join(f"{_name(pressed)}:{cost:.0f}" for pressed, cost in costs)
    print(f"  {what}: {told}", file=sys.stderr)
    return Row(
        f"{what}, the worst key ({_name(key)})", figure, floor, "ms CPU", floor_is, "<= 100 ms", figure <= _BUDGET_MS
    )


def _name(key: str) -> str:
    return {_DOWN: "down", _PAGE_DOWN: "pgdn", _ESCAPE: "esc", " ": "space", "\r": "enter"}.get(key, key)


def measure_pictures() -> list[Row]:
    """Keys of the Dataset screen."""
    with tempfile.TemporaryDirectory() as name:
        home = Path(name)
        for number in (_PICTURES, 10):
            folder = home / f"pictures-{number}"
            folder.mkdir()
            make_pictures(folder, number)

        def show(number: int):  # type: ignore[no-untyped-def]
            return opened(home, str(home / f"pictures-{number}"), until=f"{number:,} pictures")

        return [
            _row(f"keys among {_PICTURES:,} pictures", DATASET_KEYS, many=lambda: show(_PICTURES),
                 few=lambda: show(10), floor_is="among 10 pictures")
        ]  # fmt: skip


def measure_runs() -> list[Row]:
    """Keys of the Runs screen."""
    with tempfile.TemporaryDirectory() as name:
        homes = {number: Path(name) / str(number) for number in (_RUNS, 2)}
        for number, home in homes.items():
            for run in range(number):
                write_run(home / "outputs", f"run-{run}", steps=10, total=10)

        @contextmanager
        def show(number: int):  # type: ignore[no-untyped-def]
            with opened(homes[number], until="Train a FLUX LoRA") as loop:
                loop.press("8")
                yield loop

        return [
            _row(f"keys among {_RUNS} runs", RUNS_KEYS, many=lambda: show(_RUNS), few=lambda: show(2),
                 floor_is="among 2 runs")
        ]  # fmt: skip


def measure_log_keys() -> list[Row]:
    """Keys of the Live screen over a long log."""
    with tempfile.TemporaryDirectory() as name:
        homes = {number: Path(name) / str(number) for number in (_LINES, 100)}
        for number, home in homes.items():
            _run_with_log(home, number)

        @contextmanager
        def show(number: int):  # type: ignore[no-untyped-def]
            with opened(homes[number], until="Train a FLUX LoRA") as loop:
                loop.press("8")
                loop.press("\r")
                yield loop

        return [
            _row(f"keys over a log of {_LINES:,} lines", LOG_KEYS, many=lambda: show(_LINES), few=lambda: show(100),
                 floor_is="over 100 lines")
        ]  # fmt: skip


def _run_with_log(home: Path, lines: int) -> RunDirectory:
    run = write_run(home / "outputs", "bench", steps=1000, total=1000)
    with run.log(1).open("w", encoding="ascii") as file:
        file.writelines(
            f"WARNING {number}\n" if number % 1000 == 0 else f"INFO step {number}/{lines} avr_loss=0.1234\n"
            for number in range(lines)
        )
    return run


def measure_screens() -> list[Row]:
    """Going from screen to screen, the first time and again, with 500 runs and a plan."""
    with tempfile.TemporaryDirectory() as name:
        home = Path(name)
        for run in range(_RUNS):
            write_run(home / "outputs", f"run-{run}", steps=10, total=10)
        photos = home / "photos"
        photos.mkdir()
        make_pictures(photos, 30)
        with opened(home, str(photos), until="30 pictures") as loop:
            first = [(key, loop.press(key)) for key in SCREEN_KEYS[:8]]
            again = [(key, loop.press(key)) for key in SCREEN_KEYS[8:]]
    rows = []
    for what, costs in (("a screen for the first time", first), ("a screen again", again)):
        print(f"  {what}: {' '.join(f'{key}:{cost:.0f}' for key, cost in costs)}", file=sys.stderr)
        key, figure = max(costs, key=lambda pair: pair[1])
        floor = min(cost for _, cost in costs)
        rows.append(
            Row(f"{what}, the worst ({key})", figure, floor, "ms CPU", "the cheapest screen", "<= 100 ms",
                figure <= _BUDGET_MS)
        )  # fmt: skip
    return rows


MEASURES = (measure_pictures, measure_runs, measure_log_keys, measure_screens)

if __name__ == "__main__":
    for measured in MEASURES:
        for row in measured():
            print(f"{row.what}: {row.figure:.3g} {row.unit}, {row.ratio:.2f}x of {row.floor_is} ({row.budget})")
