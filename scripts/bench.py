"""Measure the speed budgets of docs/architecture.md and write docs/performance.md: figure, floor and ratio of each.

`python scripts/bench.py [--print]`: with --print the page is printed and nothing is written.
"""

import argparse
import os
import platform
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent / "bench"))

import app
import keys
from rows import Row
from runs import measure_journal, measure_supervisor
from scan import measure_memory, measure_scan
from start import measure_start
from widths import measure_widths

PAGE = Path(__file__).parent.parent / "docs/performance.md"
HEAD = """\
# Speed

Written by `make bench` on the machine named below. A figure means little by itself: the ratio to its floor, which is
measured in the same run, is what carries over to other machines. Times are CPU times, medians of several rounds,
unless they say otherwise.

Machine: {machine}

| what | figure | floor | ratio | budget | |
|---|---|---|---|---|---|
"""


def page(rows: list[Row]) -> str:
    """The page for `rows`."""
    return HEAD.format(machine=_machine()) + "".join(_line(row) for row in rows)


def _line(row: Row) -> str:
    figure, floor = (f"{value:.3g} {row.unit}" for value in (row.figure, row.floor))
    kept = "" if row.budget == "none set" else ("kept" if row.within else "**missed**")
    return f"| {row.what} | {figure} | {floor}: {row.floor_is} | {row.ratio:.2f} | {row.budget} | {kept} |\n"


def _machine() -> str:
    name = platform.processor() or platform.machine()
    info = Path("/proc/cpuinfo")
    if info.is_file():
        models = [
            line.partition(":")[2].strip() for line in info.read_text().splitlines() if line.startswith("model name")
        ]
        name = models[0] if models else name
    return (
        f"{name}, {os.cpu_count()} cores, {platform.system()} {platform.release()}, Python {platform.python_version()}"
    )


def main() -> int:
    """Measure, write, and fail where a budget is missed."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--print", action="store_true", help="print the page, write nothing")
    arguments = parser.parse_args()
    rows: list[Row] = []
    for measure in (
        *(measure_start, measure_scan, measure_memory, measure_supervisor, measure_journal),
        *(*app.MEASURES, *keys.MEASURES, measure_widths),
    ):
        print(f"{measure.__name__} ...", file=sys.stderr)
        rows += measure()
    text = page(rows)
    if arguments.print:
        sys.stdout.write(text)
    else:
        PAGE.write_text(text, encoding="utf-8")
        print(f"wrote {PAGE.relative_to(Path.cwd())}" if PAGE.is_relative_to(Path.cwd()) else f"wrote {PAGE}")
    missed = [row.what for row in rows if not row.within]
    if missed:
        print(f"missed: {', '.join(missed)}", file=sys.stderr)
    return 1 if missed else 0


if __name__ == "__main__":
    sys.exit(main())
