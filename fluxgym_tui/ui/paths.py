"""Completing the path of a file or folder while it is typed."""

import asyncio
import os
from pathlib import Path

from textual.suggester import Suggester


class PathSuggester(Suggester):
    """Completes a path that is there; the right arrow takes it. With `folders` only folders are offered."""

    def __init__(self, *, folders: bool = False) -> None:
        super().__init__(use_cache=False, case_sensitive=True)
        self._folders = folders

    async def get_suggestion(self, value: str) -> str | None:
        """The first path that begins like `value`; None where there is none, or nothing to begin with."""
        return await asyncio.to_thread(_completed, value, folders=self._folders)


def _completed(value: str, *, folders: bool) -> str | None:
    head, slash, begun = value.rpartition("/")
    if not slash or not begun:
        return None
    try:
        with os.scandir(Path(f"{head}/").expanduser()) as entries:
            names = [one.name for one in entries if one.name.startswith(begun) and (not folders or one.is_dir())]
    except OSError:
        return None
    return f"{head}/{min(names)}" if names else None
