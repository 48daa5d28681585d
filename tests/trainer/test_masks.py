"""Masks: what is transparent, or black in a mask of its own, does not count."""

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import load_file

from fluxgym_tui.base.errors import FluxgymError
from fluxgym_tui.trainer.cache import latent_path, read_batch
from fluxgym_tui.trainer.data import PictureBatch, load_training_data
from fluxgym_tui.trainer.setup import settle
from tests.trainer.trainer_options import drawn_dataset, kinds, options_for, train_quickly

STEPS = ("--max_train_steps", "2", "--network_dim", "2")


def masked_dataset(folder: Path, *, subset: str, transparent: bool) -> Path:
    """Two pictures whose left half is see-through or not, and masks of their own that are white on the right."""
    toml = drawn_dataset(folder, pictures=2, batch_size=2)
    (folder / "masks").mkdir()
    for path in sorted((folder / "photos").glob("*.png")):
        with Image.open(path) as image:
            pixels = np.asarray(image.convert("RGBA")).copy()
        pixels[:, :32, 3] = 0 if transparent else 255
        Image.fromarray(pixels).save(path)
        mask = Image.new("RGB", (64, 64))
        mask.paste((255, 0, 0), (32, 0, 64, 64))
        mask.save(folder / "masks" / path.name)
    toml.write_text(toml.read_text(encoding="utf-8") + subset, encoding="utf-8")
    return toml


def losses(toml: Path, folder: Path, *flags: str) -> list[float]:
    return [event["loss"] for event in kinds(train_quickly(toml, folder, *STEPS, *flags), "step")]


@pytest.fixture(scope="module")
def plain(tmp_path_factory: pytest.TempPathFactory) -> list[float]:
    folder = tmp_path_factory.mktemp("plain")
    return losses(masked_dataset(folder, subset="", transparent=True), folder / "out")


def test_transparency_and_masks_weigh_alike(plain: list[float], tmp_path: Path) -> None:
    seen = masked_dataset(tmp_path / "alpha", subset="alpha_mask = true\n", transparent=True)
    through = losses(seen, tmp_path / "alpha" / "out")
    folder = tmp_path / "mask"
    own = masked_dataset(folder, subset=f"conditioning_data_dir = '{folder / 'masks'}'\n", transparent=True)
    masked = losses(own, folder / "out", "--masked_loss")
    assert masked == pytest.approx(through, rel=1e-6)
    assert all(one < other for one, other in zip(masked, plain, strict=True))  # half of it counts


def test_the_cache_is_sd_scripts_own(tmp_path: Path) -> None:
    toml = masked_dataset(tmp_path, subset="alpha_mask = true\n", transparent=True)
    losses(toml, tmp_path / "out")
    picture = load_training_data(options_for(toml), seed=0).pictures[0]
    with np.load(latent_path(picture)) as file:
        mask = file["alpha_mask_8x8"]
    assert (mask.shape, mask.dtype) == ((64, 64), np.float32)
    assert (mask[:, :32].max(), mask[:, 32:].min()) == (0, 1)
    read = read_batch(PictureBatch(pictures=(picture,), captions=("",)))
    assert read.masks is not None
    assert read.masks.shape == (1, 1, 8, 8)
    assert torch.equal(read.masks[0, 0, 3], torch.tensor([0.0] * 4 + [1.0] * 4))


def test_a_picture_without_transparency_counts_fully(tmp_path: Path) -> None:
    toml = masked_dataset(tmp_path, subset="", transparent=False)
    whole = losses(toml, tmp_path / "out")
    assert losses(toml, tmp_path / "masked", "--alpha_mask", "--masked_loss") == pytest.approx(whole, rel=1e-6)


def test_a_cache_without_its_mask_is_made_anew(tmp_path: Path) -> None:
    toml = masked_dataset(tmp_path, subset="", transparent=True)
    whole = losses(toml, tmp_path / "out")
    assert losses(toml, tmp_path / "again", "--alpha_mask") < whole
    assert losses(toml, tmp_path / "back") == pytest.approx(whole, rel=1e-6)


@pytest.mark.parametrize(
    ("subset", "flags", "words"),
    [
        ("", ("--masked_loss",), "--masked_loss has no effect"),
        ("conditioning_data_dir = '{masks}'\n", (), "needs --masked_loss"),
        ("conditioning_data_dir = '{photos}/none'\n", ("--masked_loss",), "has no mask for 0.png"),
    ],
)
def test_masks_that_do_not_come_together_are_refused(
    tmp_path: Path, subset: str, flags: tuple[str, ...], words: str
) -> None:
    folders = {"masks": tmp_path / "masks", "photos": tmp_path / "photos"}
    toml = masked_dataset(tmp_path, subset=subset.format(**folders), transparent=True)
    with pytest.raises(FluxgymError, match=words):
        settle(options_for(toml, *flags))


def test_a_mask_of_another_size_is_refused(tmp_path: Path) -> None:
    toml = masked_dataset(tmp_path, subset=f"conditioning_data_dir = '{tmp_path / 'masks'}'\n", transparent=True)
    Image.new("L", (32, 64)).save(tmp_path / "masks" / "1.png")
    with pytest.raises(FluxgymError, match=r"1\.png is 32x64"):
        settle(options_for(toml, "--masked_loss"))


def test_a_prior_loss_weight_weighs_regularisation_pictures(tmp_path: Path) -> None:
    toml = drawn_dataset(tmp_path, pictures=1)
    (tmp_path / "reg").mkdir()
    Image.new("RGB", (64, 64), (0, 90, 200)).save(tmp_path / "reg" / "r.png")
    toml.write_text(
        toml.read_text(encoding="utf-8").replace("batch_size = 1", "batch_size = 2")
        + f"[[datasets.subsets]]\nimage_dir = '{tmp_path / 'reg'}'\nis_reg = true\nclass_tokens = 'a square'\n",
        encoding="utf-8",
    )
    found = {}
    for weight in ("0", "1", "3"):
        train_quickly(toml, tmp_path / weight, *STEPS, "--prior_loss_weight", weight)
        told = (tmp_path / f"{weight}.jsonl").read_text(encoding="ascii")
        found[weight] = float(told.partition('"loss":')[2].partition(",")[0])
    assert found["3"] - found["1"] == pytest.approx(2 * (found["1"] - found["0"]), rel=1e-4)
    assert (tmp_path / "1" / "last.safetensors").is_file()
    assert load_file(tmp_path / "1" / "last.safetensors")
