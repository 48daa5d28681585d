"""Ending a child: first asked, then told, then killed, its whole session with it."""

import contextlib
import os
import signal
from collections.abc import Mapping
from dataclasses import dataclass, field

from fluxgym_tui.base.errors import FluxgymError
from fluxgym_tui.machine.processes import Identity, is_alive, session_members

_AGAIN_S = 5.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Patience:
    """How long a supervisor waits, in seconds: after SIGINT, after SIGTERM, and between two looks (`tick_s`)."""

    interrupt_s: float = 30.0
    terminate_s: float = 10.0
    tick_s: float = 0.25

    @classmethod
    def from_environment(cls, environment: Mapping[str, str]) -> "Patience":
        """`FLUXGYM_STOP_INTERRUPT_S`, `FLUXGYM_STOP_TERMINATE_S` and `FLUXGYM_TICK_S` where they are set.

        Raises:
            FluxgymError: one of them is no positive number.
        """
        values = {}
        for name, key in (
            ("interrupt_s", "FLUXGYM_STOP_INTERRUPT_S"),
            ("terminate_s", "FLUXGYM_STOP_TERMINATE_S"),
            ("tick_s", "FLUXGYM_TICK_S"),
        ):
            text = environment.get(key)
            if text is None:
                continue
            try:
                values[name] = float(text)
            except ValueError:
                values[name] = 0.0
            if not 0 < values[name] < 86_400:
                raise FluxgymError(f"{key}={text} is no number of seconds", hint=f"Set {key} to 5, say, or unset it.")
        return cls(**values)


@dataclass(slots=True)
class Escalation:
    """Which signal is due when: SIGINT at once, SIGTERM and SIGKILL when patience ends, then SIGKILL time and again."""

    patience: Patience
    begun_s: float
    _sent: int = field(default=0)
    _last_s: float = field(default=0.0)

    def due(self, now_s: float) -> signal.Signals | None:
        """The signal to send at `now_s` (of the clock of `begun_s`), or None; each is due once."""
        waits = (0.0, self.patience.interrupt_s, self.patience.interrupt_s + self.patience.terminate_s)
        if self._sent < len(waits):
            if now_s - self.begun_s < waits[self._sent]:
                return None
            number = (signal.SIGINT, signal.SIGTERM, signal.SIGKILL)[self._sent]
        elif now_s - self._last_s >= _AGAIN_S:
            number = signal.SIGKILL
        else:
            return None
        self._sent, self._last_s = self._sent + 1, now_s
        return number


def signal_child(child: Identity, number: signal.Signals) -> None:
    """Send `number` to the group that `child` leads; SIGKILL also to whoever of its session left the group.

    Nothing is sent where the pid has a new owner.
    """
    if is_alive(child):
        with contextlib.suppress(ProcessLookupError):  # it may end between the look and the signal
            os.killpg(child.pid, number)
    if number is signal.SIGKILL:
        end_session(child, number)


def end_session(child: Identity, number: signal.Signals) -> list[Identity]:
    """Send `number` to every process of the session that `child` began; those it was sent to."""
    members = [member for member in session_members(child) if is_alive(member)]
    for member in members:
        with contextlib.suppress(ProcessLookupError):
            os.kill(member.pid, number)
    return members
