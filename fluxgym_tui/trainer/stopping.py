"""How a training is asked to stop: by a signal, which acts where it can stop well."""

import signal
from types import FrameType


class Stopped(Exception):  # noqa: N818 - a wish that was granted, no error
    """The training stops here, as the signal `number` asked."""

    def __init__(self, number: signal.Signals) -> None:
        super().__init__(f"stopped by {number.name}")
        self.number = number


class StopRequest:
    """Remembers that a stop was asked for; the training looks at it where it can stop well.

    The first SIGINT or SIGTERM asks politely. After it both have their usual effect again, so a second one ends a
    training that hangs.
    """

    def __init__(self) -> None:
        self._number: signal.Signals | None = None

    def listen(self) -> None:
        """Take SIGINT and SIGTERM from now on (main thread only)."""
        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, self._on_signal)

    @property
    def asked(self) -> bool:
        """Whether a signal came."""
        return self._number is not None

    def check(self) -> None:
        """Raise `Stopped` where a signal came."""
        if self._number is not None:
            raise Stopped(self._number)

    def _on_signal(self, number: int, frame: FrameType | None) -> None:
        del frame
        self._number = signal.Signals(number)
        for other in (signal.SIGINT, signal.SIGTERM):
            signal.signal(other, signal.SIG_DFL)
