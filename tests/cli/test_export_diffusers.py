"""`export --to diffusers`: a LoRA file or a run's LoRA, to a file that diffusers takes."""

import json
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from tests.cli.calls import Run, RunJson

NAME = "lora_unet_double_blocks_0_img_attn_qkv"


@pytest.fixture
def lora(tmp_path: Path) -> Path:
    """A LoRA of one layer."""
    path = tmp_path / "hrld.safetensors"
    tensors = {
        f"{NAME}.lora_down.weight": torch.ones(2, 6),
        f"{NAME}.lora_up.weight": torch.arange(36.0).view(18, 2),
        f"{NAME}.alpha": torch.tensor(1.0),
    }
    save_file(tensors, path)
    return path


def test_a_file_is_written_where_it_is_wanted(lora: Path, run: Run, run_json: RunJson, tmp_path: Path) -> None:
    target = tmp_path / "out.safetensors"
    code, out, _ = run("export", lora, "--to", "diffusers", target)
    assert (code, out) == (0, f"{target}: 3 layers of rank 2, F32\n")
    query = load_file(target)["transformer.transformer_blocks.0.attn.to_q.lora_B.weight"]
    assert torch.equal(query, torch.arange(12.0).view(6, 2) * 0.5)
    code, document = run_json("export", lora, "--to", "diffusers", target, "--force")
    assert code == 0
    assert document == {"source": str(lora), "path": str(target), "layers": 3, "rank": 2, "dtype": "F32"}


def test_without_a_file_it_goes_here_and_into_a_folder_by_its_name(
    lora: Path, run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "here"
    folder.mkdir()
    monkeypatch.chdir(folder)
    assert run("export", lora, "--to", "diffusers")[0] == 0
    assert (folder / "hrld-diffusers.safetensors").is_file()
    assert run("export", lora, "--to", "diffusers", tmp_path)[0] == 0
    assert (tmp_path / "hrld-diffusers.safetensors").is_file()


def test_nothing_is_replaced_unasked_and_never_the_lora_itself(lora: Path, run: Run, tmp_path: Path) -> None:
    target = tmp_path / "out.safetensors"
    target.write_bytes(b"mine")
    code, _, err = run("export", lora, "--to", "diffusers", target)
    assert code == 2
    assert "is there already" in err
    assert target.read_bytes() == b"mine"
    code, _, err = run("export", lora, "--to", "diffusers", lora, "--force")
    assert code == 2
    assert "is the LoRA itself" in err
    code, _, err = run("export", lora, "--to", "diffusers", tmp_path / "nowhere" / "x.safetensors")
    assert code == 1
    assert "cannot be written: No such file" in err


def test_a_runs_lora_is_found_by_name_and_checkpoint(lora: Path, run: Run, tmp_path: Path) -> None:
    folder = tmp_path / "outputs" / "hrld"
    (folder / "run").mkdir(parents=True)
    (folder / "run" / "manifest.json").write_text('{"schema": 1, "name": "hrld"}', encoding="utf-8")
    for name in ("hrld-000002.safetensors", "hrld.safetensors"):
        (folder / name).write_bytes(lora.read_bytes())
    code, out, err = run("export", "hrld", "--to", "diffusers", tmp_path / "last.safetensors", "--json")
    assert code == 0, err
    assert json.loads(out)["source"] == str(folder / "hrld.safetensors")
    code, out, err = run(
        "export", "hrld", "--checkpoint", "2", "--to", "diffusers", tmp_path / "second.safetensors", "--json"
    )
    assert code == 0, err
    assert json.loads(out)["source"] == str(folder / "hrld-000002.safetensors")
    code, _, err = run("export", lora, "--to", "diffusers", tmp_path / "x.safetensors", "--checkpoint", "2")
    assert code == 2
    assert "--checkpoint has no meaning for a file" in err


def test_a_run_that_is_not_there_and_a_file_that_is_no_lora_are_told(run: Run, tmp_path: Path) -> None:
    code, _, err = run("export", "nothing", "--to", "diffusers")
    assert code == 4
    assert "no run 'nothing'" in err
    other = tmp_path / "other.safetensors"
    save_file({"weight": torch.ones(1)}, other)
    code, _, err = run("export", other, "--to", "diffusers", tmp_path / "x.safetensors")
    assert code == 2
    assert "no FLUX LoRA in kohya's layout" in err
