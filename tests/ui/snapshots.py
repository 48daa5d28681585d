"""A screen as text: its characters, and below them the style of each; compared with what is kept in __snapshots__.

`FLUXGYM_SNAPSHOTS=write pytest tests/ui/test_snapshots.py` writes them anew; read what changed before you keep it.
"""

import difflib
import os
import re
from itertools import groupby
from pathlib import Path
from string import ascii_letters

import pytest
from rich.cells import cell_len
from textual.app import App
from textual.strip import Strip

KEPT = Path(__file__).with_name("__snapshots__")
HOME = "/home/me/fluxgym"
_SHOWN_LINES = 60


def lines_of(app: App[None]) -> list[Strip]:
    """The lines of the terminal as the app fills it now."""
    return app.screen._compositor.render_strips()


def page(app: App[None], *, root: Path) -> str:
    """What is kept of a screen; `root`, the workspace, is written as `HOME`, a path of the same length.

    The characters come first. Then a line of looks for each of them, in short: `a12 b3` for twelve cells of style a
    and three of style b. Then what the styles are.
    """
    strips = lines_of(app)
    signs: dict[str, str] = {}
    looks = []
    for strip in strips:
        cells = [(str(style), cell_len(text)) for text, style, control in strip if not control]
        for words, _ in cells:
            signs.setdefault(words, _sign(len(signs)))
        runs = [
            (sign, sum(width for _, width in same)) for sign, same in groupby(cells, key=lambda cell: signs[cell[0]])
        ]
        looks.append(" ".join(f"{sign}{width}" for sign, width in runs))
    text = "\n".join(strip.text.rstrip() for strip in strips)
    legend = [f"{sign}  {words}" for words, sign in signs.items()]
    return "\n".join([_at_home(text, root), "", *looks, "", *legend, ""])


def _sign(number: int) -> str:
    """a, b, ... Z, aa, ba, ...: the name of a style."""
    first = ascii_letters[number % len(ascii_letters)]
    return first if number < len(ascii_letters) else first + _sign(number // len(ascii_letters) - 1)


def _at_home(text: str, root: Path) -> str:
    """`root`, whole or cut at its end, as `HOME`: what was drawn by lot is at the end of it."""
    assert len(str(root)) == len(HOME)
    by_lot = 8
    return re.sub(re.escape(str(root)[:-by_lot]) + rf"\w{{0,{by_lot}}}", lambda found: HOME[: len(found.group())], text)


def check(app: App[None], name: str, *, root: Path) -> None:
    """Compare the screen with the page `name`, or write it where the environment asks for that."""
    file = KEPT / f"{name}.txt"
    now = page(app, root=root)
    if os.environ.get("FLUXGYM_SNAPSHOTS") == "write":
        KEPT.mkdir(exist_ok=True)
        file.write_text(now, encoding="utf-8")
        return
    before = file.read_text(encoding="utf-8") if file.exists() else ""
    if now != before:
        changed = difflib.unified_diff(before.splitlines(), now.splitlines(), str(file), "now", lineterm="", n=1)
        pytest.fail("\n".join(list(changed)[:_SHOWN_LINES]))
