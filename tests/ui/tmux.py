"""A terminal as users have it: a pane of a tmux server of its own, which can be killed with all that is in it."""

import os
import shlex
import shutil
import subprocess
import tempfile
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

import pytest

from tests.ui.terminal import Terminal

PATIENCE_S = 120.0
_KEYS = {"\x12": "C-r", "\r": "Enter", "\x1b": "Escape"}


class TmuxPane:
    """Runs `argv` in a pane of `columns` by `rows`, on a new tmux server that reads nobody's settings."""

    def __init__(self, argv: Sequence[str], *, env: Mapping[str, str], columns: int = 100, rows: int = 30) -> None:
        # Not below the test's own folder: the path of a socket has at most 107 bytes.
        self._folder = Path(tempfile.mkdtemp(prefix="fg-tmux-"))
        said = " ".join(f"{name}={shlex.quote(value)}" for name, value in env.items())
        self._tmux("new-session", "-d", "-x", str(columns), "-y", str(rows), f"exec env {said} {shlex.join(argv)}")

    def _tmux(self, *words: str) -> str:
        env = {name: value for name, value in os.environ.items() if name not in ("TMUX", "TMUX_PANE")}
        settings = "/dev/null"
        done = subprocess.run(
            ["tmux", "-u", "-L", "fluxgym", "-f", settings, *words],
            env={**env, "TMUX_TMPDIR": str(self._folder), "TERM": "screen-256color"},
            capture_output=True,
            text=True,
            encoding="utf-8",
            check=False,
        )
        return done.stdout

    @property
    def text(self) -> str:
        """What the pane shows now."""
        return self._tmux("capture-pane", "-p")

    def until(self, text: str) -> None:
        """Wait until the pane shows `text`; fails the test where it never does."""
        deadline = time.monotonic() + PATIENCE_S
        while text not in self.text:
            if time.monotonic() > deadline:
                pytest.fail(f"the pane never showed {text!r}; it shows: {self.text}")
            time.sleep(0.1)

    def press(self, keys: str) -> None:
        """Type `keys`."""
        for key in keys:
            self._tmux("send-keys", *([_KEYS[key]] if key in _KEYS else ["-l", key]))

    def close(self) -> None:
        """Kill the server: the pane's programs get SIGHUP, and their terminal is gone."""
        self._tmux("kill-server")
        shutil.rmtree(self._folder, ignore_errors=True)


def open_terminal(argv: Sequence[str], *, env: Mapping[str, str]) -> "TmuxPane | Terminal":
    """A pane of tmux where there is tmux, else a pty: the same can be asked of both."""
    return TmuxPane(argv, env=env) if shutil.which("tmux") else Terminal(argv, env=env)
