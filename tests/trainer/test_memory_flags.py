"""The flags that save memory: what they change in a training, and where they are refused."""

from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file

from fluxgym_tui.base.errors import FluxgymError
from fluxgym_tui.trainer import flux, loop, setup
from fluxgym_tui.trainer.__main__ import main, out_of_memory
from fluxgym_tui.trainer.checkpoint import open_lora
from fluxgym_tui.trainer.swap import BlockSwap
from tests.trainer.made_flux import normal
from tests.trainer.trainer_options import (
    QUICK,
    TINY_BASE,
    arguments_for,
    drawn_dataset,
    kinds,
    read_events,
    train_quickly,
)

pytestmark = pytest.mark.usefixtures("one_thread")

SHORT = ("--max_train_steps", "2", "--network_dim", "2")


def trained(tmp_path: Path, name: str, *flags: str, models: Path = TINY_BASE) -> list[dict[str, Any]]:
    toml = tmp_path / "dataset.toml"
    if not toml.exists():
        drawn_dataset(tmp_path)
    return train_quickly(toml, tmp_path / name, *SHORT, *flags, models=models)


def losses(tmp_path: Path, name: str, *flags: str, models: Path = TINY_BASE) -> list[float]:
    events = trained(tmp_path, name, *flags, models=models)
    return [event["loss"] for event in kinds(events, "step")]


def models_with(folder: Path, **changed: dict[str, torch.Tensor]) -> Path:
    """The tiny base with other contents of `transformer` or `t5xxl`."""
    folder.mkdir()
    for path in TINY_BASE.iterdir():
        (folder / path.name).symlink_to(path)
    for name, tensors in changed.items():
        path = folder / {"transformer": "flux1-tiny.safetensors", "t5xxl": "t5xxl.safetensors"}[name]
        path.unlink()
        save_file(tensors, path)
    return folder


@pytest.mark.parametrize("flag", ["--fp8_base", "--fp8_base_unet"])
def test_fp8_base_trains_what_an_fp8_checkpoint_trains(tmp_path: Path, flag: str) -> None:
    full = load_file(TINY_BASE / "flux1-tiny.safetensors")
    fp8 = {
        name: tensor.to(torch.float8_e4m3fn) if "_blocks." in name and name.endswith(".weight") else tensor
        for name, tensor in full.items()
    }
    plain = losses(tmp_path, "plain")
    rounded = losses(tmp_path, "rounded", flag)
    from_file = losses(tmp_path, "from-file", models=models_with(tmp_path / "fp8", transformer=fp8))
    assert rounded == from_file
    assert rounded != plain
    assert rounded == pytest.approx(plain, rel=0.1)
    metadata = open_lora(tmp_path / "rounded" / "last.safetensors").metadata
    assert metadata[f"ss_{flag.removeprefix('--')}"] == "True"


def noting(taken: list[int]) -> type[BlockSwap]:
    """A BlockSwap that notes in `taken` which blocks it places, one after the other."""

    class Noting(BlockSwap):
        def _take(self, index: int) -> list[torch.Tensor]:
            taken.append(index)
            return super()._take(index)

    return Noting


def test_swapped_blocks_train_the_same(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """On the CPU, which stands in for a GPU: copies go from its memory to its memory."""
    sizes = {"double_blocks": 4, "single_blocks": 6}
    tensors = {name: t for name, t in load_file(TINY_BASE / "flux1-tiny.safetensors").items() if "_blocks." not in name}
    pattern = load_file(TINY_BASE / "flux1-tiny.safetensors")
    for blocks, count in sizes.items():
        for name, tensor in pattern.items():
            if name.startswith(f"{blocks}.0."):
                for index in range(count):
                    other = name.replace(f"{blocks}.0.", f"{blocks}.{index}.")
                    tensors[other] = tensor + 0.01 * normal(*tensor.shape, seed=index).to(tensor.dtype)
    models = models_with(tmp_path / "deep", transformer=tensors)
    checkpointed = ("--gradient_checkpointing", "--mixed_precision", "bf16")
    expected = losses(tmp_path, "staying", *checkpointed, models=models)
    monkeypatch.setattr(setup, "swaps", lambda options, **_: options.blocks_to_swap)
    taken: list[int] = []
    monkeypatch.setattr(flux, "BlockSwap", noting(taken))
    found = losses(tmp_path, "swapped", *checkpointed, "--blocks_to_swap", "3", models=models)
    assert taken == [0, 1, 2, 3, 4, 4, 3, 2, 1, 0] * 2, "a double and four single blocks, forth and back in each step"
    assert found == expected
    stayed, swapped = (open_lora(tmp_path / run / "last.safetensors").tensors for run in ("staying", "swapped"))
    assert all(torch.equal(swapped[name], tensor) for name, tensor in stayed.items())


@pytest.mark.parametrize(("number", "told"), [("1", False), ("2", True), ("18", True)])
def test_a_model_with_too_few_blocks_says_so(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: str, told: bool
) -> None:
    monkeypatch.setattr(setup, "swaps", lambda options, **_: options.blocks_to_swap)
    events = trained(tmp_path, "out", "--gradient_checkpointing", "--blocks_to_swap", number)
    warnings = [event["code"] for event in kinds(events, "warning")]
    assert warnings.count("fewer_blocks_swapped") == told
    assert len(kinds(events, "step")) == 2


def test_swapping_without_a_gpu_is_told_to_have_no_effect(tmp_path: Path) -> None:
    events = trained(tmp_path, "out", "--gradient_checkpointing", "--blocks_to_swap", "18")
    (warning,) = [event for event in kinds(events, "warning") if "blocks_to_swap" in event["code"]]
    assert warning["title"].startswith("--blocks_to_swap 18 has no effect")
    assert len(kinds(events, "step")) == 2


@pytest.mark.parametrize(
    ("flags", "says"),
    [
        (("--blocks_to_swap", "4"), "no effect without --gradient_checkpointing"),
        (("--gradient_checkpointing", "--blocks_to_swap", "-1"), "not below 0"),
    ],
)
def test_swapping_that_cannot_be_is_refused(tmp_path: Path, flags: tuple[str, ...], says: str) -> None:
    with pytest.raises(FluxgymError, match=says):
        losses(tmp_path, "out", *flags)


@pytest.mark.parametrize(("flag", "hint"), [("--split_mode", "blocks_to_swap 18"), ("--cpu_offload_checkpointing", "")])
def test_other_ways_of_sd_scripts_are_refused_by_name(tmp_path: Path, flag: str, hint: str) -> None:
    with pytest.raises(FluxgymError, match=flag) as caught:
        losses(tmp_path, "out", flag)
    assert hint in str(caught.value.message) + str(caught.value.hint)


def test_a_scaled_t5_is_refused_before_anything_is_done(tmp_path: Path) -> None:
    tensors = load_file(TINY_BASE / "t5xxl.safetensors")
    scaled = tensors | {"encoder.block.0.layer.0.SelfAttention.q.scale_weight": torch.ones(1)}
    with pytest.raises(FluxgymError, match=r"--t5xxl .* holds scaled fp8 weights"):
        losses(tmp_path, "out", models=models_with(tmp_path / "scaled", t5xxl=scaled))
    assert not list((tmp_path / "photos").glob("*.npz"))


def test_an_fp8_t5_encodes_what_its_numbers_say(tmp_path: Path) -> None:
    rounded = {
        name: tensor.to(torch.float8_e4m3fn) for name, tensor in load_file(TINY_BASE / "t5xxl.safetensors").items()
    }
    cast = {name: tensor.to(torch.float16) for name, tensor in rounded.items()}
    one = losses(tmp_path, "one", models=models_with(tmp_path / "fp8", t5xxl=rounded))
    other = losses(tmp_path, "other", models=models_with(tmp_path / "cast", t5xxl=cast))
    assert one == other


def test_memory_that_is_full_is_told_from_other_errors() -> None:
    with pytest.raises(RuntimeError) as full:
        torch.empty(2**50)
    assert out_of_memory(full.value)
    assert out_of_memory(torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB"))
    assert out_of_memory(MemoryError())
    with pytest.raises(RuntimeError) as other:
        torch.ones(2) @ torch.ones(3)
    assert not out_of_memory(other.value)


def test_a_training_that_does_not_fit_says_what_would(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object, **__: object) -> None:
        torch.empty(2**50)

    monkeypatch.setattr(loop, "load_flux", full)
    events = tmp_path / "events.jsonl"
    monkeypatch.setenv("FLUXGYM_EVENTS", str(events))
    assert main(arguments_for(drawn_dataset(tmp_path), *QUICK, *SHORT, output_dir=tmp_path / "out")) == 1
    (problem,) = kinds(read_events(events), "problem")
    assert problem["code"] == "out_of_memory"
    assert "blocks_to_swap" in problem["fix"]
