"""What scanning costs: CPU against reading the same bytes and against Pillow; peak memory at 100,000 pictures.

`python scripts/bench/scan.py` prints the rows; `make bench` puts them into docs/performance.md.
"""

import io
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from PIL import Image
from rows import Row

from fluxgym_tui.dataset.scan import scan

_PICTURES = 10_000
_ROUNDS = 5
_READ_BYTES = 4096
_EXTENSIONS = (".jpg", ".png", ".webp")


def measure_scan(*, pictures: int = _PICTURES, rounds: int = _ROUNDS) -> list[Row]:
    """CPU seconds (medians of `rounds`, taken in turn) to scan `pictures` files with captions and orientations."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        make_pictures(folder, pictures)
        ways: list[Callable[[Path], int]] = [_ours, _bytes_alone, _pillow]
        seconds: list[list[float]] = [[] for _ in ways]
        for _ in range(rounds):
            for way, taken in zip(ways, seconds, strict=True):
                begun = time.process_time()
                assert way(folder) == pictures
                taken.append(time.process_time() - begun)
    ours, floor, pillow = (statistics.median(taken) for taken in seconds)
    what = f"scan, {pictures:,} pictures"
    return [
        Row(what, ours, floor, "s CPU", "scandir, stat, 4 KB of picture and caption", "<= 2x", ours <= 2 * floor),
        Row(f"{what}, against Pillow", ours, pillow, "s CPU", "Pillow doing the same", "<= 0.5x", ours <= 0.5 * pillow),
    ]


def measure_memory(*, pictures: int = 100_000) -> list[Row]:
    """Peak resident memory (MB) of `scan --json` over `pictures` files, against the command doing nothing."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        make_pictures(folder, pictures)
        peak = _peak_mb(["scan", str(folder), "--json"])
    floor = _peak_mb(["scan", "--help"])
    return [
        Row(
            f"scan --json, {pictures:,} pictures, peak", peak, floor, "MB", "the command's help", "< 250 MB", peak < 250
        )
    ]


def make_pictures(folder: Path, number: int) -> None:
    """`number` small pictures of three formats with captions; every third is rotated by EXIF."""
    exif = Image.Exif()
    exif[0x0112] = 6
    contents = []
    for index, extension in enumerate(_EXTENSIONS):
        buffer = io.BytesIO()
        picture = Image.effect_noise((96, 64), 80).convert("RGB")
        picture.save(buffer, Image.registered_extensions()[extension], **({"exif": exif} if index == 0 else {}))
        contents.append((extension, buffer.getvalue()))
    for index in range(number):
        extension, data = contents[index % len(contents)]
        (folder / f"picture{index:06d}{extension}").write_bytes(data)
        (folder / f"picture{index:06d}.txt").write_text("a photo of something plain", encoding="utf-8")


def _ours(folder: Path) -> int:
    return len(scan(folder).images)


def _bytes_alone(folder: Path) -> int:
    """What any scan has to do: list, stat, and read the head of each picture and caption."""
    count = 0
    with os.scandir(folder) as entries:
        for entry in entries:
            entry.stat()
            handle = os.open(entry.path, os.O_RDONLY)
            os.read(handle, _READ_BYTES)
            os.close(handle)
            count += entry.name.endswith(_EXTENSIONS)
    return count


def _pillow(folder: Path) -> int:
    """The same facts with Pillow: size and orientation of the header, and the caption."""
    count = 0
    for path in folder.iterdir():
        if path.suffix in _EXTENSIONS:
            with Image.open(path) as picture:
                picture.getexif().get(0x0112, 1)
                assert picture.size
            path.with_suffix(".txt").read_text(encoding="utf-8")
            count += 1
    return count


def _peak_mb(arguments: list[str]) -> float:
    """Peak resident memory in MB of `fluxgym-tui` with `arguments`, as the system accounts it."""
    program = (
        "import resource, subprocess, sys;"
        "subprocess.run(sys.argv[1:], stdout=subprocess.DEVNULL, check=True);"
        "print(resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss)"
    )
    command = [sys.executable, "-c", program, sys.executable, "-m", "fluxgym_tui", *arguments]
    printed = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    unit = 1 if sys.platform == "darwin" else 1024
    return int(printed) * unit / 1e6


if __name__ == "__main__":
    for row in [*measure_scan(), *measure_memory()]:
        print(f"{row.what}: {row.figure:.3f} {row.unit}, {row.ratio:.2f}x of {row.floor_is} ({row.budget})")
