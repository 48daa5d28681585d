"""Weights come straight to their place, in the precision that is wanted: mapped, or read one by one."""

import json
import struct
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file
from torch import Tensor

from fluxgym_tui.base.errors import FluxgymError
from fluxgym_tui.trainer.flux import load_flux
from fluxgym_tui.trainer.weights import PageLocked, WeightsFile
from tests.trainer.made_flux import geometry, inputs, normal, save_flux
from tests.trainer.parity import relative

pytestmark = pytest.mark.usefixtures("one_thread")

FP8 = torch.float8_e4m3fn
STORED = [torch.float32, torch.float16, torch.bfloat16, FP8, torch.float8_e5m2]


@pytest.mark.parametrize("stored", STORED)
@pytest.mark.parametrize("wanted", [None, torch.float32, torch.bfloat16])
def test_a_tensor_comes_as_stored_or_cast(tmp_path: Path, stored: torch.dtype, wanted: torch.dtype | None) -> None:
    tensor = normal(7, 5, seed=1).to(stored)
    save_file({"a": torch.ones(3), "b": tensor, "scalar": torch.tensor(2.0).to(stored)}, tmp_path / "w.safetensors")
    with WeightsFile(tmp_path / "w.safetensors") as file:
        found, scalar = file.load("b", dtype=wanted), file.load("scalar", dtype=wanted)
    assert found.dtype == (wanted or stored)
    assert torch.equal(found.float(), tensor.to(wanted or stored).float())
    assert (scalar.shape, float(scalar)) == ((), 2.0)


def test_what_is_mapped_may_be_changed_and_the_file_stays(tmp_path: Path) -> None:
    path = tmp_path / "w.safetensors"
    save_file({"a": torch.ones(4)}, path)
    before = path.read_bytes()
    with WeightsFile(path) as file:
        mapped = file.load("a")
        again = file.load("a")
    assert mapped.data_ptr() == again.data_ptr(), "both are the file's own pages"
    mapped.add_(1)
    assert mapped.tolist() == [2.0] * 4
    assert path.read_bytes() == before


def test_page_locked_memory_is_packed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Plain memory stands in for page-locked, which only a machine with a GPU has."""
    pieces: list[int] = []

    def piece(size: int) -> Tensor:
        pieces.append(size)
        return torch.empty(size, dtype=torch.uint8)

    monkeypatch.setattr(PageLocked, "piece", staticmethod(piece))
    monkeypatch.setattr(PageLocked, "PIECE_BYTES", 4096)
    tensors = {str(seed): normal(10, 10 + seed, seed=seed).to(torch.bfloat16) for seed in range(12)}
    tensors["large"] = normal(50, 50, seed=50).to(torch.bfloat16)
    save_file(tensors, tmp_path / "w.safetensors")
    with WeightsFile(tmp_path / "w.safetensors") as file:
        found = {name: file.load(name, pinned=True) for name in tensors}
        cast = {name: file.load(name, dtype=FP8, pinned=True) for name in tensors}
    for name, tensor in tensors.items():
        assert torch.equal(found[name], tensor)
        assert torch.equal(cast[name].float(), tensor.to(FP8).float())
        assert found[name].data_ptr() % 64 == 0
    assert pieces.count(5000) == 1, "what is larger than a piece has its own"
    assert len(pieces) <= 5


def test_tensors_at_odd_places_are_read(tmp_path: Path) -> None:
    path = tmp_path / "odd.safetensors"
    header = json.dumps({"a": {"dtype": "F32", "shape": [2], "data_offsets": [0, 8]}}).encode()
    header += b" " * (1 - len(header) % 2)  # an odd length: nothing after it is aligned
    assert len(header) % 2 == 1
    path.write_bytes(struct.pack("<Q", len(header)) + header + struct.pack("<2f", 1.5, -2.0))
    with WeightsFile(path) as file:
        assert file.load("a").tolist() == [1.5, -2.0]


def test_a_tensor_of_no_elements_is_read(tmp_path: Path) -> None:
    save_file({"none": torch.zeros(0), "a": torch.ones(1)}, tmp_path / "w.safetensors")
    with WeightsFile(tmp_path / "w.safetensors") as file:
        assert file.load("none").shape == (0,)


def test_a_precision_that_is_not_read_is_named(tmp_path: Path) -> None:
    save_file({"a": torch.zeros(2, dtype=torch.uint8)}, tmp_path / "w.safetensors")
    with WeightsFile(tmp_path / "w.safetensors") as file, pytest.raises(FluxgymError, match="a is stored as U8"):
        file.load("a")


def test_a_file_that_shrinks_while_it_is_read_is_told(tmp_path: Path) -> None:
    path = tmp_path / "w.safetensors"
    save_file({"a": torch.ones(100)}, path)
    with WeightsFile(path) as file:
        with path.open("r+b") as written:
            written.truncate(path.stat().st_size - 10)
        with pytest.raises(FluxgymError, match="ends within a"):
            file.load("a", dtype=torch.bfloat16)


@pytest.mark.parametrize("stored", STORED)
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_checkpoints_of_every_precision_compute_as_their_numbers_say(
    tmp_path: Path, stored: torch.dtype, dtype: torch.dtype
) -> None:
    """Bit for bit as a file that holds the same numbers in the precision of computing."""
    sizes = geometry(depth=8, depth_single_blocks=2)  # as many double blocks as Flex.1-alpha has
    weights = save_flux(tmp_path / "stored.sft", sizes, dtype=stored, prefix="model.diffusion_model.")
    save_file({name: tensor.to(dtype) for name, tensor in weights.items()}, tmp_path / "plain.safetensors")
    model = load_flux(tmp_path / "stored.sft", axes_dim=sizes.axes_dim, dtype=dtype)
    plain = load_flux(tmp_path / "plain.safetensors", axes_dim=sizes.axes_dim, dtype=dtype)
    assert model.geometry == sizes
    assert model.dtype == dtype
    with torch.no_grad():
        assert torch.equal(model(**inputs(sizes)), plain(**inputs(sizes)))
    kept = stored if stored in (FP8, torch.float8_e5m2) else dtype
    for name, parameter in model.named_parameters():
        matrix = "_blocks." in name and name.endswith(".weight")
        assert parameter.dtype == (kept if matrix else dtype), name


@pytest.mark.parametrize("stored", [torch.bfloat16, torch.float16, FP8])
def test_fp8_base_rounds_the_blocks_matrices_and_nothing_else(tmp_path: Path, stored: torch.dtype) -> None:
    sizes = geometry(depth=2, depth_single_blocks=2)
    weights = save_flux(tmp_path / "stored.safetensors", sizes, dtype=stored)
    rounded = {
        name: (tensor.to(FP8) if "_blocks." in name and name.endswith(".weight") else tensor).to(torch.bfloat16)
        for name, tensor in weights.items()
    }
    save_file(rounded, tmp_path / "rounded.safetensors")
    model = load_flux(tmp_path / "stored.safetensors", sizes.axes_dim, torch.bfloat16, fp8_base=True)
    plain = load_flux(tmp_path / "rounded.safetensors", sizes.axes_dim, torch.bfloat16)
    assert {parameter.dtype for parameter in model.parameters()} == {torch.bfloat16, FP8}
    with torch.no_grad():
        found = model(**inputs(sizes))
        assert torch.equal(found, plain(**inputs(sizes)))
        exact = load_flux(tmp_path / "stored.safetensors", sizes.axes_dim, torch.bfloat16)(**inputs(sizes))
    if stored == FP8:
        assert torch.equal(found, exact), "nothing is left to round"
    else:
        assert 1e-3 < relative(found, exact) < 0.3, "it is rounding, and no more"


def test_fp8_as_the_precision_is_fp8_base_in_bf16(tmp_path: Path) -> None:
    sizes = geometry(depth=1, depth_single_blocks=1)
    save_flux(tmp_path / "fp8.safetensors", sizes, dtype=FP8)
    model = load_flux(tmp_path / "fp8.safetensors", sizes.axes_dim, FP8)
    assert model.dtype == torch.bfloat16
    assert {parameter.dtype for parameter in model.parameters()} == {torch.bfloat16, FP8}
    with torch.no_grad():
        assert bool(torch.isfinite(model(**inputs(sizes))).all())


def test_as_stored_a_checkpoint_is_mapped(tmp_path: Path) -> None:
    sizes = geometry(depth=1, depth_single_blocks=1)
    path = tmp_path / "flux.safetensors"
    save_flux(path, sizes, dtype=torch.bfloat16)
    first, second = (load_flux(path, sizes.axes_dim, torch.bfloat16) for _ in range(2))
    cast = load_flux(path, sizes.axes_dim, torch.float32)
    pages = path.stat().st_size
    addresses = [parameter.data_ptr() for parameter in first.parameters()]
    assert max(addresses) - min(addresses) < pages, "one mapping holds them all"
    assert first.img_in.weight.data_ptr() != second.img_in.weight.data_ptr(), "each load has its own"
    assert cast.img_in.weight.dtype == torch.float32
