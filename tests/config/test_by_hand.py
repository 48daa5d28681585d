"""Files edited by hand: kept beside their spec, read back, discarded, and moved to another run's folders."""

from pathlib import Path

import pytest

from fluxgym_tui.base.errors import FluxgymError
from fluxgym_tui.config.by_hand import (
    DATASET_TOML,
    TRAIN_SH,
    HandEdit,
    RunPlaces,
    discard_edit,
    edit_path,
    hand_edits,
    keep_edit,
    moved,
)


def places(name: str, root: Path = Path("/gym")) -> RunPlaces:
    return RunPlaces(output_name=name, output_dir=root / "outputs" / name, staged=root / "datasets" / name)


def test_edits_lie_beside_the_spec_until_they_are_discarded(tmp_path: Path) -> None:
    spec = tmp_path / "hrld.yaml"
    assert not hand_edits(spec)
    assert not hand_edits(None)
    keep_edit(spec, TRAIN_SH, "#!/bin/sh\necho\n", made_from="#!/bin/sh\n", places=places("hrld"))
    keep_edit(spec, DATASET_TOML, "[[datasets]]\n", made_from=None, places=None)
    assert (tmp_path / "hrld.train.sh").read_text(encoding="utf-8") == "#!/bin/sh\necho\n"
    edits = hand_edits(spec)
    assert [edit.name for edit in edits] == [TRAIN_SH, DATASET_TOML]
    assert edits.train_sh is not None
    assert (edits.train_sh.made_from, edits.train_sh.places) == ("#!/bin/sh\n", places("hrld"))
    assert edits.get(DATASET_TOML) == edits.dataset_toml
    discard_edit(spec, TRAIN_SH)
    assert [edit.name for edit in hand_edits(spec)] == [DATASET_TOML]
    discard_edit(spec, DATASET_TOML)
    assert list(tmp_path.iterdir()) == []


def test_a_file_put_there_by_hand_alone_counts(tmp_path: Path) -> None:
    (tmp_path / "hrld.dataset.toml").write_text("x", encoding="utf-8")
    for record in (None, "no json", "[]", '{"dataset.toml": 3}', '{"dataset.toml": {"places": [1]}}'):
        if record is not None:
            (tmp_path / "hrld.by-hand.json").write_text(record, encoding="utf-8")
        edit = hand_edits(tmp_path / "hrld.yaml").dataset_toml
        assert edit is not None
        assert (edit.text, edit.places, edit.made_from) == ("x", None, None)


def test_an_empty_file_is_none(tmp_path: Path) -> None:
    (tmp_path / "hrld.train.sh").write_text(" \n", encoding="utf-8")
    assert not hand_edits(tmp_path / "hrld.yaml")


def test_a_file_that_is_no_text_is_named(tmp_path: Path) -> None:
    edit_path(tmp_path / "hrld.yaml", TRAIN_SH).write_bytes(b"\xff\xfe")
    with pytest.raises(FluxgymError, match=r"hrld\.train\.sh"):
        hand_edits(tmp_path / "hrld.yaml")


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ("--output_dir /gym/outputs/hrld \\\n", "--output_dir /gym/outputs/hrld-2 \\\n"),
        ("cd '/gym/outputs/hrld'\n", "cd '/gym/outputs/hrld-2'\n"),
        ("image_dir = '/gym/datasets/hrld/1_a'", "image_dir = '/gym/datasets/hrld-2/1_a'"),
        ("--output_name hrld\n", "--output_name hrld-2\n"),
        ("--output_name=hrld --x", "--output_name=hrld-2 --x"),
        ("--output_name 'hrld' --log_prefix hrld- ", "--output_name 'hrld-2' --log_prefix hrld-2- "),
        ("/gym/outputs/hrld-other/a", "/gym/outputs/hrld-other/a"),
        ("/gym/outputs/hrld.txt", "/gym/outputs/hrld.txt"),
        ("--comment hrld --output_name hrldx", "--comment hrld --output_name hrldx"),
    ],
)
def test_the_runs_own_folders_and_name_go_with_it_and_nothing_else(before: str, after: str) -> None:
    assert moved(before, places("hrld"), places("hrld-2")) == after


def test_names_with_signs_of_patterns_are_taken_as_they_are() -> None:
    old, new = places("a+b", Path("/g(y)m")), places(r"c\1", Path("/h"))
    assert moved("cd '/g(y)m/outputs/a+b'", old, new) == r"cd '/h/outputs/c\1'"


@pytest.mark.parametrize("name", ["hrld", "hrld-2", "hrld-13"])
def test_a_text_of_a_later_run_is_known_without_a_record(tmp_path: Path, name: str) -> None:
    text = f"--output_dir /gym/outputs/{name} \\\n --output_name {name}\nimage_dir = '/gym/datasets/{name}/1_a'\n"
    edit = HandEdit(name=TRAIN_SH, path=tmp_path / "x.train.sh", text=text)
    moved_to = edit.text_for(places("hrld-5"), written_for=places("hrld"))
    assert moved_to == text.replace(name, "hrld-5")
