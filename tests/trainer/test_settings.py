"""Settings reach the training: each makes another LoRA of the same start, and leaves its trace in the file."""

from pathlib import Path

import pytest
import torch
from safetensors import safe_open
from safetensors.torch import load_file
from torch import Tensor

from tests.trainer.trainer_options import drawn_dataset, train_quickly

STEPS = ("--max_train_steps", "2", "--network_dim", "2")
SETTINGS = {
    "huber": ("--loss_type", "huber", "--huber_schedule", "exponential", "--huber_c", "0.2"),
    "smooth_l1": ("--loss_type", "smooth_l1", "--huber_schedule", "constant", "--huber_scale", "2"),
    "ip_noise": ("--ip_noise_gamma", "0.2"),
    "network_dropout": ("--network_dropout", "0.3"),
    "rank_dropout": ("--network_args", "rank_dropout=0.5"),
    "module_dropout": ("--network_args", "module_dropout=0.3"),
    "scale_weight_norms": ("--scale_weight_norms", "0.0001"),
    "loraplus": ("--network_args", "loraplus_lr_ratio=16"),
}
TOLD = {
    "huber": {"ss_loss_type": "huber", "ss_huber_schedule": "exponential", "ss_huber_c": "0.2"},
    "smooth_l1": {"ss_loss_type": "smooth_l1", "ss_huber_schedule": "constant", "ss_huber_scale": "2.0"},
    "network_dropout": {"ss_network_dropout": "0.3"},
    "rank_dropout": {"ss_network_args": '{"rank_dropout": "0.5"}'},
    "module_dropout": {"ss_network_args": '{"module_dropout": "0.3"}'},
    "scale_weight_norms": {"ss_scale_weight_norms": "0.0001"},
    "loraplus": {"ss_network_args": '{"loraplus_lr_ratio": "16"}'},
    "ip_noise": {"ss_ip_noise_gamma": "0.2", "ss_ip_noise_gamma_random_strength": "False"},
}


@pytest.fixture(scope="module")
def dataset(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return drawn_dataset(tmp_path_factory.mktemp("data"), pictures=2, batch_size=2)


@pytest.fixture(scope="module")
def plain(dataset: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Tensor]:
    """The LoRA without any setting."""
    return trained(dataset, tmp_path_factory.mktemp("plain"))


def trained(dataset: Path, folder: Path, *more: str) -> dict[str, Tensor]:
    train_quickly(dataset, folder / "out", *STEPS, *more)
    return load_file(folder / "out" / "last.safetensors")


@pytest.mark.parametrize("name", SETTINGS)
def test_a_setting_makes_another_lora(name: str, dataset: Path, plain: dict[str, Tensor], tmp_path: Path) -> None:
    found = trained(dataset, tmp_path, *SETTINGS[name])
    assert found.keys() == plain.keys()
    changed = [key for key, tensor in found.items() if not torch.equal(tensor, plain[key])]
    assert len(changed) >= len(plain) // 3  # at least every lora_up
    with safe_open(tmp_path / "out" / "last.safetensors", framework="pt") as file:
        metadata = file.metadata()
    assert {key: metadata[key] for key in TOLD[name]} == TOLD[name]
