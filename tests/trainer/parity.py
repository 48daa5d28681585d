"""Reference data of sd-scripts' own FLUX training on a tiny model: see tests/data/parity/README.md."""

import json
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file
from torch import Tensor

from fluxgym_tui.trainer.flow import FlowBatch, FlowSettings, flow_losses
from fluxgym_tui.trainer.flux import Flux, load_flux
from fluxgym_tui.trainer.lora import LoraNetwork, create_lora
from fluxgym_tui.trainer.optim import ScheduleSettings, build_optimizer, build_schedule, clip_gradients

PARITY = Path(__file__).parents[1] / "data" / "parity"
AXES_DIM = (8, 12, 12)


def tiny_flux(dtype: torch.dtype = torch.float32) -> Flux:
    """The tiny transformer that all reference data was made with."""
    return load_flux(PARITY / "flux_tiny_bfl.safetensors", axes_dim=AXES_DIM, dtype=dtype)


@cache
def vectors(name: str) -> dict[str, Tensor]:
    """The tensors of one reference file."""
    return load_file(PARITY / f"{name}.safetensors")


@cache
def description() -> dict[str, Any]:
    """parity.json."""
    content: dict[str, Any] = json.loads((PARITY / "parity.json").read_text(encoding="utf-8"))
    return content


def relative(found: Tensor, expected: Tensor) -> float:
    """The largest difference in terms of the largest expected value."""
    difference = found.detach().float() - expected.detach().float()
    return float(difference.abs().max() / expected.detach().float().abs().max())


def section(tensors: dict[str, Tensor], name: str) -> dict[str, Tensor]:
    """The tensors whose names begin with `name.`, without it."""
    return {key.removeprefix(f"{name}."): value for key, value in tensors.items() if key.startswith(f"{name}.")}


def noise_of(step: int, own: dict[str, Tensor]) -> Tensor:
    """The noise of a step; trajectories that share another's noise do not repeat it."""
    key = f"step{step:02d}.noise"
    return own[key] if key in own else vectors("traj_A_shift_raw")[key]


@dataclass
class Replay:
    """What a trajectory, trained again by us, came to."""

    losses: list[float]
    norms: list[float]
    expected_losses: list[float]
    expected_norms: list[float]
    network: LoraNetwork
    expected_final: dict[str, Tensor]
    first_gradients: list[dict[str, Tensor]]


def flag(argv: list[str], name: str, default: str) -> str:
    """The value of one flag in a command line."""
    return argv[argv.index(f"--{name}") + 1] if f"--{name}" in argv else default


def flag_list(argv: list[str], name: str) -> list[str]:
    """The values of a flag that takes several."""
    if f"--{name}" not in argv:
        return []
    rest = argv[argv.index(f"--{name}") + 1 :]
    end = next((i for i, word in enumerate(rest) if word.startswith("--")), len(rest))
    return rest[:end]


def replay(name: str, *, steps: int | None = None) -> Replay:
    """Train trajectory `name` again, from its own init, data, noise and sigmas."""
    facts = next(entry for entry in description()["trajectories"] if entry["name"] == name)
    argv: list[str] = facts["argv"]
    own, base = vectors(f"traj_{name}"), vectors("traj_A_shift_raw")
    data = section(own, "data") or section(base, "data")
    fixed = "overfit" in name
    init = section(own, "init") or section(vectors("traj_G_overfit_fixed_noise") if fixed else base, "init")

    dtype = torch.bfloat16 if facts["mixed_precision"] == "bf16" else torch.float32
    model = tiny_flux(dtype)
    model.gradient_checkpointing = facts["gradient_checkpointing"]
    network = create_lora(
        model, network_alpha=float(flag(argv, "network_alpha", "1")), network_args=facts["network_args"]
    )
    network.load_lora_state(init, source="init")
    settings = FlowSettings(
        timestep_sampling=flag(argv, "timestep_sampling", "sigma"),
        discrete_flow_shift=float(flag(argv, "discrete_flow_shift", "3.0")),
        model_prediction_type=flag(argv, "model_prediction_type", "sigma_scaled"),
        weighting_scheme=flag(argv, "weighting_scheme", "uniform"),
        guidance_scale=float(flag(argv, "guidance_scale", "3.5")),
        apply_t5_attn_mask="--apply_t5_attn_mask" in argv,
    )
    parameters = list(network.parameters())
    optimizer = build_optimizer(
        parameters,
        optimizer_type=flag(argv, "optimizer_type", ""),
        learning_rate=facts["lr"],
        optimizer_args=flag_list(argv, "optimizer_args"),
    )
    schedule = build_schedule(
        optimizer,
        settings=ScheduleSettings(lr_scheduler=flag(argv, "lr_scheduler", "constant")),
        total_steps=len(facts["steps"]),
        learning_rate=facts["lr"],
    )
    done = facts["steps"][:steps]
    result = Replay(
        losses=[],
        norms=[],
        expected_losses=[step["loss"] for step in done],
        expected_norms=[step["grad_norm_before_clip"] for step in done],
        network=network,
        expected_final=section(own, "final"),
        first_gradients=[],
    )
    for step in done:
        chosen = step["batch_indices"]
        batch = FlowBatch(
            latents=data["latents"][chosen],
            t5_out=data["t5_out"][chosen],
            txt_ids=torch.zeros(len(chosen), data["t5_out"].shape[1], 3),
            l_pooled=data["l_pooled"][chosen],
            t5_attn_mask=data["t5_attn_mask"][chosen],
            loss_weights=torch.ones(len(chosen)),
        )
        source = vectors("traj_G_overfit_fixed_noise") if fixed else own
        noise = noise_of(0 if fixed else step["step"], source)
        sigmas = torch.tensor(step["sigmas"])
        loss = flow_losses(model, batch=batch, noise=noise, sigmas=sigmas, settings=settings).mean()
        loss.backward()  # type: ignore[no-untyped-call]
        if step["step"] < 2:
            result.first_gradients.append(gradients(network))
        result.norms.append(float(clip_gradients(parameters, max_grad_norm=float(flag(argv, "max_grad_norm", "1.0")))))
        optimizer.step()
        schedule.step()
        optimizer.zero_grad(set_to_none=True)
        result.losses.append(loss.item())
    return result


def gradients(network: LoraNetwork) -> dict[str, Tensor]:
    """Every adapter's gradients, by the weights' names in a LoRA file."""
    named = {}
    for name, parameter in network.named_parameters():
        layer, which = name.removeprefix("layers.").rsplit(".", 1)
        assert parameter.grad is not None
        named[f"{layer}.lora_{which}.weight"] = parameter.grad.clone()
    return named
