"""Reading the folders of a draft: each once, and one that is as it was stays the very same result."""

from collections.abc import Mapping, Sequence
from pathlib import Path

from fluxgym_tui.base.errors import FluxgymError
from fluxgym_tui.dataset.scan import scan
from fluxgym_tui.dataset.scanned import ScanResult


def scan_folders(folders: Sequence[Path], known: Mapping[Path, ScanResult], *, rescan: bool) -> dict[Path, ScanResult]:
    """What lies in each of `folders`; those in `known` are read again only to `rescan`.

    Raises:
        FluxgymError: the first cannot be read. Another one is left out: the preflight says what is wrong with it.
    """
    scans: dict[Path, ScanResult] = {}
    for folder in dict.fromkeys(folders):
        try:
            found = known[folder] if folder in known and not rescan else scan(folder)
        except FluxgymError:
            if folder == folders[0]:
                raise
            continue
        scans[folder] = known[folder] if found == known.get(folder) else found
    return scans


def same_scans(scans: Mapping[Path, ScanResult], known: Mapping[Path, ScanResult]) -> bool:
    """Whether these are the very results that are known."""
    return scans.keys() == known.keys() and all(result is known[folder] for folder, result in scans.items())
