"""Small FLUX checkpoints of any geometry, with random weights, stored in any precision."""

from pathlib import Path

import torch
from safetensors.torch import save_file
from torch import Tensor

from fluxgym_tui.trainer.flux import Flux, FluxGeometry

ROWS, COLUMNS, TEXT = 3, 4, 5


def geometry(*, depth: int = 4, depth_single_blocks: int = 5) -> FluxGeometry:
    """Sizes that are all different, and small."""
    return FluxGeometry(
        hidden_size=72,
        mlp_size=216,
        depth=depth,
        depth_single_blocks=depth_single_blocks,
        axes_dim=(4, 8, 12),
        context_in_dim=40,
        vec_in_dim=24,
    )


def normal(*shape: int, seed: int) -> Tensor:
    """Numbers from a normal distribution, the same for the same seed."""
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


def random_weights(sizes: FluxGeometry) -> dict[str, Tensor]:
    """Weights under which a model of these sizes computes something."""
    with torch.device("meta"):
        names = {name: tuple(tensor.shape) for name, tensor in Flux(sizes).state_dict().items()}
    return {
        name: 0.7 * (1.0 if len(shape) == 1 else shape[-1] ** -0.5) * normal(*shape, seed=seed)
        for seed, (name, shape) in enumerate(names.items())
    }


def save_flux(
    path: Path, sizes: FluxGeometry, *, dtype: torch.dtype = torch.float32, prefix: str = ""
) -> dict[str, Tensor]:
    """Write such a checkpoint, every tensor in `dtype`; the tensors, as stored."""
    weights = {name: tensor.to(dtype) for name, tensor in random_weights(sizes).items()}
    save_file({prefix + name: tensor for name, tensor in weights.items()}, path)
    return weights


def inputs(sizes: FluxGeometry, *, batch: int = 2) -> dict[str, Tensor]:
    """What a model of these sizes reads."""
    grid = torch.cartesian_prod(torch.zeros(1), torch.arange(float(ROWS)), torch.arange(float(COLUMNS)))
    return {
        "img": normal(batch, ROWS * COLUMNS, sizes.in_channels, seed=1),
        "img_ids": grid.expand(batch, -1, -1),
        "txt": normal(batch, TEXT, sizes.context_in_dim, seed=2),
        "txt_ids": torch.zeros(batch, TEXT, 3),
        "timesteps": torch.linspace(0.2, 0.9, batch),
        "y": normal(batch, sizes.vec_in_dim, seed=3),
        "guidance": torch.linspace(1.0, 3.5, batch),
    }


def loss_and_gradients(model: Flux, parameters: dict[str, Tensor]) -> tuple[Tensor, dict[str, Tensor]]:
    """A loss of `model` at `inputs`, and its gradient for each of `parameters`."""
    prediction = model(**inputs(model.geometry)).float()
    loss = (prediction - normal(*prediction.shape, seed=4)).square().mean()
    gradients = torch.autograd.grad(loss, list(parameters.values()))
    return loss.detach(), dict(zip(parameters, gradients, strict=True))
