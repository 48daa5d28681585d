"""Blocks that come to the device for their turn compute the same numbers, and only two are there at a time."""

import weakref
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from itertools import pairwise
from pathlib import Path

import pytest
import torch
from torch import Tensor

from fluxgym_tui.trainer.flux import Flux, load_flux
from fluxgym_tui.trainer.linear import Linear
from fluxgym_tui.trainer.lora import LoraLayer, create_lora
from fluxgym_tui.trainer.swap import BlockSwap, swapped_blocks
from tests.trainer.made_flux import geometry, inputs, loss_and_gradients, save_flux

pytestmark = pytest.mark.usefixtures("one_thread")

DEPTH, SINGLES = 19, 38  # FLUX.1's


@pytest.mark.parametrize("number", range(1, 36))
def test_as_many_blocks_are_swapped_as_in_sd_scripts(number: int) -> None:
    double, single = swapped_blocks(number, depth=DEPTH, depth_single_blocks=SINGLES)
    assert (len(double), len(single)) == (number // 2, 2 * (number - number // 2))
    assert len(set(double)) == len(double)
    assert len(set(single)) == len(single)
    assert all(0 <= index < DEPTH - 1 for index in double), "the last stays"
    assert all(0 <= index < SINGLES - 1 for index in single), "the last stays"


def test_swapped_blocks_are_spread() -> None:
    double, single = swapped_blocks(10, depth=DEPTH, depth_single_blocks=SINGLES)
    assert max(b - a for a, b in pairwise(double)) <= 4
    assert max(b - a for a, b in pairwise(single)) <= 4


@pytest.mark.parametrize(
    ("number", "depth", "singles", "expected"),
    [(36, 19, 38, (17, 36)), (18, 8, 38, (6, 18)), (18, 2, 4, (0, 2)), (1, 2, 2, (0, 0)), (4, 1, 1, (0, 0))],
)
def test_a_model_of_fewer_blocks_keeps_two_of_each_kind(
    number: int, depth: int, singles: int, expected: tuple[int, int]
) -> None:
    double, single = swapped_blocks(number, depth=depth, depth_single_blocks=singles)
    assert (len(double), len(single)) == expected


class CountedSwap(BlockSwap):
    """Counts the blocks whose copies are alive. It copies from CPU to CPU: a stand-in for a GPU's memory."""

    most = 0
    fetched: list[int]

    def _fetch(self, index: int) -> None:
        super()._fetch(index)
        assert self._ahead is not None
        self.fetched = [*getattr(self, "fetched", []), index]
        self.alive = [ref for ref in getattr(self, "alive", []) if ref() is not None]
        self.alive.append(weakref.ref(self._ahead[1][0]))
        self.most = max(self.most, len(self.alive))


def swapped(path: Path, number: int, *, make: Callable[..., BlockSwap] = CountedSwap) -> Flux:
    """The model of `path` with so many blocks swapped, by `make`."""
    model = load_flux(path, axes_dim=geometry().axes_dim, blocks_to_swap=number)
    assert model.swap is not None
    blocks = [block for block in [*model.double_blocks, *model.single_blocks] if block in model.swap]
    assert len(blocks) == number // 2 + 2 * (number - number // 2)
    model.swap = make(blocks, device=torch.device("cpu"))
    model.gradient_checkpointing = True
    return model


def learnt(model: Flux) -> tuple[Tensor, dict[str, Tensor]]:
    network = create_lora(model, network_dim=3, network_alpha=2.0, generator=torch.Generator().manual_seed(5))
    with torch.no_grad():
        for name, parameter in network.named_parameters():
            if name.endswith("up"):
                parameter.fill_(0.02)
    return loss_and_gradients(model, dict(network.named_parameters()))


@pytest.mark.parametrize("number", [1, 2, 3])
def test_loss_and_gradients_are_those_of_a_model_that_stays(tmp_path: Path, number: int) -> None:
    path = tmp_path / "flux.safetensors"
    save_flux(path, geometry(depth=4, depth_single_blocks=6))
    staying = load_flux(path, axes_dim=geometry().axes_dim)
    staying.gradient_checkpointing = True
    loss, gradients = learnt(staying)
    model = swapped(path, number)
    for _ in range(2):  # a second step begins where the first one's copies were
        own_loss, own_gradients = learnt(model)
        assert torch.equal(own_loss, loss)
        for name, gradient in gradients.items():
            assert torch.equal(own_gradients[name], gradient), name


def test_two_blocks_at_most_are_on_the_device(tmp_path: Path) -> None:
    path = tmp_path / "flux.safetensors"
    save_flux(path, geometry(depth=6, depth_single_blocks=8))
    model = swapped(path, 6)
    learnt(model)
    assert isinstance(model.swap, CountedSwap)
    assert model.swap.most == 2
    count = 3 + 6
    forward, backward = list(range(count)), list(range(count - 1, -1, -1))
    assert model.swap.fetched == forward + backward, "each block comes once a pass, the next one ahead of its turn"
    with torch.no_grad():
        model(**inputs(model.geometry))
    assert sorted(set(model.swap.fetched[2 * count :])) == forward
    placed = [linear.placed for linear in model.modules() if isinstance(linear, Linear)]
    assert all(weight is None for weight in placed), "nothing stays behind"


class StandInStream:
    """A CUDA stream's part in the order of things: what waits for what, written down."""

    def __init__(self, name: str, log: list[str]) -> None:
        self._name = name
        self._log = log
        self._events = 0

    def wait_stream(self, other: "StandInStream") -> None:
        self._log.append(f"{self._name} waits for {other._name}")

    def record_event(self) -> str:
        self._events += 1
        self._log.append(f"event {self._events}")
        return f"event {self._events}"

    def wait_event(self, event: str) -> None:
        self._log.append(f"{self._name} waits for {event}")


def test_copies_and_computing_wait_for_each_other(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What is written down for a GPU's two streams; nothing here is a GPU, so only the order is shown."""
    path = tmp_path / "flux.safetensors"
    save_flux(path, geometry(depth=6, depth_single_blocks=8))
    model = swapped(path, 6)
    assert isinstance(model.swap, BlockSwap)
    log: list[str] = []
    main, copies = StandInStream("main", log), StandInStream("copies", log)

    @contextmanager
    def on_stream(stream: StandInStream) -> Iterator[None]:
        assert stream is copies
        log.append("copying")
        yield

    monkeypatch.setattr(torch.cuda, "current_stream", lambda _device: main)
    monkeypatch.setattr(torch.cuda, "stream", on_stream)
    model.swap._copies = copies  # type: ignore[assignment]
    for block in [*model.double_blocks, *model.single_blocks]:
        if block in model.swap:
            block.register_forward_pre_hook(lambda *_: log.append("computing"))
    learnt(model)
    with torch.no_grad():
        model(**inputs(model.geometry))  # begins where the backward pass ended: the guess of what is next was wrong

    fetches = [at for at, line in enumerate(log) if line == "copying"]
    for at in fetches:
        assert log[at - 1] == "copies waits for main", "memory that is still read is not written"
        assert log[at + 1].startswith("event "), "and its arrival can be waited for"
    waited = [line for line in log if line.startswith("main waits for event")]
    assert len(set(waited)) == len(waited)
    assert len(fetches) - len(waited) <= 1, "only what was fetched last may be under way"
    computing = [at for at, line in enumerate(log) if line == "computing"]
    assert len(computing) == 3 * 9
    for turn, at in enumerate(computing):
        begun = computing[turn - 1] if turn else 0
        assert any(line.startswith("main waits for event") for line in log[begun:at]), "not before its copies are there"


def test_adapters_are_where_the_layer_computes() -> None:
    linear = Linear(3, 4)
    linear.weight = torch.nn.Parameter(torch.zeros(4, 3, device="meta"), requires_grad=False)
    assert linear.device == torch.device("cpu"), "its bias tells"
    adapter = LoraLayer(linear, network_dim=2, network_alpha=1.0, generator=None)
    assert {parameter.device.type for parameter in adapter.parameters()} == {"cpu"}
    assert Linear(3, 4, bias=False, device="meta").device == torch.device("meta")
