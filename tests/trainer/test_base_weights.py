"""LoRAs that a training begins from: merged into the base, or deciding its layers and ranks."""

from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from fluxgym_tui.base.errors import FluxgymError
from fluxgym_tui.trainer.checkpoint import open_lora
from fluxgym_tui.trainer.flags import check
from fluxgym_tui.trainer.flux import load_flux
from fluxgym_tui.trainer.lora import lora_from_state, lora_targets
from fluxgym_tui.trainer.merge import merge_base_weights
from fluxgym_tui.trainer.report import Reporter
from tests.trainer.test_clip_lora import train_clip
from tests.trainer.trainer_options import TINY_BASE, drawn_dataset, kinds, train_quickly


@pytest.fixture(scope="module")
def dataset(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return drawn_dataset(tmp_path_factory.mktemp("data"), pictures=2)


@pytest.fixture(scope="module")
def lora(dataset: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A LoRA with two ranks, of CLIP-L too."""
    folder = tmp_path_factory.mktemp("lora") / "out"
    train_clip(dataset, folder, "--max_train_steps", "3", "--network_dim", "3", "--network_alpha", "2",
               "--network_args", "img_mlp_dim=5", "--unet_lr", "2e-2")  # fmt: skip
    return folder / "last.safetensors"


def unet_alone(lora: Path, folder: Path) -> Path:
    tensors = {key: tensor for key, tensor in load_file(lora).items() if key.startswith("lora_unet_")}
    save_file(tensors, folder / "unet.safetensors")
    return folder / "unet.safetensors"


@pytest.mark.parametrize("multiplier", [1.0, 0.5])
def test_a_merged_lora_is_part_of_the_base(lora: Path, tmp_path: Path, multiplier: float) -> None:
    path = unet_alone(lora, tmp_path)
    merged, adapted = (load_flux(TINY_BASE / "flux1-tiny.safetensors") for _ in range(2))
    merge_base_weights(merged, [path], multipliers=[multiplier], clip=None, report=Reporter())
    network = lora_from_state(adapted, open_lora(path).tensors, source="x", multiplier=multiplier)
    generator = torch.Generator().manual_seed(0)
    for linear, _ in network.pairs():
        place = next(name for name, module in adapted.named_modules() if module is linear)
        x = torch.randn(3, linear.in_features, generator=generator)
        with torch.no_grad():
            torch.testing.assert_close(merged.get_submodule(place)(x), linear(x), rtol=1e-4, atol=1e-5)
    assert all(linear.adapter is None for linear in lora_targets(merged).values())


def test_a_training_on_a_merged_base(dataset: Path, lora: Path, tmp_path: Path) -> None:
    flags = ("--max_train_steps", "1")
    plain = kinds(train_quickly(dataset, tmp_path / "plain", *flags), "step")[0]["loss"]
    path = unet_alone(lora, tmp_path)
    one = kinds(train_quickly(dataset, tmp_path / "one", *flags, "--base_weights", str(path)), "step")[0]["loss"]
    both = ("--base_weights", str(path), str(path), "--base_weights_multiplier", "0.5", "0.5")
    halves = kinds(train_quickly(dataset, tmp_path / "two", *flags, *both), "step")[0]["loss"]
    assert one != pytest.approx(plain, rel=1e-4)
    assert halves == pytest.approx(one, rel=1e-4)


def test_clips_part_is_told_where_captions_are_cached(dataset: Path, lora: Path, tmp_path: Path) -> None:
    events = train_quickly(dataset, tmp_path / "out", "--max_train_steps", "1", "--base_weights", str(lora))
    assert [event["code"] for event in kinds(events, "warning")] == ["base_weights_clip"]
    events = train_clip(dataset, tmp_path / "both", "--max_train_steps", "1", "--base_weights", str(lora))
    assert kinds(events, "warning") == []


def test_the_weights_decide_layers_and_ranks(dataset: Path, lora: Path, tmp_path: Path) -> None:
    flags = ("--max_train_steps", "1", "--dim_from_weights", "--network_weights")
    train_quickly(dataset, tmp_path / "unet", *flags, str(unet_alone(lora, tmp_path)))
    found, given = open_lora(tmp_path / "unet" / "last.safetensors"), open_lora(lora)
    assert found.ranks == {name: rank for name, rank in given.ranks.items() if name.startswith("lora_unet_")}
    assert set(found.ranks.values()) == {3, 5}
    assert found.metadata["ss_network_dim"] == "None"
    name = "lora_unet_double_blocks_0_img_mlp_0.alpha"
    assert torch.equal(found.tensors[name], given.tensors[name])
    train_clip(dataset, tmp_path / "both", *flags, str(lora))
    assert open_lora(tmp_path / "both" / "last.safetensors").ranks == given.ranks
    with pytest.raises(FluxgymError, match="lora_te1_"):
        train_quickly(dataset, tmp_path / "no", *flags, str(lora))


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--dim_from_weights"], "without --network_weights"),
        (["--dim_from_weights", "--network_weights", "a", "--network_dim", "4"], "come from the weights"),
        (["--base_weights_multiplier", "1"], "without --base_weights"),
        (["--base_weights", "a", "--base_weights_multiplier", "1", "2"], "more of them"),
    ],
)
def test_what_does_not_go_together(arguments: list[str], words: str) -> None:
    (problem,) = check(arguments)
    assert words in problem.message


def test_base_weights_of_another_layout_are_refused(dataset: Path, tmp_path: Path) -> None:
    save_file({"w": torch.zeros(1)}, tmp_path / "x.safetensors")
    with pytest.raises(FluxgymError, match=r"--base_weights .*x\.safetensors cannot be gone on from"):
        train_quickly(dataset, tmp_path / "out", "--base_weights", str(tmp_path / "x.safetensors"))
