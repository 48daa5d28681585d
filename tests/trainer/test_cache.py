"""Caches: sd-scripts' files, made again where what they come from changed, and only there."""

import shutil
import threading
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import load_file, save_file

from fluxgym_tui.base.errors import FluxgymError
from fluxgym_tui.dataset.caches import DigestCache
from fluxgym_tui.trainer import cache
from fluxgym_tui.trainer.captions import Moment
from fluxgym_tui.trainer.data import PictureBatch, TrainingData, load_training_data
from tests.trainer.trainer_options import TINY_BASE, drawn_dataset, options_for, train_quickly

ONE_STEP = ("--max_train_steps", "1")


def caches_in(folder: Path) -> dict[str, int]:
    """Each cache file with what changes whenever it is written."""
    return {path.name: path.stat().st_ino for path in folder.glob("*.npz")}


@pytest.fixture(scope="module")
def cached(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a dataset, its caches and a base model of its own, trained once."""
    folder = tmp_path_factory.mktemp("cached")
    shutil.copytree(TINY_BASE, folder / "models")
    train_quickly(drawn_dataset(folder), folder / "out", *ONE_STEP, models=folder / "models")
    return folder


def test_the_files_are_those_of_sd_scripts(cached: Path) -> None:
    photos = cached / "photos"
    assert set(caches_in(photos)) == {f"{n}_0064x0064_flux.npz" for n in range(3)} | {
        f"{n}_flux_te.npz" for n in range(3)
    }
    with np.load(photos / "0_0064x0064_flux.npz") as latents:
        assert {name: (latents[name].shape, str(latents[name].dtype)) for name in latents} == {
            "latents_8x8": ((16, 8, 8), "float32"),
            "original_size_8x8": ((2,), "int64"),
            "crop_ltrb_8x8": ((4,), "float64"),
        }
        assert latents["original_size_8x8"].tolist() == [64, 64]
    with np.load(photos / "0_flux_te.npz") as text:
        shapes = {name: (text[name].shape, str(text[name].dtype)) for name in text}
    context, pooled = shapes["t5_out"][0][1], shapes["l_pooled"][0][0]
    assert shapes == {
        "l_pooled": ((pooled,), "float32"),
        "t5_out": ((16, context), "float32"),
        "txt_ids": ((16, 3), "float32"),
        "t5_attn_mask": ((16,), "int64"),
        "apply_t5_attn_mask": ((), "bool"),
    }


def test_the_stored_crop_is_sd_scripts_own(tmp_path: Path) -> None:
    toml = drawn_dataset(tmp_path, pictures=1)
    Image.new("RGB", (80, 53)).save(tmp_path / "photos" / "0.png")
    train_quickly(toml, tmp_path / "out", *ONE_STEP)
    with np.load(tmp_path / "photos" / "0_0080x0053_flux.npz") as latents:
        # as in sd-scripts' caches of a picture of 320x213 in a bucket of 256: 0, 42, 256, 212.4, here a quarter of it
        assert latents["crop_ltrb_8x8"].tolist() == [0.0, 10.0, 64.0, pytest.approx(10 + 64 * 53 / 80)]


def redraw(folder: Path) -> None:
    Image.new("RGB", (64, 64), (1, 2, 3)).save(folder / "photos" / "1.png")


def recaption(folder: Path) -> None:
    (folder / "photos" / "1.txt").write_text("a blue circle\n", encoding="utf-8")


def touch_nothing(folder: Path) -> None:
    (folder / "photos" / "1.txt").write_text("a red square 1\nmore that is not trained\n", encoding="utf-8")


def other_weights(file: str) -> Callable[[Path], None]:
    def change(folder: Path) -> None:
        path = folder / "models" / file
        tensors = load_file(path)
        name = max(tensors, key=lambda key: tensors[key].numel())
        tensors[name] = tensors[name] * 1.01
        path.unlink()
        save_file(tensors, path)

    return change


@pytest.mark.parametrize(
    ("change", "flags", "rebuilt"),
    [
        (touch_nothing, (), ""),
        (redraw, (), "1_0064"),
        (recaption, (), "1_flux_te"),
        (other_weights("ae.safetensors"), (), "_0064"),
        (other_weights("t5xxl.safetensors"), (), "_flux_te"),
        (other_weights("clip_l.safetensors"), (), "_flux_te"),
        (touch_nothing, ("--t5xxl_max_token_length=16", "--apply_t5_attn_mask"), "_flux_te"),
    ],
    ids=["nothing", "picture", "caption", "autoencoder", "t5", "clip", "mask"],
)
def test_what_changed_is_made_again_and_only_that(
    cached: Path, tmp_path: Path, change: Callable[[Path], None], flags: tuple[str, ...], rebuilt: str
) -> None:
    folder = tmp_path / "moved"
    shutil.copytree(cached, folder)  # keeps the times of change, to the nanosecond
    toml = folder / "dataset.toml"
    toml.write_text(toml.read_text(encoding="utf-8").replace(str(cached), str(folder)), encoding="utf-8")
    before = caches_in(folder / "photos")
    change(folder)
    train_quickly(toml, folder / "out2", *ONE_STEP, *flags, models=folder / "models")
    after = caches_in(folder / "photos")
    assert after.keys() == before.keys()
    changed = {name for name in after if after[name] != before[name]}
    assert changed == {name for name in after if rebuilt and rebuilt in name}


def test_encoders_that_nothing_needs_are_not_loaded(cached: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def loaded(*_: object, **__: object) -> None:
        raise AssertionError("an encoder was loaded")

    monkeypatch.setattr("fluxgym_tui.trainer.encode.load_autoencoder", loaded)
    monkeypatch.setattr("fluxgym_tui.trainer.encode.load_text_encoders", loaded)
    train_quickly(cached / "dataset.toml", cached / "again", *ONE_STEP, models=cached / "models")
    assert (cached / "again" / "last.safetensors").is_file()


def test_a_prompt_is_encoded_once(cached: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    prompts = cached / "prompts.txt"
    prompts.write_text("a cat --w 64 --h 64 --s 1 --d 1\na cat --w 64 --h 64 --s 1 --l 2 --n dog\n", encoding="utf-8")
    sampling = (*ONE_STEP, "--sample_prompts", str(prompts), "--sample_at_first")
    train_quickly(cached / "dataset.toml", cached / "prompted", *sampling, models=cached / "models")
    (first,) = (cached / "prompted" / "sample").glob("*_00_*.png")
    drawn = first.read_bytes()
    first.unlink()
    assert len(list((cached / "prompted" / "sample" / ".prompts").glob("*.npz"))) == 2

    def loaded(*_: object, **__: object) -> None:
        raise AssertionError("an encoder was loaded")

    monkeypatch.setattr("fluxgym_tui.trainer.encode.load_text_encoders", loaded)
    train_quickly(cached / "dataset.toml", cached / "prompted", *sampling, models=cached / "models")
    (again,) = (cached / "prompted" / "sample").glob("*_00_*.png")
    assert again.read_bytes() == drawn


def test_latents_do_not_depend_on_order_or_company(cached: Path, tmp_path: Path) -> None:
    toml = drawn_dataset(tmp_path)
    train_quickly(toml, tmp_path / "out", *ONE_STEP, "--vae_batch_size", "3", models=cached / "models")
    for number in range(3):
        name = f"{number}_0064x0064_flux.npz"
        with np.load(tmp_path / "photos" / name) as ours, np.load(cached / "photos" / name) as theirs:
            assert np.allclose(ours["latents_8x8"], theirs["latents_8x8"], atol=1e-5)


def test_a_broken_cache_is_named(cached: Path, tmp_path: Path) -> None:
    shutil.copytree(cached / "photos", tmp_path / "photos")
    toml = tmp_path / "dataset.toml"
    toml.write_text(
        f"[[datasets]]\nresolution = 64\n[[datasets.subsets]]\nimage_dir = '{tmp_path / 'photos'}'\n", encoding="utf-8"
    )
    pictures = load_training_data(options_for(toml), seed=0).pictures
    (tmp_path / "photos" / "2_flux_te.npz").write_bytes(b"PK\x03\x04 torn")
    with pytest.raises(FluxgymError, match=r"2_flux_te\.npz"):
        cache.read_batch(PictureBatch(pictures=tuple(pictures), captions=("",) * len(pictures)))


def named_batches(data: TrainingData, *, epoch: int) -> list[PictureBatch]:
    moment = Moment(epoch=epoch, steps_done=0, total_steps=9)
    return [
        data.named(pictures, moment=moment, batch=number, cached_text=True)
        for number, pictures in enumerate(data.batches(epoch=epoch))
    ]


def test_batches_come_in_order_however_many_threads_read(cached: Path) -> None:
    data = load_training_data(options_for(cached / "dataset.toml"), seed=0)
    batches = [named for epoch in (1, 2, 3) for named in named_batches(data, epoch=epoch)]
    alone = [batch.latents for batch in cache.read_ahead(batches, workers=0)]
    ahead = [batch.latents for batch in cache.read_ahead(batches, workers=3)]
    assert len(alone) == len(batches)
    assert all(torch.equal(one, other) for one, other in zip(alone, ahead, strict=True))


def test_reading_ahead_ends_with_its_iterator(cached: Path) -> None:
    data = load_training_data(options_for(cached / "dataset.toml"), seed=0)
    reading = cache.read_ahead(named_batches(data, epoch=1) * 20, workers=2)
    next(reading)
    reading.close()
    assert not [thread for thread in threading.enumerate() if thread.name.startswith("cache-reader")]


def test_two_cuts_of_one_picture_are_refused(tmp_path: Path) -> None:
    toml = drawn_dataset(tmp_path)
    second = toml.read_text(encoding="utf-8").split("[[datasets]]")[1].replace("= 64", "= 128")
    toml.write_text(toml.read_text(encoding="utf-8") + f"[[datasets]]{second}", encoding="utf-8")
    pictures = load_training_data(options_for(toml), seed=0).pictures
    with pytest.raises(FluxgymError, match="one cache"):
        cache.latent_keys(pictures, vae_digest="x", digests=DigestCache())
