"""`import FILE` by the front door: the spec on stdout or in a file, what differs on stderr."""

import json
import shutil
from pathlib import Path

import pytest

from fluxgym_tui.config.specfile import load_spec, parse_spec
from tests.cli.calls import Run, RunJson

DATA = Path(__file__).parents[1] / "data" / "importers"


@pytest.fixture
def fluxgym(tmp_path: Path) -> Path:
    """A fluxgym folder with a dataset and a saved config."""
    for name in ("models", "outputs", "configs", "datasets/hrld-person"):
        (tmp_path / name).mkdir(parents=True)
    return Path(shutil.copy(DATA / "fluxgym_bucket.json", tmp_path / "configs"))


def test_the_spec_is_printed_and_the_rest_told(run: Run, fluxgym: Path, tmp_path: Path) -> None:
    code, out, err = run("import", fluxgym)
    assert code == 0
    spec = parse_spec(out, folder=tmp_path, origin="stdout")
    assert spec.name == "Hrld Person"
    assert err.splitlines() == [
        "fluxgym's settings: all of it is carried over",
        "  advice: train_clip_l: true, as fluxgym's command trains CLIP-L too",
        "    -> Set training.train_clip_l: false to train the transformer alone.",
        "  advice: split_mode is said as blocks_to_swap: 18, which it has become",
    ]


def test_a_file_is_written_once(run: Run, run_json: RunJson, fluxgym: Path, tmp_path: Path) -> None:
    target = tmp_path / "hrld.yaml"
    code, document = run_json("import", fluxgym, "-o", target)
    assert (code, document["kind"], document["output_name"]) == (0, "fluxgym", "hrld-person")
    assert [note["code"] for note in document["notes"]] == ["clip_l", "split_mode"]
    assert load_spec(target).training.blocks_to_swap == 18
    code, _, err = run("import", fluxgym, "-o", target)
    assert (code, err.splitlines()[0]) == (2, f"error: {target} is there already")
    code, out, _ = run("import", fluxgym, "-o", target, "--force", "--dataset", tmp_path)
    assert (code, out) == (0, f"wrote {target}; next: fluxgym-tui plan {target}\n")
    assert load_spec(target).dataset.path == tmp_path


def test_what_is_left_out_is_told_first(run: Run, fluxgym: Path) -> None:
    fluxgym.write_text(json.dumps({"lora_name": "x", "advanced_parameters": {}, "of_later": 3}), encoding="utf-8")
    code, _, err = run("import", fluxgym)
    assert code == 0
    assert err.splitlines()[:2] == [
        "fluxgym's settings: not all of it could be carried over",
        "  warning: of_later = 3 is left out: no field of fluxgym's",
    ]


@pytest.mark.parametrize(
    ("name", "text", "said"),
    [
        ("x.json", "{", "x.json is no JSON"),
        ("x.json", "[1]", "x.json holds no settings that are known here"),
        ("x.toml", "a = ", "x.toml is no TOML"),
        ("x.toml", "[[datasets]]\n", "x.toml is a dataset.toml"),
        ("x.sh", "echo\n", "x.sh starts no flux_train_network.py"),
        ("x.json", '{"advanced_parameters": ["--x"]}', "advanced_parameters must be options with values, not a list"),
        ("x.json", '{"LoRA_type": "LyCORIS/LoKr"}', "x.json trains no FLUX LoRA: its LoRA type is LyCORIS/LoKr"),
    ],
)
def test_what_cannot_be_imported_is_refused(run: Run, tmp_path: Path, name: str, text: str, said: str) -> None:
    (tmp_path / name).write_text(text, encoding="utf-8")
    code, out, err = run("import", tmp_path / name)
    assert (code, out) == (2, "")
    assert said in err.splitlines()[0]
    assert len(err.splitlines()) > 1  # what to do


def test_bytes_that_are_no_text_and_files_that_are_not_there(run: Run, tmp_path: Path) -> None:
    (tmp_path / "x.json").write_bytes(b"\xff\xfe{")
    assert "is not UTF-8 text" in run("import", tmp_path / "x.json")[2]
    code, _, err = run("import", tmp_path / "none.json")
    assert (code, "No such file" in err) == (2, True)
    assert run("import", tmp_path / "x.json", "--json")[0] == 2


def test_folders_are_told_apart(run: Run, tmp_path: Path) -> None:
    assert "is a folder without a train.sh" in run("import", tmp_path)[2]
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "spec.yaml").write_text("name: x", encoding="utf-8")
    assert "is a run of fluxgym-tui, which has its spec" in run("import", tmp_path)[2]
