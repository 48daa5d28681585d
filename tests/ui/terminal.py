"""A terminal of its own for one program: a pty, closed as an SSH connection that breaks closes it."""

import contextlib
import fcntl
import os
import pty
import re
import select
import signal
import struct
import termios
import time
from collections.abc import Mapping, Sequence

import pytest

PATIENCE_S = 60.0
_ESCAPES = re.compile(rb"\x1b(?:\[[0-9;:?<>=]*[a-zA-Z]|[()][0-9A-B]|[>=78])")


class Terminal:
    """Runs `argv` on a new terminal of `columns` by `rows`."""

    def __init__(self, argv: Sequence[str], *, env: Mapping[str, str], columns: int = 100, rows: int = 30) -> None:
        self.pid, self._master = pty.fork()
        if self.pid == 0:
            os.execve(argv[0], list(argv), {**os.environ, "TERM": "screen-256color", **env})
        fcntl.ioctl(self._master, termios.TIOCSWINSZ, struct.pack("HHHH", rows, columns, 0, 0))
        self.raw = b""
        self._over = False

    def until(self, text: str) -> None:
        """Read until the program has written `text`; fails the test where it never does."""
        begin = len(self.raw)
        deadline = time.monotonic() + PATIENCE_S
        while time.monotonic() < deadline and not self._over:
            if text in _ESCAPES.sub(b"", self.raw[begin:]).decode("utf-8", "replace"):
                return
            self._read()
        shown = _ESCAPES.sub(b"", self.raw[-3000:]).decode("utf-8", "replace")
        pytest.fail(f"the terminal never showed {text!r}; it showed last: {shown}")

    def _read(self) -> None:
        if select.select([self._master], [], [], 0.05)[0]:
            try:
                self.raw += os.read(self._master, 1 << 16)
            except OSError:  # the program has ended
                self._over = True

    def press(self, keys: str) -> None:
        """Type `keys`."""
        os.write(self._master, keys.encode())

    def wait(self) -> int:
        """Wait for the program's end; its exit code."""
        deadline = time.monotonic() + PATIENCE_S
        while time.monotonic() < deadline:
            self._read()
            pid, status = os.waitpid(self.pid, os.WNOHANG)
            if pid:
                self.pid = 0
                self.close()
                return os.waitstatus_to_exitcode(status)
        pytest.fail("the program did not end")

    def read_for(self, seconds: float) -> None:
        """Take what the program writes for so long."""
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline and not self._over:
            self._read()

    def close(self, *, kill: bool = False) -> None:
        """Break the connection: the program gets SIGHUP, as from a terminal that is gone; with `kill`, SIGKILL."""
        if kill and self.pid:
            os.kill(self.pid, signal.SIGKILL)
        if self._master >= 0:
            os.close(self._master)
            self._master = -1
        if self.pid:
            with contextlib.suppress(ProcessLookupError):
                os.kill(self.pid, signal.SIGHUP)
                deadline = time.monotonic() + 10
                while os.waitpid(self.pid, os.WNOHANG)[0] == 0:
                    if time.monotonic() > deadline:
                        os.kill(self.pid, signal.SIGKILL)
                    time.sleep(0.01)
            self.pid = 0
