"""T5 computes as its file's numbers say, whatever they are stored in and wherever they lie."""

from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file
from torch import Tensor, nn

from fluxgym_tui.base.errors import FluxgymError
from fluxgym_tui.trainer.casting import cast_while_running
from fluxgym_tui.trainer.t5 import load_t5
from tests.trainer.parity import vectors

pytestmark = pytest.mark.usefixtures("one_thread")

CPU = torch.device("cpu")
STORED = [torch.float32, torch.float16, torch.bfloat16, torch.float8_e4m3fn]


def run(model: nn.Module) -> Tensor:
    data = vectors("ae_te")
    with torch.no_grad():
        states: Tensor = model(input_ids=data["t5_ids"], attention_mask=data["t5_mask"]).last_hidden_state
    return states


def saved(path: Path, dtype: torch.dtype) -> Path:
    save_file({name: tensor.to(dtype) for name, tensor in vectors("t5_tiny").items()}, path)
    return path


@pytest.mark.parametrize("stored", STORED)
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("elsewhere", [False, True])
def test_numbers_are_those_of_a_model_that_was_cast_whole(
    tmp_path: Path, stored: torch.dtype, dtype: torch.dtype, elsewhere: bool
) -> None:
    path = saved(tmp_path / "t5.safetensors", stored)
    model = load_t5(path, dtype=dtype, device=CPU, elsewhere=elsewhere)
    layers = {name: p for name, p in model.named_parameters() if name.startswith("encoder.block.")}
    assert {parameter.dtype for parameter in layers.values()} == {stored}, "they lie as the file has them"
    rest = {parameter.dtype for name, parameter in model.named_parameters() if name not in layers}
    assert rest == {dtype}
    whole = saved(tmp_path / "cast.safetensors", torch.float32)
    save_file({name: t.to(stored).to(dtype) for name, t in vectors("t5_tiny").items()}, whole)
    found = run(model)
    assert found.dtype == dtype
    assert torch.equal(found, run(load_t5(whole, dtype=dtype, device=CPU)))
    assert torch.equal(run(model), found), "a second caption is encoded alike"
    assert {parameter.dtype for parameter in layers.values()} == {stored}, "nothing cast stays behind"


def test_only_one_layer_is_cast_at_a_time(tmp_path: Path) -> None:
    model = load_t5(saved(tmp_path / "t5.safetensors", torch.float8_e4m3fn), dtype=torch.float32, device=CPU)
    layers = list(model.get_submodule("encoder.block").children())
    assert len(layers) > 1
    seen = []

    def look(*_: object) -> None:
        dtypes = [{parameter.dtype for parameter in layer.parameters()} for layer in layers]
        seen.append([dtype == {torch.float32} for dtype in dtypes])

    for layer in layers:
        layer.register_forward_pre_hook(look)
    run(model)
    assert seen == [[index == at for index in range(len(layers))] for at in range(len(layers))]


def test_weights_go_back_when_a_layer_fails() -> None:
    class Failing(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.linear = nn.Linear(2, 2).to(torch.bfloat16).requires_grad_(False)

        def forward(self, _: Tensor) -> Tensor:
            assert self.linear.weight.dtype == torch.float32
            raise MemoryError

    block = Failing()
    cast_while_running([block], dtype=torch.float32, device=CPU)
    with pytest.raises(MemoryError):
        block(torch.ones(2))
    assert block.linear.weight.dtype == torch.bfloat16


def test_the_embedding_is_one_under_either_name(tmp_path: Path) -> None:
    tensors = dict(vectors("t5_tiny"))
    shared = tensors.pop("shared.weight") if "shared.weight" in tensors else tensors["encoder.embed_tokens.weight"]
    tensors["encoder.embed_tokens.weight"] = shared
    save_file(tensors, tmp_path / "t5.safetensors")
    model = load_t5(tmp_path / "t5.safetensors", dtype=torch.bfloat16, device=CPU)
    state = model.state_dict()
    assert state["shared.weight"].data_ptr() == state["encoder.embed_tokens.weight"].data_ptr()


def test_shapes_that_do_not_fit_and_missing_layers_are_told(tmp_path: Path) -> None:
    tensors = dict(vectors("t5_tiny"))
    norm = "encoder.block.0.layer.0.layer_norm.weight"
    save_file(tensors | {norm: torch.ones(3)}, tmp_path / "t5.safetensors")
    with pytest.raises(FluxgymError, match=rf"other shapes than its sizes say: {norm}"):
        load_t5(tmp_path / "t5.safetensors", dtype=torch.float32, device=CPU)
    del tensors["encoder.final_layer_norm.weight"]
    save_file(tensors, tmp_path / "t5.safetensors")
    with pytest.raises(FluxgymError, match=r"1 tensors are missing, encoder\.final_layer_norm"):
        load_t5(tmp_path / "t5.safetensors", dtype=torch.float32, device=CPU)
