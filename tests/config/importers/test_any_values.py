"""Whatever stands in a file: a spec that can be written and read again, or an error for people."""

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fluxgym_tui.base.errors import FluxgymError
from fluxgym_tui.config.importers import import_spec
from fluxgym_tui.config.sd_flags import FLAG_KINDS
from fluxgym_tui.config.specfile import dump_spec, parse_spec

DATA = Path(__file__).parents[2] / "data" / "importers"
FLUXGYM = json.loads((DATA / "fluxgym_bucket.json").read_text(encoding="utf-8"))
GUI = json.loads((DATA / "kohya_gui.json").read_text(encoding="utf-8"))
VALUES = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(),
    st.floats(),
    st.text(max_size=8),
    st.sampled_from(["8e-4", "768,1024", "--x", "'", '"open', "\ud800", "\x1b[2J", "~nobody/x", "0,0"]),
    st.lists(st.one_of(st.integers(), st.text(max_size=3)), max_size=2),
    st.dictionaries(st.text(max_size=3), st.integers(), max_size=1),
)
OPTIONS = st.dictionaries(st.sampled_from(sorted(FLAG_KINDS)), VALUES, max_size=3)


def check(path: Path) -> None:
    try:
        spec = import_spec(path, workspace=path.parent).spec
    except FluxgymError:
        return
    text = dump_spec(spec, comments=True)
    assert parse_spec(text, folder=path.parent, origin="dump") == spec


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("any")


@settings(max_examples=60, deadline=None)
@given(fields=st.dictionaries(st.sampled_from(sorted(FLUXGYM)), VALUES, max_size=3), options=OPTIONS, lines=VALUES)
def test_settings_of_fluxgym(fields: dict[str, Any], options: dict[str, Any], lines: object, folder: Path) -> None:
    advanced = {f"--{name}": value for name, value in options.items()}
    data = {**FLUXGYM, "advanced_parameters": advanced, "custom_params": lines, **fields}
    path = folder / "x.json"
    path.write_text(json.dumps(data), encoding="utf-8")
    check(path)


@settings(max_examples=60, deadline=None)
@given(fields=st.dictionaries(st.sampled_from(sorted(GUI)), VALUES, max_size=4))
def test_settings_of_the_gui(fields: dict[str, Any], folder: Path) -> None:
    path = folder / "gui.json"
    path.write_text(json.dumps({**GUI, **fields, "LoRA_type": "Flux1"}), encoding="utf-8")
    check(path)


@settings(max_examples=60, deadline=None)
@given(
    words=st.lists(st.one_of(st.sampled_from([f"--{name}" for name in FLAG_KINDS]), st.text(max_size=6)), max_size=8)
)
def test_commands(words: list[str], folder: Path) -> None:
    path = folder / "train.sh"
    path.write_text(f"accelerate launch flux_train_network.py {' '.join(words)}", encoding="utf-8", errors="replace")
    check(path)
