"""What is answered and found before a training starts."""

from pathlib import Path

import pytest
from PIL import Image

from fluxgym_tui.base.errors import FluxgymError
from fluxgym_tui.base.findings import Finding, Severity
from fluxgym_tui.checks import model_files
from fluxgym_tui.checks.preflight import preflight
from fluxgym_tui.checks.spec_plan import plan_spec
from fluxgym_tui.config.spec import TrainSpec
from fluxgym_tui.config.specfile import build_spec
from fluxgym_tui.config.workspace import Workspace
from fluxgym_tui.machine.disk import DiskFacts
from fluxgym_tui.machine.sessions import Detachment
from tests.hub.model_files import put_model


@pytest.fixture(autouse=True)
def no_card(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")


def _picture(path: Path, size: tuple[int, int]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", size, (200, 30, 30)).save(path)


def test_every_auto_is_answered_and_the_plan_counts_the_staged_sizes(tmp_path: Path) -> None:
    photos = tmp_path / "photos"
    _picture(photos / "a.png", (600, 400))
    _picture(photos / "b.png", (400, 600))
    spec = build_spec(
        {
            "name": "X",
            "trigger": "xx",
            "base_model": "tiny-flux",
            "dataset": {"path": photos, "resolution": 512, "resize": 200},
        }
    )
    ready = preflight(spec, workspace=Workspace(tmp_path / "ws"))
    assert (ready.spec.backend, ready.spec.training.vram, ready.model.key) == ("builtin", "cpu", "tiny-flux")
    assert [planned.image.size for planned in ready.plan.plan.images] == [(300, 200), (200, 300)]
    assert ready.plan.plan.steps.total == 2 * 10 * 16
    assert not [finding for finding in ready.errors if finding.code != "backend_missing"]


def test_a_model_that_is_not_here_is_downloaded_first(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    _nothing_but_room(tmp_path, monkeypatch)
    ready = preflight(_flux(tmp_path), workspace=Workspace(tmp_path / "ws"))
    assert [finding for finding in ready.errors if finding.code.startswith("model")] == []
    (said,) = [finding for finding in ready.findings if finding.code == "model_download"]
    assert said.severity is Severity.ADVICE
    assert said.title == "flux-dev: 12 files to download before the training, about 34.2 GB"
    assert ready.files is None
    home = tmp_path / "ws/models"
    assert ready.model_state.expected.transformer == home / "unet/flux1-dev.sft"
    assert ready.model_state.expected.tokenizer_cache_dir == home / "tokenizers"
    assert [wanted.target for wanted in ready.to_fetch][:4] == [
        home / "unet/flux1-dev.sft",
        home / "clip/clip_l.safetensors",
        home / "clip/t5xxl_fp16.safetensors",
        home / "vae/ae.sft",
    ]


def test_what_nothing_can_fetch_stops_the_training(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    _nothing_but_room(tmp_path, monkeypatch)
    workspace = Workspace(tmp_path / "ws")

    def errors(base_model: str) -> dict[str, str]:
        ready = preflight(_flux(tmp_path, base_model), workspace=workspace)
        return {finding.code: finding.title for finding in ready.errors if finding.code.startswith("model")}

    gated = errors("flux-dev-official")
    assert gated == {"model_login": "flux-dev-official asks who you are, and nobody is logged in to Hugging Face"}
    monkeypatch.setenv("HF_TOKEN", "hf_x")
    assert errors("flux-dev-official") == {}
    monkeypatch.setattr(model_files, "is_offline", lambda: True)
    assert errors("flux-dev") == {"model_offline": "flux-dev is not here, and HF_HUB_OFFLINE is set"}
    monkeypatch.setattr(model_files, "is_offline", lambda: False)
    monkeypatch.setattr(model_files, "disk_facts", lambda _: DiskFacts(total=1, free=10**9, mount=Path("/"), kind="x"))
    assert errors("flux-dev") == {"model_room": "34.2 GB of flux-dev are to be downloaded, and the disk has 1.0 GB"}
    _nothing_but_room(tmp_path, monkeypatch)
    put_model(workspace.models / "unet/flux1-dev.sft", "t5")
    assert errors("flux-dev") == {
        "model_blocked": "flux-dev: flux1-dev.sft is not what it should be, but: T5 text encoder"
    }
    (tmp_path / "ws/models.yaml").write_text("mine:\n  path: mine.safetensors\n  license: mit\n", encoding="utf-8")
    assert errors("mine") == {"model_missing": "mine: mine.safetensors is not here"}


def test_a_download_that_would_end_with_the_container_is_warned_of(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    _nothing_but_room(tmp_path, monkeypatch)
    layer = DiskFacts(total=10**15, free=10**15, mount=Path("/"), kind="overlay")
    monkeypatch.setattr(model_files, "disk_facts", lambda _: layer)
    ready = preflight(_flux(tmp_path), workspace=Workspace(tmp_path / "ws"))
    (said,) = [finding for finding in ready.findings if finding.code == "model_disk_passes"]
    assert said.severity is Severity.WARNING
    assert "ends with the container" in said.title


def test_what_one_should_know_of_a_model_is_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    _nothing_but_room(tmp_path, monkeypatch)
    ready = preflight(_flux(tmp_path, "schnell"), workspace=Workspace(tmp_path / "ws"))
    (note,) = [finding for finding in ready.findings if finding.code == "model_note"]
    assert note.title.startswith("flux-schnell: not recommended for training")


def _flux(tmp_path: Path, base_model: str = "flux-dev") -> TrainSpec:
    _picture(tmp_path / "photos/a.png", (600, 400))
    return build_spec(
        {
            "name": "X",
            "trigger": "xx",
            "backend": "builtin",
            "base_model": base_model,
            "dataset": {"path": tmp_path / "photos"},
        }
    )


def _nothing_but_room(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A machine with no models, nobody logged in, and a large disk."""
    for name in ("HF_TOKEN", "HUGGING_FACE_HUB_TOKEN", "HF_HUB_CACHE", "HF_HUB_OFFLINE", "COMFYUI_PATH"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.setenv("HF_HOME", str(tmp_path / "hf"))
    monkeypatch.setattr("huggingface_hub.constants.HF_TOKEN_PATH", str(tmp_path / "hf/token"))
    room = DiskFacts(total=10**15, free=10**15, mount=Path("/"), kind="x")
    monkeypatch.setattr(model_files, "disk_facts", lambda _: room)


def test_no_picture_and_only_broken_ones_stop_the_training_with_a_clear_word(tmp_path: Path) -> None:
    empty, broken = tmp_path / "empty", tmp_path / "broken"
    empty.mkdir()
    broken.mkdir()
    (broken / "a.png").write_bytes(b"\x89PNG\r\n\x1a\n")
    (broken / "b.jpg").write_bytes(b"")
    for folder in (empty, broken):
        spec = build_spec({"name": "X", "trigger": "xx", "base_model": "tiny-flux", "dataset": {"path": folder}})
        ready = preflight(spec, workspace=Workspace(tmp_path / "ws"))
        assert ready.plan.plan.steps.total is None
        (said,) = [finding for finding in ready.findings if finding.code == "no_pictures"]
        assert said.path == str(folder)
        assert (said.detail is not None) is (folder == broken)
    assert said.detail == "not trained: a.png: the picture is cut off: its end is missing, b.jpg: the file is empty"


def test_a_folder_that_is_missing_is_an_error_with_its_path(tmp_path: Path) -> None:
    spec = build_spec({"name": "X", "base_model": "tiny-flux", "dataset": {"path": tmp_path / "nowhere"}})
    with pytest.raises(FluxgymError, match="nowhere"):
        preflight(spec, workspace=Workspace(tmp_path / "ws"))


def test_the_disk_that_loras_take_follows_rank_and_precision(tmp_path: Path) -> None:
    _picture(tmp_path / "photos/a.png", (600, 400))
    spec = build_spec({"name": "X", "trigger": "xx", "dataset": {"path": tmp_path / "photos"}})
    half = plan_spec(spec, flags={"max_train_epochs": 2, "save_precision": "bf16"}).plan.disk_bytes
    full = plan_spec(spec, flags={"max_train_epochs": 2, "mixed_precision": "no"}).plan.disk_bytes
    assert half is not None
    assert full is not None
    assert 1.9 < full / half < 2.0
    # Two files of rank 4 over the 304 linears of FLUX.1.
    assert 38.0e6 < half < 39.0e6


def test_a_machine_that_ends_runs_with_their_login_is_warned_of(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    _picture(tmp_path / "photos/a.png", (600, 400))
    spec = build_spec(
        {"name": "X", "trigger": "xx", "base_model": "tiny-flux", "dataset": {"path": tmp_path / "photos"}}
    )
    finding = Finding(code="logout_ends_run", severity=Severity.WARNING, title="it ends")
    monkeypatch.setattr("fluxgym_tui.checks.preflight.detachment", lambda: Detachment(finding=finding))
    assert finding in preflight(spec, workspace=Workspace(tmp_path / "ws")).findings
