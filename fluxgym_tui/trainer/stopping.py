"""How a training is asked to stop: by a signal, or by a file that names the next checkpoint."""

import os
import signal
from pathlib import Path
from types import FrameType

CONTROL_VARIABLE = "FLUXGYM_CONTROL"
STOP_AT_CHECKPOINT = "stop-at-checkpoint"


class Stopped(Exception):  # noqa: N818 - a wish that was granted, no error
    """The training stops here as asked; `exit_code` says by what."""

    def __init__(self, exit_code: int, reason: str) -> None:
        super().__init__(reason)
        self.exit_code = exit_code
        self.reason = reason


class StopRequest:
    """Remembers that a stop was asked for; the training looks at it where it can stop well.

    The first SIGINT or SIGTERM asks politely. After it they have their usual effect again, so a second one ends a
    training that hangs.
    """

    def __init__(self, *, control_dir: Path | None = None) -> None:
        self.signal_number: int | None = None
        self._control_dir = control_dir

    @classmethod
    def from_environment(cls) -> "StopRequest":
        """A request that listens to the folder named by `FLUXGYM_CONTROL`."""
        folder = os.environ.get(CONTROL_VARIABLE)
        return cls(control_dir=Path(folder) if folder else None)

    def listen(self) -> None:
        """Take SIGINT and SIGTERM from now on (main thread only)."""
        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, self._on_signal)

    def check(self) -> None:
        """Raise `Stopped` where a signal asked for it: with exit code 128 + its number, as a shell has it."""
        if self.signal_number is not None:
            name = signal.Signals(self.signal_number).name
            raise Stopped(128 + self.signal_number, f"stopped by {name}")

    def at_checkpoint(self) -> bool:
        """Whether to stop now that a checkpoint is saved."""
        return self._control_dir is not None and (self._control_dir / STOP_AT_CHECKPOINT).exists()

    def _on_signal(self, number: int, frame: FrameType | None) -> None:
        del frame
        self.signal_number = number
        for other in (signal.SIGINT, signal.SIGTERM):
            signal.signal(other, signal.SIG_DFL)
