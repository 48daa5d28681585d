"""Caches go when the encoders that made them are others now."""

from pathlib import Path

import pytest

from fluxgym_tui.dataset.encoders import Encoders, drop_caches_of_others, note_encoders

CACHES = {"a_0600x0400_flux.npz", "a_flux_te.npz"}


@pytest.fixture
def encoders(tmp_path: Path) -> Encoders:
    """Encoders' files, which are empty."""
    for name in ("ae", "clip", "t5"):
        (tmp_path / name).touch()
    return Encoders(latents=(tmp_path / "ae",), text=(tmp_path / "clip", tmp_path / "t5"), settings="tokens 512")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A staged folder with caches in it and below it."""
    root = tmp_path / "staged"
    for place in (root, root / "more"):
        place.mkdir()
        for name in (*CACHES, "a.png", "a.txt"):
            (place / name).touch()
    return root


def left(folder: Path) -> set[str]:
    """The caches that are there, the same in both folders."""
    found = [{path.name for path in place.glob("*.npz")} for place in (folder, folder / "more")]
    assert found[0] == found[1]
    assert (folder / "a.png").exists()
    assert (folder / "a.txt").exists()
    return found[0]


def test_caches_of_the_same_encoders_stay(folder: Path, encoders: Encoders) -> None:
    note_encoders(folder, encoders)
    assert drop_caches_of_others(folder, encoders) == 0
    assert left(folder) == CACHES
    assert Encoders.from_json(encoders.to_json()) == encoders


def test_caches_of_nobody_known_go(folder: Path, encoders: Encoders) -> None:
    assert drop_caches_of_others(folder, encoders) == 4
    assert left(folder) == set()
    assert drop_caches_of_others(folder / "not there", encoders) == 0


@pytest.mark.parametrize(
    ("changed", "expected"),
    [("ae", {"a_flux_te.npz"}), ("t5", {"a_0600x0400_flux.npz"}), ("clip", {"a_0600x0400_flux.npz"})],
)
def test_only_what_the_changed_file_makes_goes(
    folder: Path, encoders: Encoders, changed: str, expected: set[str]
) -> None:
    note_encoders(folder, encoders)
    (folder.parent / changed).write_text("new", encoding="utf-8")
    drop_caches_of_others(folder, encoders)
    assert left(folder) == expected


def test_another_length_or_file_makes_other_text(folder: Path, encoders: Encoders) -> None:
    note_encoders(folder, encoders)
    other = Encoders(latents=encoders.latents, text=encoders.text, settings="tokens 256")
    drop_caches_of_others(folder, other)
    assert left(folder) == {"a_0600x0400_flux.npz"}
    elsewhere = Encoders(latents=(folder.parent / "other",), text=encoders.text, settings="tokens 512")
    drop_caches_of_others(folder, elsewhere)
    assert left(folder) == set()
