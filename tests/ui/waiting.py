"""Waiting in a Pilot test: the app works until a condition holds."""

from collections.abc import Callable

import pytest
from textual.pilot import Pilot

PATIENCE_S = 30.0  # a condition that holds ends the wait at once
_TICK_S = 0.02


async def until(
    pilot: Pilot[None], condition: Callable[[], object], *, what: str, patience_s: float = PATIENCE_S
) -> None:
    """Let the app work until `condition` holds; fails the test where it never does."""
    for _ in range(int(patience_s / _TICK_S)):
        if condition():
            return
        await pilot.pause(_TICK_S)
    pytest.fail(f"waited in vain for: {what}")
