"""The workspace is found in the order the design says, and made only when used."""

import subprocess
import sys
from pathlib import Path

import pytest

from fluxgym_tui.base.errors import FluxgymError
from fluxgym_tui.config import workspace as room
from fluxgym_tui.config.workspace import Workspace, find_workspace


@pytest.fixture(autouse=True)
def _no_rental_volume(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(room, "_RENTAL_VOLUME", tmp_path / "no-such-volume")


def test_the_order_of_places(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    marked = tmp_path / "marked"
    deep = marked / "a/b"
    deep.mkdir(parents=True)
    (marked / "fluxgym.yaml").touch()
    old = tmp_path / "old"
    (old / "models").mkdir(parents=True)
    (old / "outputs").mkdir()
    bare = tmp_path / "bare"
    bare.mkdir()
    env = {"HOME": str(tmp_path / "home")}
    assert find_workspace(deep, {**env, "FLUXGYM_HOME": "/x", "WORKSPACE": "/y"}).root == Path("/x")
    assert find_workspace(deep, {**env, "WORKSPACE": "/y"}).root == marked
    assert find_workspace(old, env).root == old
    assert find_workspace(bare, {**env, "WORKSPACE": "/y"}).root == Path("/y")
    assert find_workspace(bare, {**env, "FLUXGYM_HOME": "~/gym"}).root == tmp_path / "home/gym"
    assert find_workspace(bare, {**env, "FLUXGYM_HOME": "here"}).root == bare / "here"
    assert find_workspace(bare, env).root == tmp_path / "home/fluxgym"
    volume = tmp_path / "volume"
    volume.mkdir()
    monkeypatch.setattr(room, "_RENTAL_VOLUME", volume)
    assert find_workspace(bare, env).root == volume
    assert list(bare.iterdir()) == []


def test_models_alone_are_no_workspace(tmp_path: Path) -> None:
    (tmp_path / "models").mkdir()
    assert find_workspace(tmp_path, {"HOME": "/h"}).root == Path("/h/fluxgym")


def test_folders_are_made_when_asked_for(tmp_path: Path) -> None:
    workspace = Workspace(tmp_path / "new")
    assert not workspace.root.exists()
    folders = [workspace.models, workspace.datasets, workspace.outputs, workspace.configs]
    assert [folder.name for folder in folders] == ["models", "datasets", "outputs", "configs"]
    assert all(folder.is_dir() for folder in folders)


def test_a_place_that_cannot_be_written_says_what_to_do(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(FluxgymError) as caught:
        _ = Workspace(tmp_path / "file").outputs
    assert "--workspace" in str(caught.value.hint)


def test_what_the_supervisor_and_trainer_read_is_light() -> None:
    code = (
        "import sys, fluxgym_tui.config.workspace, fluxgym_tui.config.dataset_toml, fluxgym_tui.config.resources;"
        "print([m for m in ('pydantic', 'yaml', 'PIL', 'torch', 'textual', 'slugify') if m in sys.modules])"
    )
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert result.stdout.strip() == "[]"
