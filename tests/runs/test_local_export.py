"""A LoRA copied for ComfyUI, Forge, A1111 or anybody, with its preview picture."""

import shutil
from pathlib import Path

import pytest
from PIL import Image

from fluxgym_tui.base.errors import FluxgymError
from fluxgym_tui.hub.places import Program, program_tops
from fluxgym_tui.runs.directory import RunDirectory
from fluxgym_tui.runs.local_export import export_to_folder, export_to_program, lora_folders
from tests.runs.publishable import publishable_run, sample_name


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.delenv("COMFYUI_PATH", raising=False)

    def tops_of_the_test(program: Program, *, workspace: Path) -> list[Path]:
        """Without the fixed places of this machine, where anything may be installed."""
        return [top for top in program_tops(program, workspace=workspace) if top.is_relative_to(tmp_path)]

    monkeypatch.setattr("fluxgym_tui.runs.local_export.program_tops", tops_of_the_test)
    return tmp_path / "home"


@pytest.fixture
def run(tmp_path: Path) -> RunDirectory:
    return publishable_run(tmp_path / "ws/outputs")


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def test_comfyui_is_found_and_gets_the_lora_with_its_own_sample(home: Path, run: RunDirectory, tmp_path: Path) -> None:
    (home / "ComfyUI/models/checkpoints").mkdir(parents=True)
    done = export_to_program(run, "comfyui", workspace=tmp_path / "ws", checkpoint="4")
    loras = home / "ComfyUI/models/loras"
    assert names(loras) == ["hrld-person-000004.png", "hrld-person-000004.safetensors"]
    assert (done.lora, done.preview) == (
        loras / "hrld-person-000004.safetensors",
        loras / "hrld-person-000004.png",
    )
    assert done.lora.read_bytes() == (run.output_dir / "hrld-person-000004.safetensors").read_bytes()
    assert done.preview is not None
    assert done.preview.read_bytes() == (run.samples / sample_name(run, 4, 0)).read_bytes()


def test_forge_and_a1111_get_a_preview_that_leaves_room_for_the_users_own(
    home: Path, run: RunDirectory, tmp_path: Path
) -> None:
    (tmp_path / "ws/stable-diffusion-webui-forge/models").mkdir(parents=True)
    (home / "stable-diffusion-webui/models").mkdir(parents=True)
    done = export_to_program(run, "a1111", workspace=tmp_path / "ws")
    assert names(tmp_path / "ws/stable-diffusion-webui-forge/models/Lora") == [
        "hrld-person.preview.png",
        "hrld-person.safetensors",
    ]
    assert done.other_folders == (home / "stable-diffusion-webui/models/Lora",)


def test_where_no_program_is_that_is_told_with_the_way_out(home: Path, run: RunDirectory, tmp_path: Path) -> None:
    (home / "ComfyUI").mkdir(parents=True)
    with pytest.raises(FluxgymError, match="no ComfyUI was found") as caught:
        export_to_program(run, "comfyui", workspace=tmp_path / "ws")
    assert "COMFYUI_PATH" in str(caught.value.hint)
    with pytest.raises(FluxgymError, match="no Forge or A1111"):
        export_to_program(run, "a1111", workspace=tmp_path / "ws")


def test_a_comfyui_that_is_named_comes_first_and_none_twice(
    home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    mine = tmp_path / "my comfy"
    (mine / "models").mkdir(parents=True)
    home.mkdir()
    (home / "ComfyUI").symlink_to(mine)
    monkeypatch.setenv("COMFYUI_PATH", str(mine))
    assert lora_folders("comfyui", workspace=tmp_path / "ws") == [mine / "models/loras"]


def test_another_file_of_that_name_stays_unless_it_is_to_be_replaced(run: RunDirectory, tmp_path: Path) -> None:
    folder = tmp_path / "new/loras"
    first = export_to_folder(run, folder)
    assert first == export_to_folder(run, folder), "the same again is no error"
    first.lora.write_bytes(b"somebody else's")
    Image.new("RGB", (8, 8)).save(folder / "hrld-person.png")
    own = (folder / "hrld-person.png").read_bytes()
    with pytest.raises(FluxgymError, match="another file"):
        export_to_folder(run, folder)
    assert first.lora.read_bytes() == b"somebody else's"
    export_to_folder(run, folder, replace=True)
    assert first.lora.read_bytes() == (run.output_dir / "hrld-person.safetensors").read_bytes()
    assert (folder / "hrld-person.png").read_bytes() != own


def test_a_preview_that_is_there_stays(run: RunDirectory, tmp_path: Path) -> None:
    export_to_folder(run, tmp_path / "loras")
    own = tmp_path / "loras/hrld-person.png"
    own.write_bytes(b"mine")
    export_to_folder(run, tmp_path / "loras")
    assert own.read_bytes() == b"mine"


def test_without_samples_there_is_no_preview_and_nothing_half_made(run: RunDirectory, tmp_path: Path) -> None:
    shutil.rmtree(run.samples)
    done = export_to_folder(run, tmp_path / "loras")
    assert done.preview is None
    assert names(tmp_path / "loras") == ["hrld-person.safetensors"]
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(FluxgymError, match="cannot write to"):
        export_to_folder(run, tmp_path / "file/loras")


def test_a_lora_that_is_broken_is_not_exported(run: RunDirectory, tmp_path: Path) -> None:
    lora = run.output_dir / "hrld-person.safetensors"
    lora.write_bytes(lora.read_bytes()[:-3])
    with pytest.raises(FluxgymError, match="incomplete"):
        export_to_folder(run, tmp_path / "loras")
    assert not (tmp_path / "loras").exists()
