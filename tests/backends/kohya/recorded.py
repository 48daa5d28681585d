"""The recorded logs of sd-scripts, as tests read them."""

import gzip
from pathlib import Path

FOLDER = Path(__file__).parents[2] / "data/kohya-logs"
NAMES = sorted(path.name.removesuffix(".raw.gz") for path in FOLDER.glob("*.raw.gz"))


def recorded(name: str) -> bytes:
    """The bytes that the run `name` wrote, both streams merged."""
    return gzip.decompress((FOLDER / f"{name}.raw.gz").read_bytes())
