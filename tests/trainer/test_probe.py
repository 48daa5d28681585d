"""The probe: the same noise in every run, and no more pictures than it says."""

from pathlib import Path

import pytest
import torch

from fluxgym_tui.trainer.conditioning import TextSource
from fluxgym_tui.trainer.data import load_training_data
from fluxgym_tui.trainer.flow import FlowSettings, flow_losses
from fluxgym_tui.trainer.flux import Flux, load_flux
from fluxgym_tui.trainer.probe import MOST_PICTURES, SIGMAS, probe_loss, probed_pictures
from tests.trainer.trainer_options import TINY_BASE, drawn_dataset, options_for, train_quickly

RAW = FlowSettings(model_prediction_type="raw")
CACHED = TextSource(device=torch.device("cpu"))


@pytest.fixture(scope="module")
def cached(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A dataset of three pictures with its caches."""
    folder = tmp_path_factory.mktemp("probe")
    toml = drawn_dataset(folder)
    train_quickly(toml, folder / "out", "--max_train_steps", "1")
    return toml


@pytest.fixture(scope="module")
def model() -> Flux:
    return load_flux(TINY_BASE / "flux1-tiny.safetensors")


def test_the_probe_gives_the_same_number_each_time(cached: Path, model: Flux) -> None:
    pictures = load_training_data(options_for(cached), seed=0).pictures
    torch.manual_seed(1)
    first = probe_loss(model, pictures, settings=RAW, texts=CACHED)
    torch.manual_seed(2)
    assert probe_loss(model, pictures, settings=RAW, texts=CACHED) == first


def test_the_probe_is_the_mean_over_its_noise_levels(
    cached: Path, model: Flux, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen = []

    def spied(*args: object, **named: object) -> object:
        seen.append(named["sigmas"])
        return flow_losses(*args, **named)  # type: ignore[arg-type]

    monkeypatch.setattr("fluxgym_tui.trainer.probe.flow_losses", spied)
    pictures = load_training_data(options_for(cached), seed=0).pictures
    assert probe_loss(model, pictures, settings=RAW, texts=CACHED) > 0
    assert [sigmas.tolist() for sigmas in seen if isinstance(sigmas, torch.Tensor)] == [list(SIGMAS)] * 3
    assert sum(SIGMAS) / len(SIGMAS) == 0.5


def test_a_large_dataset_is_probed_in_parts(tmp_path: Path) -> None:
    toml = drawn_dataset(tmp_path, pictures=40)
    pictures = load_training_data(options_for(toml), seed=0).pictures
    chosen = probed_pictures(pictures * 2)
    names = [picture.path.name for picture in chosen]
    assert len(names) == len(set(names)) == MOST_PICTURES
    assert {names[0], names[-1]} <= {picture.path.name for picture in pictures}
    assert probed_pictures(pictures[:3]) == pictures[:3]
