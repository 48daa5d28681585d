"""Transparency from the user's picture to the trainer: kept where the loss is weighed by it, else put on white."""

from pathlib import Path

import pytest
from PIL import Image

from fluxgym_tui.checks.preflight import preflight
from fluxgym_tui.config.specfile import build_spec
from fluxgym_tui.config.workspace import Workspace
from fluxgym_tui.runs.directory import RunDirectory
from fluxgym_tui.runs.launch import launch
from fluxgym_tui.runs.prepare import prepare
from fluxgym_tui.trainer.cache import latent_path
from fluxgym_tui.trainer.data import load_training_data
from fluxgym_tui.trainer.pixels import load_pixels
from tests.trainer.trainer_options import options_for


@pytest.fixture
def workspace(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Workspace:
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")
    (tmp_path / "photos").mkdir()
    half = Image.new("RGBA", (200, 128), (10, 200, 30, 255))
    half.paste((90, 0, 0, 0), (0, 0, 100, 128))
    half.save(tmp_path / "photos" / "half.png")
    return Workspace(tmp_path / "ws")


def prepared(workspace: Workspace, monkeypatch: pytest.MonkeyPatch, flags: dict[str, object]) -> RunDirectory:
    """A run that was launched and whose pictures are staged; nothing trains."""
    made: list[RunDirectory] = []
    monkeypatch.setattr("fluxgym_tui.runs.launch.start", made.append)
    spec = build_spec(
        {
            "name": "half", "trigger": "hrld", "base_model": "tiny-flux", "backend": "builtin", "flags": flags,
            "dataset": {"path": str(workspace.root.parent / "photos"), "resolution": 128, "resize": 64},
            "training": {"vram": "cpu"},
        }
    )  # fmt: skip
    launch(spec, workspace=workspace)
    prepare(made[0])
    return made[0]


@pytest.mark.parametrize("asked", [True, False])
def test_a_loss_that_is_weighed_by_transparency_finds_it(
    workspace: Workspace, monkeypatch: pytest.MonkeyPatch, asked: bool
) -> None:
    run = prepared(workspace, monkeypatch, {"alpha_mask": True} if asked else {})
    (picture,) = load_training_data(options_for(run.output_dir / "dataset.toml", "--alpha_mask"), seed=0).pictures
    assert latent_path(picture).parent == workspace.root / "datasets" / "half"
    pixels, weights = load_pixels(picture.path, picture.fit, alpha=True)
    assert weights is not None
    assert (float(weights[:, :20].max()), float(weights[:, -20:].min())) == ((0, 1) if asked else (1, 1))
    assert float(pixels[0, 5, -5]) == pytest.approx(10 / 127.5 - 1, abs=0.01)
    if not asked:
        assert float(pixels[:, 5, 5].min()) == 1  # white


def test_asking_for_it_later_makes_the_copies_anew(workspace: Workspace, monkeypatch: pytest.MonkeyPatch) -> None:
    staged = workspace.root / "datasets" / "half"
    prepared(workspace, monkeypatch, {})
    cache = staged / "half_0100x0064_flux.npz"
    cache.write_bytes(b"of the picture on white")
    with Image.open(staged / "half.png") as copy:
        assert copy.mode == "RGB"
    for run in (workspace.root / "outputs").iterdir():
        run.rename(workspace.root / "before")
    prepared(workspace, monkeypatch, {"alpha_mask": True})
    with Image.open(staged / "half.png") as copy:
        assert copy.mode == "RGBA"
    assert not cache.exists()


def test_what_is_kept_is_not_told_as_put_on_white(workspace: Workspace) -> None:
    codes = []
    for flags in ({}, {"alpha_mask": True}):
        spec = build_spec(
            {"name": "x", "trigger": "hrld", "base_model": "tiny-flux", "flags": flags,
             "dataset": {"path": str(workspace.root.parent / "photos")}}
        )  # fmt: skip
        codes.append({finding.code for finding in preflight(spec, workspace=workspace).findings})
    assert codes[0] - codes[1] == {"alpha_on_white"}
