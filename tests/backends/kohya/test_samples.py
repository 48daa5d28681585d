"""Sample pictures of sd-scripts: named by their files, told once, and only when they are whole."""

import os
from pathlib import Path

import pytest
from PIL import Image

from fluxgym_tui.backends.kohya.samples import is_whole, sample_event
from fluxgym_tui.runs.sample_files import SampleFiles


@pytest.mark.parametrize(
    ("name", "facts"),
    [
        ("hrld-person_000100_00_20261122214311.png", (0, 100, None, None)),
        ("hrld-person_000100_11_20261122214311_42.png", (11, 100, None, 42)),
        ("a_b_e000004_02_20261122214311_7.png", (2, None, 4, 7)),
        ("1_1000000_00_20261122214311.png", (0, 1000000, None, None)),
    ],
)
def test_a_name_says_prompt_step_or_epoch_and_seed(name: str, facts: tuple[int | None, ...]) -> None:
    event = sample_event(Path("/s") / name, time=1.5)
    assert event is not None
    assert (event.prompt_index, event.step, event.epoch, event.seed) == facts
    assert (event.path, event.time) == (f"/s/{name}", 1.5)


@pytest.mark.parametrize("name", ["mine.png", "hrld_000100_00.png", "hrld_000100_00_20261122214311.jpg", "_grid.png"])
def test_other_files_are_no_samples(name: str) -> None:
    assert sample_event(Path(name), time=0) is None


def picture(folder: Path, number: int, *, changed_s: int) -> Path:
    path = folder / f"x_{number:06d}_00_20261122214311.png"
    Image.new("RGB", (8, 8)).save(path)
    os.utime(path, (changed_s, changed_s))
    return path


def test_pictures_are_told_once_in_their_order_and_only_whole(tmp_path: Path) -> None:
    folder = tmp_path / "sample"
    source = SampleFiles(folder)
    assert source.pull() == []
    folder.mkdir()
    picture(folder, 2, changed_s=2000)
    picture(folder, 1, changed_s=1000)
    (folder / "mine.png").touch()
    first = source.pull()
    assert [getattr(entry.event, "step", None) for entry in first] == [1, 2]
    assert source.pull() == []
    torn = picture(folder, 3, changed_s=3000)
    whole = torn.read_bytes()
    torn.write_bytes(whole[:-4])
    os.utime(torn, (3000, 3000))
    assert not is_whole(torn)
    assert source.pull() == []
    torn.write_bytes(whole)
    os.utime(torn, (3000, 3000))
    assert [getattr(entry.event, "step", None) for entry in source.finish()] == [3]
    # Another supervisor goes on behind what the journal has.
    again = SampleFiles(folder, position=first[-1].position)
    assert [getattr(entry.event, "step", None) for entry in again.pull()] == [3]


def test_no_file_is_whole_that_is_too_short_or_gone(tmp_path: Path) -> None:
    (tmp_path / "a.png").touch()
    assert not is_whole(tmp_path / "a.png")
    assert not is_whole(tmp_path / "b.png")
