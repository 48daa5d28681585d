"""`export RUN --to comfyui|a1111|DIR` from the command line."""

from pathlib import Path

import pytest

from fluxgym_tui.runs.directory import RunDirectory
from tests.cli.calls import Run, RunJson
from tests.runs.publishable import publishable_run


@pytest.fixture
def hrld(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> RunDirectory:
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.setenv("COMFYUI_PATH", str(tmp_path / "comfy"))
    return publishable_run(tmp_path / "outputs")


def test_to_comfyui(run_json: RunJson, run: Run, hrld: RunDirectory, tmp_path: Path) -> None:
    (tmp_path / "comfy/models").mkdir(parents=True)
    code, told = run_json("export", hrld.name, "--to", "comfyui", "--checkpoint", "4")
    loras = tmp_path / "comfy/models/loras"
    assert (code, told["lora"]) == (0, str(loras / "hrld-person-000004.safetensors"))
    assert told["preview"] == str(loras / "hrld-person-000004.png")
    assert Path(told["preview"]).is_file()
    Path(told["lora"]).write_bytes(b"another")
    code, _, err = run("export", hrld.name, "--to", "comfyui", "--checkpoint", "4")
    assert code == 5
    assert "--force replaces it" in err
    assert run("export", hrld.name, "--to", "comfyui", "--checkpoint", "4", "--force")[0] == 0


def test_to_a_folder_that_is_made(run: Run, hrld: RunDirectory, tmp_path: Path) -> None:
    code, out, _ = run("export", hrld.name, "--to", tmp_path / "my loras")
    assert code == 0
    assert out.splitlines() == [
        str(tmp_path / "my loras/hrld-person.safetensors"),
        str(tmp_path / "my loras/hrld-person.png"),
    ]


def test_what_it_does_not_take(run: Run, hrld: RunDirectory, tmp_path: Path) -> None:
    code, _, err = run("export", hrld.name, "--to", "comfui")
    assert code == 2
    assert "Did you mean comfyui" in err
    code, _, err = run("export", "hrlt", "--to", f"{tmp_path}/x")
    assert code == 4
    code, _, err = run("export", hrld.name, "--to", f"{tmp_path}/x", "--checkpoint", "77")
    assert code == 4
    assert "no LoRA file '77'" in err
    assert not (tmp_path / "x").exists()
    code, _, err = run("export", "spec.yaml", "--to", "toml", "x.toml", "--checkpoint", "4")
    assert code == 2
    assert "no meaning for toml" in err
