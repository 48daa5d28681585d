"""What is answered and found before a training starts."""

from pathlib import Path

import pytest
from PIL import Image

from fluxgym_tui.base.errors import FluxgymError
from fluxgym_tui.base.findings import Finding, Severity
from fluxgym_tui.checks.preflight import preflight
from fluxgym_tui.checks.spec_plan import plan_spec
from fluxgym_tui.config.specfile import build_spec
from fluxgym_tui.config.workspace import Workspace
from fluxgym_tui.machine.sessions import Detachment


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


def test_a_model_that_is_not_here_is_named_file_by_file_with_its_place(tmp_path: Path) -> None:
    _picture(tmp_path / "photos/a.png", (600, 400))
    spec = build_spec({"name": "X", "trigger": "xx", "dataset": {"path": tmp_path / "photos"}})
    ready = preflight(spec, workspace=Workspace(tmp_path / "ws"))
    missing = [finding for finding in ready.errors if finding.code == "model_missing"]
    assert [finding.title for finding in missing] == [
        "flux-dev: flux1-dev.sft is not here",
        "flux-dev: clip_l.safetensors is not here",
        "flux-dev: t5xxl_fp16.safetensors is not here",
        "flux-dev: ae.sft is not here",
    ]
    assert missing[0].path == str(tmp_path / "ws/models/unet/flux1-dev.sft")
    assert ready.files is None


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
