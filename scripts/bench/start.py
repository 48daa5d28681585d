"""What starting the program costs, in CPU: commands that must be light against Python itself.

`python scripts/bench/start.py` prints the rows; `make bench` puts them into docs/performance.md.
"""

import statistics
import subprocess
import sys
import tempfile

from rows import Row, children_ms

_ROUNDS = 9


def measure_start(*, rounds: int = _ROUNDS) -> list[Row]:
    """CPU milliseconds (medians of `rounds`, taken in turn) of whole processes."""
    with tempfile.TemporaryDirectory() as workspace:
        commands = {
            "python -c pass": ["-c", "pass"],
            "--version": ["-m", "fluxgym_tui", "--version"],
            "--help": ["-m", "fluxgym_tui", "--help"],
            "runs, empty workspace": ["-m", "fluxgym_tui", "runs", "--workspace", workspace],
        }
        taken: dict[str, list[float]] = {name: [] for name in commands}
        for _ in range(rounds):
            for name, arguments in commands.items():
                taken[name].append(_cpu_ms([sys.executable, *arguments]))
    medians = {name: statistics.median(values) for name, values in taken.items()}
    floor = medians.pop("python -c pass")
    return [
        Row(f"start, {name}", ms, floor, "ms CPU", "python -c pass", "none set", True) for name, ms in medians.items()
    ]


def _cpu_ms(command: list[str]) -> float:
    """User and system time of one process and its children."""
    before = children_ms()
    subprocess.run(command, stdout=subprocess.DEVNULL, check=True)
    return children_ms() - before


if __name__ == "__main__":
    for row in measure_start():
        print(f"{row.what}: {row.figure:.0f} {row.unit}, {row.ratio:.2f}x of {row.floor_is}")
