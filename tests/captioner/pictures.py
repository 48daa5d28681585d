"""Small pictures for captioning tests."""

from pathlib import Path

from PIL import Image


def make_pictures(folder: Path, *names: str) -> list[Path]:
    """Pictures of different colours; a name may have folders before it."""
    paths = []
    for number, name in enumerate(names):
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.new("RGB", (24, 16), (number * 7 % 256, number // 256, 90)).save(path)
        paths.append(path)
    return paths
