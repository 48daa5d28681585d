"""The scripts around the tiny base: its training takes a step, and the README's picture is drawn from a run."""

from importlib import import_module
from pathlib import Path

import pytest
import torch
from PIL import Image

from fluxgym_tui.trainer.autoencoder import load_autoencoder
from fluxgym_tui.trainer.flux import load_flux
from fluxgym_tui.trainer.text import load_text_encoders


@pytest.fixture(autouse=True)
def scripts(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(Path(__file__).parents[2] / "scripts"))


@pytest.mark.usefixtures("one_thread")
def test_making_the_tiny_base_leaves_files_that_load(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    make_tiny_flux, autoencoding = import_module("make_tiny_flux"), import_module("tiny_flux.autoencoding")
    for module, settings in (
        (autoencoding, {"PICTURES": 2, "BATCH": 1, "CROP_PX": 32}),
        (import_module("tiny_flux.matching"), {"BATCH": 2}),
        (
            make_tiny_flux,
            {"AUTOENCODER_THREADS": 1, "AUTOENCODER_STEPS": 2, "TRANSFORMER_STEPS": 2, "DRAWINGS": 5, "CAPTIONS": 50},
        ),
    ):
        for name, value in settings.items():
            monkeypatch.setattr(module, name, value)
    make_tiny_flux.make_autoencoder(tmp_path)
    make_tiny_flux.make_transformer(tmp_path)
    texts = load_text_encoders(
        clip_l=tmp_path / "clip_l.safetensors",
        t5xxl=tmp_path / "t5xxl.safetensors",
        max_tokens=64,
        tokenizer_cache_dir=tmp_path / "tokenizers",
    )
    model = load_flux(tmp_path / "flux1-tiny.safetensors")
    assert texts.encode(["a red cat"])["t5_out"].shape[-1] == model.geometry.context_in_dim
    assert load_autoencoder(tmp_path / "ae.safetensors").geometry == autoencoding.GEOMETRY
    assert torch.get_num_threads() == 1


def test_the_side_by_side_takes_the_first_and_last_round(tmp_path: Path) -> None:
    side_by_side = import_module("side_by_side")
    (tmp_path / "sample").mkdir()
    (tmp_path / "sample_prompts.txt").write_text("# shown\na red cat --w 128 --d 1\na boat --h 64\n", encoding="utf-8")
    for step, second, colour in (("000000", 5, "red"), ("e000004", 7, "green"), ("000200", 9, "blue")):
        for prompt in range(2):
            name = f"demo_{step}_{prompt:02d}_2026010100000{second}_1.png"
            Image.new("RGB", (128, 64 + 64 * prompt), colour).save(tmp_path / "sample" / name)
    pairs = side_by_side.find_pairs(tmp_path)
    assert [pair.prompt for pair in pairs] == ["a red cat", "a boat"]
    assert all("_000000_" in pair.before.name and "_000200_" in pair.after.name for pair in pairs)
    sheet = side_by_side.draw_sheet(pairs)
    colours = {colour for _, colour in sheet.getcolors(maxcolors=100_000) or []}
    assert {(255, 0, 0), (0, 0, 255)} <= colours
    assert (0, 128, 0) not in colours


def test_a_run_without_two_rounds_is_refused(tmp_path: Path) -> None:
    side_by_side = import_module("side_by_side")
    (tmp_path / "sample").mkdir()
    (tmp_path / "sample_prompts.txt").write_text("a red cat\n", encoding="utf-8")
    with pytest.raises(SystemExit, match="no prompt has two samples"):
        side_by_side.find_pairs(tmp_path)
