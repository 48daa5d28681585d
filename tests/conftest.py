"""What holds for all tests."""

import os
import signal

# torch's threads sleep while they wait, as in the trainer: tests share their cores. It is read when torch is loaded.
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")


def pytest_configure() -> None:
    """Take Ctrl+C as programs at a terminal do, even where the tests were started in a background that ignores it.

    What ignores it hands that on to every process it starts, and tests send it to such processes.
    """
    signal.signal(signal.SIGINT, signal.default_int_handler)
