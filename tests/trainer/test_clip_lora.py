"""Adapters of CLIP-L: their names, what they add, that they learn, and that samples and states know of them."""

import io
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import load_file, save_file

from fluxgym_tui.base.errors import FluxgymError
from fluxgym_tui.trainer.checkpoint import open_lora
from fluxgym_tui.trainer.flags import parse
from fluxgym_tui.trainer.loop import train
from fluxgym_tui.trainer.lora import clip_targets, create_lora, lora_from_state
from fluxgym_tui.trainer.report import Reporter
from fluxgym_tui.trainer.setup import settle
from fluxgym_tui.trainer.stopping import StopRequest
from fluxgym_tui.trainer.text import build_clip
from tests.trainer.parity import PARITY, tiny_flux
from tests.trainer.trainer_options import CACHED_TEXT, QUICK, arguments_for, drawn_dataset, train_here


def train_clip(dataset: Path, folder: Path, *more: str, without: tuple[str, ...] = ()) -> list[dict[str, object]]:
    """Train in this process with CLIP-L's adapters too; the events."""
    dropped = {"--network_train_unet_only", *without}
    given = arguments_for(dataset, *QUICK, *more, output_dir=folder)
    return train_here(parse([word for word in given if word not in dropped]), folder)


@pytest.fixture(scope="module")
def dataset(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return drawn_dataset(tmp_path_factory.mktemp("data"), pictures=2, batch_size=2)


@pytest.fixture(scope="module")
def trained(dataset: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A LoRA of both, trained for some steps."""
    folder = tmp_path_factory.mktemp("clip") / "out"
    train_clip(dataset, folder, "--max_train_steps", "3", "--network_dim", "4", "--text_encoder_lr", "1e-2")
    return folder / "last.safetensors"


def test_names_and_shapes_are_those_of_sd_scripts() -> None:
    tensors = load_file(PARITY / "clip_l.safetensors")
    clip = build_clip(tensors, num_attention_heads=2).to_empty(device="cpu")
    network = create_lora(tiny_flux(), clip=clip, network_dim=4)
    found = {key: tuple(value.shape) for key, value in network.lora_state().items() if key.startswith("lora_te1_")}
    layer = "lora_te1_text_model_encoder_layers_0_"
    assert found[f"{layer}mlp_fc1.lora_down.weight"] == (4, 32)
    assert found[f"{layer}mlp_fc1.lora_up.weight"] == (64, 4)
    assert found[f"{layer}self_attn_out_proj.alpha"] == ()
    parts = {key.partition(".")[0].removeprefix(layer) for key in found if key.startswith(layer)}
    assert parts == {
        "mlp_fc1", "mlp_fc2", "self_attn_k_proj", "self_attn_out_proj", "self_attn_q_proj", "self_attn_v_proj",
    }  # fmt: skip
    names = {key.partition(".")[0] for key in network.lora_state()}
    assert len(names) == 26 + 6 * 2


def test_what_clip_computes_stays_the_same_until_its_adapters_learn() -> None:
    tensors = load_file(PARITY / "clip_l.safetensors")
    clip = build_clip(tensors, num_attention_heads=2).to_empty(device="cpu")
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for parameter in clip.parameters():
            parameter.normal_(std=0.1, generator=generator)
    ids = torch.randint(0, 40, (2, 9), generator=generator)
    for module in clip.modules():
        if isinstance(getattr(module, "position_ids", None), torch.Tensor):
            module.register_buffer("position_ids", torch.arange(77)[None], persistent=False)
    keys = clip.state_dict().keys()
    with torch.no_grad():
        before = clip(input_ids=ids).last_hidden_state
        network = create_lora(tiny_flux(), clip=clip, train_unet=False, generator=generator)
        assert torch.allclose(clip(input_ids=ids).last_hidden_state, before, atol=1e-6)
        assert clip.state_dict().keys() == keys
        for parameter in network.parameters():
            parameter.fill_(0.1)
        assert not torch.allclose(clip(input_ids=ids).last_hidden_state, before, atol=1e-3)
    assert clip_targets(clip).keys() == network.layers.keys()


def test_both_learn_each_at_its_rate(trained: Path) -> None:
    lora = open_lora(trained)
    assert lora.metadata["ss_text_encoder_lr"] == "[0.01]"
    ups = {key: tensor for key, tensor in lora.tensors.items() if key.endswith("lora_up.weight")}
    assert all(bool(tensor.any()) for tensor in ups.values())
    largest = {
        prefix: max(float(tensor.abs().max()) for key, tensor in ups.items() if key.startswith(prefix))
        for prefix in ("lora_te1_", "lora_unet_")
    }
    # AdamW moves each weight by about its rate a step
    assert 0.02 < largest["lora_te1_"] < 0.05
    assert 0.004 < largest["lora_unet_"] < 0.009


def test_clip_alone_may_learn_and_be_kept_still(dataset: Path, tmp_path: Path) -> None:
    train_clip(dataset, tmp_path / "alone", "--max_train_steps", "1", "--network_train_text_encoder_only")
    alone = open_lora(tmp_path / "alone" / "last.safetensors")
    assert all(key.startswith("lora_te1_") for key in alone.tensors)
    train_clip(dataset, tmp_path / "still", "--max_train_steps", "2", "--text_encoder_lr", "0")
    still = open_lora(tmp_path / "still" / "last.safetensors").tensors
    for key, tensor in still.items():
        if key.endswith("lora_up.weight"):
            assert bool(tensor.any()) == key.startswith("lora_unet_"), key


def test_text_that_is_not_cached_trains_the_same(dataset: Path, trained: Path, tmp_path: Path) -> None:
    flags = ("--max_train_steps", "3", "--network_dim", "4", "--text_encoder_lr", "1e-2")
    train_clip(dataset, tmp_path / "out", *flags, without=(CACHED_TEXT,))
    here, there = open_lora(tmp_path / "out" / "last.safetensors").tensors, open_lora(trained).tensors
    assert all(torch.allclose(here[key], there[key], atol=1e-5) for key in there)


def test_samples_are_drawn_with_clip_as_it_is(dataset: Path, tmp_path: Path) -> None:
    prompts = tmp_path / "prompts.txt"
    prompts.write_text("a red square --w 64 --h 64 --d 1 --s 2 --l 2 --n blue\n", encoding="utf-8")
    changes = {}
    for name, rate in {"still": "1e-9", "moved": "0.2"}.items():
        train_clip(
            dataset, tmp_path / name, "--max_train_steps", "2", "--unet_lr", "1e-9", "--text_encoder_lr", rate,
            "--sample_prompts", str(prompts), "--sample_every_n_steps", "2", "--sample_at_first",
        )  # fmt: skip
        before, after = (
            np.asarray(Image.open(path), dtype=np.float32)
            for path in sorted((tmp_path / name / "sample").glob("*.png"))
        )
        changes[name] = np.abs(after - before).mean()
    assert changes["still"] < 0.1
    assert changes["moved"] > 1


def test_a_lora_of_both_is_gone_on_from(dataset: Path, trained: Path, tmp_path: Path) -> None:
    flags = ("--max_train_steps", "1", "--network_dim", "4", "--network_weights", str(trained))
    train_clip(dataset, tmp_path / "on", *flags, "--unet_lr", "1e-9", "--text_encoder_lr", "1e-9")
    here, there = open_lora(tmp_path / "on" / "last.safetensors").tensors, open_lora(trained).tensors
    assert all(torch.allclose(here[key], there[key], atol=1e-6) for key in there)
    unet_only = parse(arguments_for(dataset, *QUICK, *flags, output_dir=tmp_path / "no"))
    with pytest.raises(FluxgymError, match="lora_te1_") as refused:
        train(unet_only, report=Reporter(out=io.StringIO()), stop=StopRequest())
    assert "leaving out --network_train_unet_only" in str(refused.value.hint)


def test_a_lora_without_clip_gets_a_fresh_one(dataset: Path, trained: Path, tmp_path: Path) -> None:
    tensors = {key: tensor for key, tensor in load_file(trained).items() if key.startswith("lora_unet_")}
    save_file(tensors, tmp_path / "unet.safetensors")
    flags = ("--max_train_steps", "1", "--network_dim", "4", "--network_weights", str(tmp_path / "unet.safetensors"))
    train_clip(dataset, tmp_path / "on", *flags, "--unet_lr", "1e-9")
    found = open_lora(tmp_path / "on" / "last.safetensors").tensors
    assert all(torch.allclose(found[key], tensor, atol=1e-6) for key, tensor in tensors.items())
    assert sum(key.startswith("lora_te1_") for key in found) > 0


def test_a_lora_of_clip_needs_clip(trained: Path) -> None:
    with pytest.raises(FluxgymError, match="lora_te1_"):
        lora_from_state(tiny_flux(), load_file(trained), source="x")


def test_loraplus_of_clip_needs_clip(dataset: Path) -> None:
    given = arguments_for(dataset, *QUICK, "--network_args", "loraplus_text_encoder_lr_ratio=4")
    with pytest.raises(FluxgymError, match="loraplus_text_encoder_lr_ratio has no effect"):
        settle(parse(given))
    setup = settle(parse([word for word in given if word != "--network_train_unet_only"]))
    assert setup.options.trains_clip


@pytest.mark.parametrize("without", [(), (CACHED_TEXT,)], ids=["cached", "uncached"])
def test_bf16_trains_clip_too(dataset: Path, tmp_path: Path, without: tuple[str, ...]) -> None:
    flags = ("--max_train_steps", "2", "--mixed_precision", "bf16", "--save_precision", "float")
    train_clip(dataset, tmp_path / "out", *flags, without=without)
    tensors = open_lora(tmp_path / "out" / "last.safetensors").tensors
    ups = {key: tensor for key, tensor in tensors.items() if key.endswith("lora_up.weight")}
    assert all(bool(tensor.any()) and tensor.dtype == torch.float32 for tensor in ups.values())
