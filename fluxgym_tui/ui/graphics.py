"""Whether the terminal draws pictures in pixels, and how: it is asked before the app begins."""

import os
import re
import select
import termios
import time
import tty
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

_PATIENCE_S = 1.0
# A picture of one pixel by Kitty's protocol, asked for and not shown; a cell's size in pixels; what the terminal is.
# Every terminal answers the last one, so that its answer says that there is nothing more to wait for.
_QUESTION = b"\x1b_Gi=31,s=1,v=1,a=q,t=d,f=24;AAAA\x1b\\\x1b[16t\x1b[c"
_LAST_ANSWER = re.compile(rb"\x1b\[\?([\d;]*)c")
_CELL = re.compile(rb"\x1b\[6;(\d+);(\d+)t")
_SIXEL = b"4"
# Inside a multiplexer the answer would be its own, and pictures would stay where it has drawn something else since.
_NEVER = ("screen", "tmux", "linux", "dumb", "vt")


@dataclass(frozen=True, slots=True)
class Graphics:
    """How pictures are drawn: by Kitty's protocol and its placeholders, or Sixel; a cell's size in pixels."""

    kind: Literal["kitty", "sixel"]
    cell_width: int
    cell_height: int


class Question:
    """A question on its way to the terminal `tty_fd`; modules can load until `answer` is called."""

    def __init__(self, tty_fd: int) -> None:
        self._fd = tty_fd
        self._mode = termios.tcgetattr(tty_fd)
        self._asked_s = time.monotonic()
        tty.setcbreak(tty_fd, termios.TCSANOW)  # else the answer would be seen, and come with the next Enter
        os.write(tty_fd, _QUESTION)

    def answer(self) -> Graphics | None:
        """What the terminal answers; None where it draws no pictures, or says nothing within a second."""
        said = b""
        try:
            while not _LAST_ANSWER.search(said):
                left_s = max(0.0, self._asked_s + _PATIENCE_S - time.monotonic())  # what has come is read however late
                if not select.select([self._fd], [], [], left_s)[0]:
                    return None
                read = os.read(self._fd, 1024)
                if not read:
                    return None
                said += read
        finally:
            termios.tcsetattr(self._fd, termios.TCSANOW, self._mode)
        return understood(said)


def ask(tty_fd: int, *, env: Mapping[str, str]) -> Question | None:
    """Ask the terminal; None where that is not to be asked: in a multiplexer, or on a plain console."""
    term = env.get("TERM", "")
    if "TMUX" in env or "STY" in env or not term or term.startswith(_NEVER):
        return None
    try:
        return Question(tty_fd)
    except (termios.error, OSError):
        return None


def understood(said: bytes) -> Graphics | None:
    """What an answer means.

    Sixel comes first where both are there: WezTerm and Konsole speak Kitty's protocol, but not its placeholders. Kitty
    and Ghostty have no Sixel.
    """
    last = _LAST_ANSWER.search(said)
    if last is None:
        return None
    cell = _CELL.search(said)
    height, width = (int(cell[1]), int(cell[2])) if cell is not None else (20, 10)
    if not (1 <= width <= 200 and 1 <= height <= 400):
        return None
    if _SIXEL in last[1].split(b";"):
        return Graphics("sixel", width, height)
    return Graphics("kitty", width, height) if b"\x1b_Gi=31;OK\x1b\\" in said else None
