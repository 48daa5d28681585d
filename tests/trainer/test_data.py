"""Which pictures are trained, how they are cut, what they are called, and the batches of an epoch."""

import json
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from fluxgym_tui.base.errors import FluxgymError
from fluxgym_tui.plan.buckets import BucketFit
from fluxgym_tui.plan.steps import count_steps
from fluxgym_tui.trainer.data import TrainingData, list_pictures, load_training_data
from fluxgym_tui.trainer.pixels import load_pixels, resize
from tests.trainer.trainer_options import options_for

STEP_CASES: list[dict[str, Any]] = json.loads(
    (Path(__file__).parents[1] / "data" / "steps.json").read_text(encoding="utf-8")
)["cases"]


def picture(path: Path, size: tuple[int, int] = (64, 64), *, caption: str | bytes | None = None) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", size, (200, 30, 30)).save(path)
    if caption is not None:
        path.with_suffix(".txt").write_bytes(caption.encode() if isinstance(caption, str) else caption)
    return path


def dataset_toml(folder: Path, subsets: str, *, dataset: str = "resolution = 64") -> Path:
    path = folder / "dataset.toml"
    path.write_text(f"[general]\ncaption_extension = '.txt'\n[[datasets]]\n{dataset}\n{subsets}", encoding="utf-8")
    return path


def subset(folder: Path, more: str = "") -> str:
    return f"[[datasets.subsets]]\nimage_dir = '{folder}'\n{more}\n"


def load(folder: Path, subsets: str, *flags: str, dataset: str = "resolution = 64", seed: int = 1) -> TrainingData:
    return load_training_data(options_for(dataset_toml(folder, subsets, dataset=dataset), *flags), seed=seed)


def toml_of(case: dict[str, Any], folder: Path) -> Path:
    """The case's datasets as a dataset.toml, with real (one-bit) pictures of its sizes."""
    lines: list[str] = []
    for number, dataset in enumerate(case["input"]["datasets"]):
        lines.append("[[datasets]]")
        lines += [f"{key} = {json.dumps(value)}" for key, value in dataset.items() if key != "subsets"]
        for entry in dataset["subsets"]:
            image_dir = folder / f"{number}_{Path(entry['image_dir']).name}"
            image_dir.mkdir(exist_ok=True)
            for name, width, height in entry["images"]:
                Image.new("1", (width, height)).save(image_dir / name)
            lines += ["[[datasets.subsets]]", f"image_dir = {json.dumps(str(image_dir))}"]
            lines += [f"{k} = {json.dumps(v)}" for k, v in entry.items() if k not in ("image_dir", "images", "note")]
    path = folder / "dataset.toml"
    path.write_text("\n".join(lines), encoding="utf-8")
    return path


@pytest.mark.parametrize("case", STEP_CASES, ids=lambda case: case["id"])
def test_an_epoch_has_the_batches_that_sd_scripts_makes(case: dict[str, Any], tmp_path: Path) -> None:
    given, expected = case["input"], case["output"]
    toml = toml_of(case, tmp_path)
    if expected["result"] != "ok":
        with pytest.raises(FluxgymError):
            load_training_data(options_for(toml), seed=3)
        return
    data = load_training_data(options_for(toml), seed=3)
    counts = count_steps(
        len(data.batches(epoch=1)),
        max_train_epochs=given.get("max_train_epochs"),
        max_train_steps=given.get("max_train_steps"),
        gradient_accumulation_steps=given.get("gradient_accumulation_steps", 1),
    )
    assert counts.batches_per_epoch == expected["batches_per_epoch"]
    assert (counts.steps_per_epoch, counts.epochs) == (
        expected["num_update_steps_per_epoch"],
        expected["num_train_epochs"],
    )
    trained = Counter(picture.fit.bucket for dataset in data.sets for picture in dataset.pictures)
    assert set(trained) == {tuple(bucket) for dataset in expected["datasets"] for bucket, _ in dataset["buckets"]}


def test_an_epoch_trains_each_picture_as_often_as_it_is_repeated(tmp_path: Path) -> None:
    for number in range(5):
        picture(tmp_path / "a" / f"{number}.png", (64, 128) if number % 2 else (128, 64))
    buckets = "resolution = [64, 128]\nbatch_size = 2\nenable_bucket = true\nmin_bucket_reso = 64"
    data = load(tmp_path, subset(tmp_path / "a", "num_repeats = 3"), dataset=buckets)
    batches = data.batches(epoch=1)
    assert Counter(picture.path.name for batch in batches for picture in batch) == {f"{n}.png": 3 for n in range(5)}
    assert all(len({picture.fit.bucket for picture in batch}) == 1 for batch in batches)
    assert len(batches) == 5 + 3  # three wide ones make nine in batches of two, two tall ones six


def test_the_order_follows_from_seed_and_epoch_alone(tmp_path: Path) -> None:
    for number in range(8):
        picture(tmp_path / "a" / f"{number}.png")
    data, again, other = (load(tmp_path, subset(tmp_path / "a"), seed=seed) for seed in (1, 1, 2))
    assert data.batches(epoch=2) == data.batches(epoch=2) == again.batches(epoch=2)
    assert data.batches(epoch=1) != data.batches(epoch=2)
    assert data.batches(epoch=1) != other.batches(epoch=1)


def test_captions_are_the_first_line_or_the_class_tokens(tmp_path: Path) -> None:
    folder = tmp_path / "a"
    picture(folder / "1.png", caption="  a red square \nsecond line\n")
    picture(folder / "2.png")
    picture(folder / "3.png", caption=b"\xef\xbb\xbfwith a mark")
    picture(folder / "4.png", caption="caf\u00e9".encode("latin-1"))
    data = load(tmp_path, subset(folder, "class_tokens = 'sks thing'"))
    assert [p.caption for p in data.pictures] == ["a red square", "sks thing", "with a mark", "caf\u00e9"]


@pytest.mark.parametrize("caption", [b"", b"\0\1\2\0\0\xff"])
def test_a_caption_file_that_says_nothing_is_named(tmp_path: Path, caption: bytes) -> None:
    picture(tmp_path / "a" / "1.png", caption=caption)
    with pytest.raises(FluxgymError, match=r"1\.txt"):
        load(tmp_path, subset(tmp_path / "a"))


def test_pictures_are_those_of_the_folder_itself(tmp_path: Path) -> None:
    for name in ("b.png", "a.JPG", "c[1].webp", "deep/d.png", ".hidden.png"):
        picture(tmp_path / name)
    (tmp_path / "note.txt").write_text("x", encoding="utf-8")
    assert [path.name for path in list_pictures(tmp_path)] == ["a.JPG", "b.png", "c[1].webp"]


@pytest.mark.parametrize(
    ("dataset", "more", "name"),
    [
        ("resolution = 64", "shuffle_caption = true", "shuffle_caption"),
        ("resolution = 64", "flip_aug = true", "flip_aug"),
        ("resolution = 64\nvalidation_split = 0.1", "", "validation_split"),
    ],
)
def test_what_a_dataset_asks_for_and_is_not_done_is_named(tmp_path: Path, dataset: str, more: str, name: str) -> None:
    picture(tmp_path / "a" / "1.png")
    with pytest.raises(FluxgymError, match=name):
        load(tmp_path, subset(tmp_path / "a", more), dataset=dataset)


def test_no_picture_and_no_real_picture_end_in_clear_words(tmp_path: Path) -> None:
    (tmp_path / "a").mkdir()
    with pytest.raises(FluxgymError, match="no picture to train"):
        load(tmp_path, subset(tmp_path / "a"))
    (tmp_path / "a" / "broken.png").write_bytes(b"not a picture")
    with pytest.raises(FluxgymError, match=r"broken\.png"):
        load(tmp_path, subset(tmp_path / "a"))


def test_a_resolution_that_flux_cannot_pack_is_refused(tmp_path: Path) -> None:
    picture(tmp_path / "a" / "1.png")
    with pytest.raises(FluxgymError, match="multiples of 16"):
        load(tmp_path, subset(tmp_path / "a"), dataset="resolution = [72, 64]")


def test_command_line_settings_fill_what_the_file_does_not_say(tmp_path: Path) -> None:
    picture(tmp_path / "a" / "1.png", (100, 200))
    flags = ("--enable_bucket", "--train_batch_size", "3", "--min_bucket_reso", "64")
    data = load(tmp_path, subset(tmp_path / "a"), *flags, dataset="resolution = 128")
    assert data.sets[0].config.batch_size == 3
    assert data.pictures[0].fit.bucket == (64, 192)


def test_regularisation_pictures_fill_up_and_weigh_their_own(tmp_path: Path) -> None:
    for number in range(3):
        picture(tmp_path / "a" / f"{number}.png")
    for number in range(2):
        picture(tmp_path / "reg" / f"r{number}.png")
    both = subset(tmp_path / "a", "num_repeats = 2") + subset(tmp_path / "reg", "is_reg = true")
    data = load(tmp_path, both, "--prior_loss_weight", "0.5")
    assert {p.path.name: (p.repeats, p.loss_weight) for p in data.pictures} == {
        "0.png": (2, 1.0), "1.png": (2, 1.0), "2.png": (2, 1.0), "r0.png": (3, 0.5), "r1.png": (3, 0.5),
    }  # fmt: skip


def area_mean(pixels: np.ndarray[Any, Any], width: int, height: int) -> np.ndarray[Any, Any]:
    """Area means by their definition: overlap of every pixel with every target."""

    def overlap(length: int, count: int) -> np.ndarray[Any, Any]:
        edges, targets = np.arange(length + 1), np.arange(count + 1) * (length / count)
        both = np.minimum(edges[1:], targets[1:, None]) - np.maximum(edges[:-1], targets[:-1, None])
        shares: np.ndarray[Any, Any] = np.clip(both, 0, None) * (count / length)
        return shares

    rows, columns = overlap(pixels.shape[0], height), overlap(pixels.shape[1], width)
    means: np.ndarray[Any, Any] = np.einsum("ir,jc,rck->ijk", rows, columns, pixels.astype(np.float64))
    return means


@pytest.mark.parametrize(
    ("size", "target"), [((7, 5), (3, 2)), ((64, 48), (32, 16)), ((53, 40), (53, 32)), ((9, 9), (9, 9))]
)
def test_pictures_are_scaled_down_by_area(size: tuple[int, int], target: tuple[int, int]) -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (size[1], size[0], 3), dtype=np.uint8)
    scaled = resize(pixels, width=target[0], height=target[1])
    assert np.abs(scaled - area_mean(pixels, *target)).max() <= 0.5 + 1e-6


def test_pictures_are_scaled_up_by_lanczos() -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (8, 8, 3), dtype=np.uint8)
    expected = Image.fromarray(pixels).resize((16, 4), Image.Resampling.LANCZOS)
    assert np.array_equal(resize(pixels, width=16, height=4), np.asarray(expected))


def test_pixels_are_cropped_in_the_middle_and_between_minus_one_and_one(tmp_path: Path) -> None:
    image = Image.new("RGBA", (4, 2))
    image.putpixel((1, 0), (255, 0, 128, 10))
    image.save(tmp_path / "a.png")
    tensor, alpha = load_pixels(tmp_path / "a.png", BucketFit((2, 2), (4, 2), (1, 0, 3, 2)))
    assert alpha is None
    assert tensor.shape == (3, 2, 2)
    assert torch.allclose(tensor[:, 0, 0], torch.tensor([1.0, -1.0, 128 / 127.5 - 1]), atol=1e-6)
    assert torch.equal(tensor[:, 1, 1], torch.full((3,), -1.0))


def test_a_truncated_picture_is_named_when_its_pixels_are_read(tmp_path: Path) -> None:
    path = picture(tmp_path / "a.png", (64, 64))
    path.write_bytes(path.read_bytes()[:-40])
    with pytest.raises(FluxgymError, match=r"a\.png"):
        load_pixels(path, BucketFit((64, 64), (64, 64), (0, 0, 64, 64)))
