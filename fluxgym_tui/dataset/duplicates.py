"""Pictures that are in a folder twice, found by content while the folder is read."""

from collections.abc import Iterator
from pathlib import Path
from typing import Final

from fluxgym_tui.base.findings import Finding
from fluxgym_tui.dataset.digests import DigestCache
from fluxgym_tui.dataset.problems import problem

# Reading every byte of thousands of copies would take longer than the scan. Beyond this, equal size, start and middle
# are taken as the same picture, and the finding says so.
MAX_HASHED_BYTES: Final = 64_000_000


class Duplicates:
    """Groups pictures by size and a checksum of their first and middle bytes, then compares digests of equal ones."""

    def __init__(self, digests: DigestCache) -> None:
        self._digests = digests
        self._first: dict[tuple[int, int, int], str] = {}
        self._again: dict[tuple[int, int, int], list[str]] = {}

    def add(self, path: str, size_bytes: int, head_checksum: int, middle_checksum: int) -> None:
        """Take a picture into account."""
        key = (size_bytes, head_checksum, middle_checksum)
        first = self._first.setdefault(key, path)
        if first is not path:
            self._again.setdefault(key, []).append(path)

    def findings(self) -> Iterator[Finding]:
        """One finding for each picture that repeats an earlier one."""
        hashed_bytes = 0
        for key, again in self._again.items():
            first_of: dict[str, str] = {}
            for path in (self._first[key], *again):
                try:
                    exact = self._digests.knows(Path(path))
                    if not exact and hashed_bytes < MAX_HASHED_BYTES:
                        hashed_bytes += key[0]
                        exact = True
                    digest = self._digests.digest(Path(path)) if exact else ""
                except OSError:
                    continue  # it vanished: the next scan tells
                first = first_of.setdefault(digest, path) if exact else self._first[key]
                if first is not path:
                    how = "the same bytes as" if exact else "the same size, start and middle as"
                    yield problem("duplicate", path=path, detail=f"{how} {first}")
