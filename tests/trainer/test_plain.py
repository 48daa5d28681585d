"""On a second geometry, loss and gradients are those of a plain transformer in float64."""

from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file
from torch import Tensor

from fluxgym_tui.trainer.flow import pack
from fluxgym_tui.trainer.flux import Flux, FluxGeometry, load_flux
from fluxgym_tui.trainer.lora import PREFIX, LoraNetwork, create_lora
from tests.trainer.parity import relative
from tests.trainer.plain_flux import plain_flux

pytestmark = pytest.mark.usefixtures("one_thread")

GEOMETRY = FluxGeometry(
    hidden_size=72,
    mlp_size=216,
    depth=3,
    depth_single_blocks=1,
    axes_dim=(4, 8, 12),
    in_channels=64,
    context_in_dim=40,
    vec_in_dim=24,
)
BATCH, ROWS, COLUMNS, TEXT = 2, 3, 4, 5


def normal(*shape: int, seed: int) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


def inputs() -> dict[str, Tensor]:
    grid = torch.cartesian_prod(torch.zeros(1), torch.arange(float(ROWS)), torch.arange(float(COLUMNS)))
    return {
        "img": pack(normal(BATCH, 16, 2 * ROWS, 2 * COLUMNS, seed=1)),
        "img_ids": grid.expand(BATCH, -1, -1),
        "txt": normal(BATCH, TEXT, GEOMETRY.context_in_dim, seed=2),
        "txt_ids": torch.zeros(BATCH, TEXT, 3),
        "timesteps": torch.tensor([0.2, 0.9]),
        "y": normal(BATCH, GEOMETRY.vec_in_dim, seed=3),
        "guidance": torch.tensor([1.0, 3.5]),
    }


@pytest.fixture
def model(tmp_path: Path) -> Flux:
    """A model of that geometry with random weights, through a file, as any other."""
    fresh = Flux(GEOMETRY)
    with torch.no_grad():
        for index, parameter in enumerate(fresh.parameters()):
            scale = 1.0 if parameter.ndim == 1 else parameter.shape[-1] ** -0.5
            parameter.copy_(0.7 * scale * normal(*parameter.shape, seed=index))
    path = tmp_path / "second.safetensors"
    save_file(fresh.state_dict(), path)
    loaded = load_flux(path, axes_dim=GEOMETRY.axes_dim)
    assert loaded.geometry == GEOMETRY
    return loaded


def adapted_weights(model: Flux, network: LoraNetwork, leaves: dict[str, Tensor]) -> dict[str, Tensor]:
    """The model's weights in float64, with W + up down alpha / dim where an adapter is."""
    state = network.lora_state()
    weights = {}
    for name, tensor in model.state_dict().items():
        layer = PREFIX + name.removesuffix(".weight").replace(".", "_")
        weights[name] = tensor.double()
        if name.endswith(".weight") and f"{layer}.alpha" in state:
            down, up = leaves[f"{layer}.down"], leaves[f"{layer}.up"]
            weights[name] = weights[name] + up @ down * float(state[f"{layer}.alpha"]) / down.shape[0]
    return weights


@pytest.mark.parametrize("gradient_checkpointing", [False, True])
def test_loss_and_gradients(model: Flux, *, gradient_checkpointing: bool) -> None:
    model.gradient_checkpointing = gradient_checkpointing
    network = create_lora(model, network_dim=3, network_alpha=2.0)
    parameters = {name.removeprefix("layers."): value for name, value in network.named_parameters()}
    with torch.no_grad():
        for index, parameter in enumerate(parameters.values()):
            parameter.copy_(0.1 * normal(*parameter.shape, seed=1000 + index))
    leaves = {name: value.detach().double().requires_grad_() for name, value in parameters.items()}
    target = normal(BATCH, ROWS * COLUMNS, 64, seed=4)

    loss = (model(**inputs()) - target).square().mean()
    plain = plain_flux(adapted_weights(model, network, leaves), inputs(), axes_dim=GEOMETRY.axes_dim)
    plain_loss = (plain - target.double()).square().mean()
    assert float(loss.detach()) == pytest.approx(float(plain_loss.detach()), rel=1e-5)

    loss.backward()
    for (name, leaf), wanted in zip(
        leaves.items(), torch.autograd.grad(plain_loss, list(leaves.values())), strict=True
    ):
        gradient = parameters[name].grad
        assert gradient is not None
        assert leaf.shape == gradient.shape
        assert relative(gradient, wanted) < 1e-3, name
        assert float((gradient.double() - wanted).norm() / wanted.norm()) < 1e-4, name
