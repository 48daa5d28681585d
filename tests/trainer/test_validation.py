"""Validation: which pictures are kept back, when they are measured, and that measuring changes nothing."""

import random
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from fluxgym_tui.base.errors import FluxgymError
from fluxgym_tui.trainer.cache import read_batch
from fluxgym_tui.trainer.conditioning import TextSource
from fluxgym_tui.trainer.data import PictureBatch, load_training_data
from fluxgym_tui.trainer.flow import flow_losses
from fluxgym_tui.trainer.flux import load_flux
from fluxgym_tui.trainer.setup import settle
from tests.trainer.trainer_options import QUICK, TINY_BASE, drawn_dataset, kinds, options_for, train_quickly

SPLIT = ("--validation_split", "0.4", "--validation_seed", "5")


@pytest.fixture(scope="module")
def dataset(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return drawn_dataset(tmp_path_factory.mktemp("data"), pictures=5)


def test_pictures_are_split_as_sd_scripts_splits_them(dataset: Path) -> None:
    data = load_training_data(options_for(dataset, *SPLIT), seed=0)
    random.seed(5)
    names = [f"{number}.png" for number in range(5)]
    random.shuffle(names)  # sd-scripts' own: the first part is trained, the second measured
    assert [picture.path.name for picture in data.pictures] == names[:3]
    assert [picture.path.name for picture in data.kept_back] == names[3:]


def test_without_its_seed_the_runs_own_splits(dataset: Path) -> None:
    split = [
        {picture.path.name for picture in load_training_data(options_for(dataset, *SPLIT[:2]), seed=seed).kept_back}
        for seed in (1, 1, 2, 3)
    ]
    assert split[0] == split[1]
    assert len({frozenset(names) for names in split}) > 1


@pytest.mark.parametrize(
    ("flags", "steps"),
    [
        ((), [3, 6, 7]),
        (("--validate_every_n_epochs", "2"), [6]),
        (("--validate_every_n_epochs", "9", "--validate_every_n_steps", "2"), [2, 4, 6]),
    ],
)
def test_when_it_is_measured(dataset: Path, tmp_path: Path, flags: tuple[str, ...], steps: list[int]) -> None:
    events = train_quickly(dataset, tmp_path / "out", "--max_train_steps", "7", *SPLIT, *flags)
    found = kinds(events, "validation")
    assert [event["step"] for event in found] == steps
    assert all(event["pictures"] == 2 and event["loss"] > 0 and event["avg_loss"] > 0 for event in found)
    assert len({event["loss"] for event in found}) == len(found)


def test_measuring_changes_no_training(dataset: Path, tmp_path: Path) -> None:
    often = ("--max_train_steps", "4", *SPLIT, "--validate_every_n_steps", "1", "--network_dropout", "0.2")
    first = kinds(train_quickly(dataset, tmp_path / "often", *often), "validation")
    train_quickly(dataset, tmp_path / "once", *often[:-4], "--network_dropout", "0.2")
    here, there = (load_file(tmp_path / name / "last.safetensors") for name in ("often", "once"))
    assert all(torch.equal(here[key], there[key]) for key in there)
    again = kinds(train_quickly(dataset, tmp_path / "again", *often), "validation")
    assert [event["loss"] for event in first] == [event["loss"] for event in again]
    fewer = kinds(train_quickly(dataset, tmp_path / "fewer", *often, "--max_validation_steps", "1"), "validation")
    assert {event["pictures"] for event in fewer} == {1}


def test_noise_is_drawn_as_sd_scripts_draws_it(dataset: Path, tmp_path: Path) -> None:
    """It was seen to give sd-scripts' own loss, 1.0903972, of one picture, from the same caches and base."""
    flags = ("--max_train_steps", "1", *SPLIT, "--max_validation_steps", "1", "--unet_lr", "1e-30")
    (event,) = kinds(train_quickly(dataset, tmp_path / "out", *flags), "validation")
    setup = settle(options_for(dataset, *QUICK, *flags))
    generator = torch.Generator().manual_seed(5)
    torch.empty((), dtype=torch.int64).random_(generator=generator)  # the data loader's own seed
    (picture,) = setup.data.validation_batches()[0]
    read = read_batch(PictureBatch(pictures=(picture,), captions=(picture.caption,)))
    batch, model = (
        TextSource(device=torch.device("cpu")).complete(read),
        load_flux(TINY_BASE / "flux1-tiny.safetensors"),
    )
    losses = []
    for _ in range(4):
        noise = torch.randn(batch.latents.shape, generator=generator)
        sigmas = torch.sigmoid(torch.randn(1, generator=generator))
        sigmas = 3 * sigmas / (1 + 2 * sigmas)
        with torch.no_grad():
            losses += flow_losses(model, batch=batch, noise=noise, sigmas=sigmas, settings=setup.flow).tolist()
    assert event["loss"] == pytest.approx(sum(losses) / 4, rel=1e-5)


@pytest.mark.parametrize(
    ("flags", "words"),
    [
        (("--validation_split", "0.05"), "keeps none of 5 pictures back"),
        (("--validate_every_n_steps", "2"), "validate_every_n_steps has no effect"),
        (("--max_validation_steps", "2"), "max_validation_steps has no effect"),
        (("--validation_seed", "2"), "validation_seed has no effect"),
    ],
)
def test_what_would_measure_nothing_is_refused(dataset: Path, flags: tuple[str, ...], words: str) -> None:
    with pytest.raises(FluxgymError, match=words):
        settle(options_for(dataset, *flags))
