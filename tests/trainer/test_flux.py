"""The transformer computes what the reference does, from any checkpoint in BFL's layout."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file
from torch import Tensor, nn

from fluxgym_tui.base.errors import FluxgymError
from fluxgym_tui.trainer.flux import Flux, FluxGeometry, load_flux
from tests.trainer.parity import AXES_DIM, PARITY, relative, tiny_flux, vectors

pytestmark = pytest.mark.usefixtures("one_thread")
CHECKPOINT = PARITY / "flux_tiny_bfl.safetensors"
ONE = torch.ones(1)
INPUTS = ("img", "img_ids", "txt", "txt_ids", "timesteps", "y", "guidance")


def inputs(*, leave_out: str = "") -> dict[str, Tensor]:
    return {name: vectors("forward")[name] for name in INPUTS if name != leave_out}


def run(model: Flux, **more: Tensor) -> Tensor:
    with torch.no_grad():
        result: Tensor = model(**inputs(), **more)
    return result


def test_plain_forward_is_the_reference() -> None:
    assert relative(run(tiny_flux()), vectors("forward")["out"]) < 1e-5


def test_a_text_mask_is_obeyed() -> None:
    masked = run(tiny_flux(), txt_attention_mask=vectors("forward")["txt_attention_mask"])
    assert relative(masked, vectors("forward")["out_masked"]) < 1e-5
    assert relative(masked, vectors("forward")["out"]) > 1e-3, "the mask must change something"


def test_every_block_is_the_reference() -> None:
    model, seen = tiny_flux(), {}

    def remember(name: str) -> Callable[..., None]:
        def hook(_module: nn.Module, _inputs: object, output: Tensor | tuple[Tensor, Tensor]) -> None:
            if isinstance(output, Tensor):
                seen[name] = output
            else:
                seen[f"{name}.img"], seen[f"{name}.txt"] = output

        return hook

    for index, block in enumerate(model.double_blocks):
        block.register_forward_hook(remember(f"double.{index}"))
    for index, block in enumerate(model.single_blocks):
        block.register_forward_hook(remember(f"single.{index}"))
    for name in ("img_in", "txt_in", "time_in", "vector_in", "guidance_in", "final_layer"):
        model.get_submodule(name).register_forward_hook(remember(name))
    run(model)
    assert len(seen) == 12
    for name, activation in seen.items():
        assert relative(activation, vectors("forward")[f"act.{name}"]) < 1e-5, name


def test_schnell_has_no_guidance_and_needs_none(tmp_path: Path) -> None:
    path = tmp_path / "schnell.sft"
    weights = {key: value for key, value in vectors("flux_tiny_bfl").items() if not key.startswith("guidance_in")}
    save_file(weights, path)
    model = load_flux(path, axes_dim=AXES_DIM)
    assert not model.geometry.guidance_embed
    with torch.no_grad():
        assert relative(model(**inputs(leave_out="guidance")), vectors("forward")["out_schnell"]) < 1e-5
    assert relative(run(model), vectors("forward")["out_schnell"]) < 1e-5, "a guidance that is given changes nothing"


def test_dev_without_guidance_is_told() -> None:
    with pytest.raises(FluxgymError, match="guidance"):
        tiny_flux()(**inputs(leave_out="guidance"))


def test_bf16_is_close() -> None:
    found = run(tiny_flux(torch.bfloat16))
    assert found.dtype == torch.bfloat16
    assert relative(found, vectors("forward")["out_bf16_autocast"]) < 2e-3
    assert relative(found, vectors("forward")["out"]) < 2e-2


def test_checkpointing_changes_no_number() -> None:
    plain, saving = tiny_flux(), tiny_flux()
    saving.gradient_checkpointing = True
    gradients = []
    for model in (plain, saving):
        image = vectors("forward")["img"].clone().requires_grad_()
        output = model(**(inputs() | {"img": image}))
        output.square().mean().backward()
        assert image.grad is not None
        gradients.append((output.detach(), image.grad))
    assert torch.equal(gradients[0][0], gradients[1][0])
    assert torch.equal(gradients[0][1], gradients[1][1])


def test_sizes_come_from_the_file_and_axes_from_beside_it(tmp_path: Path) -> None:
    path = tmp_path / "own.safetensors"
    save_file({f"model.diffusion_model.{key}": value for key, value in vectors("flux_tiny_bfl").items()}, path)
    path.with_suffix(".json").write_text(json.dumps({"axes_dim": AXES_DIM}), encoding="utf-8")
    model = load_flux(path)
    assert model.geometry == FluxGeometry(
        hidden_size=64,
        mlp_size=256,
        depth=2,
        depth_single_blocks=2,
        axes_dim=AXES_DIM,
        context_in_dim=48,
        vec_in_dim=32,
    )
    assert (model.geometry.num_heads, model.geometry.head_dim) == (2, 32)
    assert not any(parameter.requires_grad or parameter.is_meta for parameter in model.parameters())
    assert relative(run(model), vectors("forward")["out"]) < 1e-5


def test_names_may_have_the_pipelines_prefix(tmp_path: Path) -> None:
    path = tmp_path / "prefixed.safetensors"
    weights = {f"model.diffusion_model.{key}": value for key, value in vectors("flux_tiny_bfl").items()}
    save_file(weights, path)
    assert relative(run(load_flux(path, axes_dim=AXES_DIM)), vectors("forward")["out"]) < 1e-5


def test_a_fresh_model_predicts_zero_and_learns() -> None:
    geometry = FluxGeometry(
        hidden_size=32,
        mlp_size=64,
        depth=1,
        depth_single_blocks=1,
        axes_dim=(4, 6, 6),
        context_in_dim=48,
        vec_in_dim=32,
    )
    model = Flux(geometry)
    output = model(**inputs())
    assert torch.count_nonzero(output) == 0
    (output - 1).square().mean().backward()
    gradient = model.get_parameter("final_layer.linear.bias").grad
    assert gradient is not None
    assert torch.count_nonzero(gradient) > 0


def drop(key: str) -> Callable[[dict[str, Tensor]], dict[str, Tensor]]:
    return lambda weights: {name: value for name, value in weights.items() if name != key}


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (drop("single_blocks.1.linear2.weight"), "single_blocks.1.linear2.weight"),
        (drop("txt_in.weight"), "txt_in.weight"),
        (
            lambda _: {"single_transformer_blocks.0.proj_mlp.bias": ONE, "x_embedder.bias": torch.zeros(2)},
            "diffusers' layout",
        ),
        (lambda _: {"something.weight": ONE}, "of a kind not known"),
        (lambda _: {"lora_unet_double_blocks_0_img_mlp_0.lora_down.weight": ONE}, "FLUX LoRA"),
        (lambda weights: weights | {"distilled_guidance_layer.in_proj.bias": ONE}, "Chroma"),
        (lambda weights: weights | {"text_encoders.clip_l.logit_scale": ONE}, "text encoders"),
        (lambda weights: weights | {"img_in.weight": torch.zeros(64, 384)}, "384 input channels"),
        (lambda weights: {k: v for k, v in weights.items() if "single_blocks" not in k}, "no single_blocks"),
        (lambda weights: weights | {"img_in.bias": torch.zeros(5)}, "img_in.bias"),
        (lambda weights: weights | {"double_blocks.0.img_attn.qkv.scale_weight": ONE}, "scaled fp8"),
    ],
)
def test_other_files_are_refused_by_name(
    tmp_path: Path, change: Callable[[dict[str, Tensor]], dict[str, Tensor]], words: str
) -> None:
    path = tmp_path / "other.safetensors"
    save_file(change(dict(vectors("flux_tiny_bfl"))), path)
    with pytest.raises(FluxgymError, match=words) as caught:
        load_flux(path, axes_dim=AXES_DIM)
    assert str(path) in caught.value.message
    assert caught.value.hint


def test_wrong_axes_and_unreadable_files_are_told(tmp_path: Path) -> None:
    with pytest.raises(FluxgymError, match="heads are 32 wide"):
        load_flux(CHECKPOINT)
    with pytest.raises(FluxgymError, match=r"cannot read .*missing.safetensors"):
        load_flux(tmp_path / "missing.safetensors")
    broken = tmp_path / "broken.safetensors"
    broken.write_bytes(CHECKPOINT.read_bytes()[:5000])
    with pytest.raises(FluxgymError, match="incomplete"):
        load_flux(broken)
    broken.with_suffix(".json").write_text('{"axes_dim": 3}', encoding="utf-8")
    broken.write_bytes(CHECKPOINT.read_bytes())
    with pytest.raises(FluxgymError, match="axes_dim"):
        load_flux(broken)


def test_geometry_refuses_a_model_without_blocks() -> None:
    with pytest.raises(FluxgymError, match="not 2 and 0"):
        FluxGeometry(depth=2, depth_single_blocks=0)


@pytest.mark.parametrize("axes_dim", [(7, 12, 13), (16, 56, 56), (0, 16, 16)])
def test_geometry_refuses_axes_that_cannot_be(axes_dim: tuple[int, ...]) -> None:
    with pytest.raises(FluxgymError):
        FluxGeometry(hidden_size=64, axes_dim=axes_dim)
