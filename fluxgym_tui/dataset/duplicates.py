"""Pictures that are in a folder twice, found by content while the folder is read."""

from collections.abc import Iterator
from pathlib import Path
from typing import Final

from fluxgym_tui.base.findings import Finding
from fluxgym_tui.dataset.digests import DigestCache
from fluxgym_tui.dataset.problems import problem

# Reading every byte of thousands of copies would take longer than all the rest of a scan. Beyond these, pictures of one
# size, start and end are taken for the same, and the finding says so.
MAX_COMPARED: Final = 200
MAX_COMPARED_BYTES: Final = 1_000_000_000


class Duplicates:
    """Groups pictures by size, first and last bytes as they come, then compares the digests of those that are alike."""

    def __init__(self, digests: DigestCache | None) -> None:
        self._digests = digests
        self._first: dict[int, str] = {}
        self._again: dict[int, list[str]] = {}

    def add(self, path: str, key: int) -> None:
        """Take a picture into account. `key` is its size in bytes times 2^32 plus a checksum of its ends."""
        first = self._first.setdefault(key, path)
        if first is not path:
            self._again.setdefault(key, []).append(path)

    def findings(self) -> Iterator[Finding]:
        """One finding for each picture that repeats an earlier one."""
        if not self._again:
            return
        digests = self._digests or DigestCache.default()
        compared = compared_bytes = 0
        for key, again in self._again.items():
            first = self._first[key]
            size_bytes = key >> 32
            first_of: dict[str, str] = {}
            for path in (first, *again):
                if compared >= MAX_COMPARED or compared_bytes >= MAX_COMPARED_BYTES:
                    # Of bitmaps size, start and end say little: all are of one size, and many have a plain border.
                    if path is not first and not path.lower().endswith(".bmp"):
                        yield problem("duplicate", path=path, detail=f"the same size, start and end as {first}")
                    continue
                compared += 1
                compared_bytes += size_bytes
                try:
                    same = first_of.setdefault(digests.digest(Path(path)), path)
                except OSError:
                    continue  # it vanished: the next scan tells
                if same is not path:
                    yield problem("duplicate", path=path, detail=f"the same bytes as {same}")
        digests.save()
