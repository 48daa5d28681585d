"""Names of staged pictures: flat, safe on any file system, never two of one stem, the same every time."""

import hashlib
import os
import re
from collections.abc import Sequence
from pathlib import Path
from unicodedata import normalize

# Kept as they are: letters and digits of any script and the usual signs. The rest troubles shells, globs or logs.
_UNSAFE = re.compile(r"[^\w\-.+()@,= ]")
_MAX_BYTES = 120  # caches and fingerprints append to the stem; file systems stop at 255 bytes


def staged_stems(paths: Sequence[str | Path], *, root: Path) -> list[str]:
    """For each picture below `root` its name in the flat staging folder, without extension, in the same order.

    A picture in `root` keeps its name; one in a folder below gets the folders' names in front. Where two would be the
    same (or differ in case alone), or a name is not safe, a few digits of a digest of the path make it its own.
    """
    raw = [os.path.relpath(path, root) for path in paths]
    stems = [_stem(name) for name in raw]
    taken: dict[str, str] = {}
    for index in sorted(range(len(raw)), key=lambda n: (raw[n].count(os.sep), raw[n])):
        # Some file systems take names that differ in case, or in how an accent is written, for one.
        if taken.setdefault(normalize("NFC", stems[index]).casefold(), raw[index]) != raw[index]:
            stems[index] = f"{stems[index]}-{_digest(raw[index])}"
    return stems


def folder_names(folders: Sequence[Path]) -> list[str]:
    """For each source its folder below the staging folder: none for one source, `1_name`, `2_name` for several."""
    if len(folders) <= 1:
        return ["" for _ in folders]
    return [f"{number}_{_safe(folder.resolve().name)[:60]}" for number, folder in enumerate(folders, 1)]


def _stem(relative: str) -> str:
    stem = relative.rpartition(".")[0]
    flat = _safe(stem.replace(os.sep, "-"))
    if flat != stem.replace(os.sep, "-"):
        flat = f"{flat}-{_digest(relative)}"
    return flat


def _safe(name: str) -> str:
    safe = _UNSAFE.sub("_", name.encode("utf-8", "replace").decode("utf-8"))
    while len(safe.encode("utf-8")) > _MAX_BYTES:
        safe = safe[:-1]
    return safe.strip(" .") or "_"


def _digest(text: str) -> str:
    return hashlib.sha256(os.fsencode(text)).hexdigest()[:8]
