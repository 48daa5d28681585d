"""LoRA files are whole, finite, in sd-scripts' format, and never half-written."""

import hashlib
import json
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file
from torch import Tensor

from fluxgym_tui.base.errors import FluxgymError
from fluxgym_tui.base.safetensors import read_header
from fluxgym_tui.trainer.checkpoint import model_hash, open_lora, save_lora, webui_hashes
from fluxgym_tui.trainer.lora import LoraNetwork, create_lora
from fluxgym_tui.trainer.metadata import (
    DatasetFacts,
    SubsetFacts,
    TrainingFacts,
    checkpoint_metadata,
    training_metadata,
)
from fluxgym_tui.trainer.optim import build_optimizer
from tests.trainer.parity import PARITY, section, tiny_flux, vectors
from tests.trainer.trainer_options import options_for

pytestmark = pytest.mark.usefixtures("one_thread")

REFERENCE = PARITY.parent / "lora_metadata.json"
NAME = "lora_unet_single_blocks_0_linear1"


def trained_network() -> LoraNetwork:
    network = create_lora(tiny_flux())
    network.load_lora_state(section(vectors("traj_A_shift_raw"), "final"), source="A")
    return network


@pytest.mark.parametrize(("precision", "dtype"), [(None, "F32"), ("float", "F32"), ("bf16", "BF16"), ("fp16", "F16")])
def test_a_saved_lora_opens_with_every_tensor(tmp_path: Path, precision: str | None, dtype: str) -> None:
    path = tmp_path / "new folder" / "cat.safetensors"
    network = trained_network()
    saved = save_lora(path, network, metadata={"ss_steps": "20"}, save_precision=precision)
    assert {tensor.dtype for tensor in read_header(path).tensors.values()} == {dtype}
    assert saved.ranks == dict.fromkeys(sorted(saved.ranks), 4)
    assert len(saved.ranks) == 26
    opened = open_lora(path)
    for key, tensor in network.lora_state().items():
        assert torch.equal(opened.tensors[key], tensor.to(opened.tensors[key].dtype)), key
    assert [file.name for file in path.parent.iterdir()] == ["cat.safetensors"]


def test_nothing_is_written_over_a_good_file_when_a_weight_is_not_finite(tmp_path: Path) -> None:
    path = tmp_path / "cat.safetensors"
    network = trained_network()
    save_lora(path, network, metadata={})
    before = path.read_bytes()
    with torch.no_grad():
        dict(network.named_parameters())[f"layers.{NAME}.up"][3, 1] = float("nan")
    with pytest.raises(FluxgymError, match=rf"NaN or infinity, the first is {NAME}.lora_up.weight"):
        save_lora(path, network, metadata={})
    assert path.read_bytes() == before


def test_float16_overflow_is_noticed(tmp_path: Path) -> None:
    network = trained_network()
    with torch.no_grad():
        dict(network.named_parameters())[f"layers.{NAME}.up"][0, 0] = 1e6
    with pytest.raises(FluxgymError, match="infinity"):
        save_lora(tmp_path / "cat.safetensors", network, metadata={}, save_precision="fp16")


def test_a_folder_that_cannot_be_written_is_told(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(FluxgymError, match="cannot be written"):
        save_lora(tmp_path / "file" / "cat.safetensors", trained_network(), metadata={})


def drop(key: str) -> Callable[[dict[str, Tensor]], dict[str, Tensor]]:
    return lambda tensors: {name: value for name, value in tensors.items() if name != key}


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (drop(f"{NAME}.alpha"), f"{NAME}.alpha is missing"),
        (drop(f"{NAME}.lora_up.weight"), f"{NAME}.lora_up.weight is missing"),
        (lambda tensors: tensors | {f"{NAME}.lora_up.weight": torch.zeros(448, 5)}, "do not fit together"),
        (lambda tensors: tensors | {f"{NAME}.dora_scale": torch.ones(1)}, "dora_scale is no part"),
        (lambda tensors: tensors | {f"{NAME}.alpha": torch.tensor(float("inf"))}, "NaN or infinity"),
        (lambda _: {}, "no layers"),
    ],
)
def test_what_is_no_whole_lora_is_told(
    tmp_path: Path, change: Callable[[dict[str, Tensor]], dict[str, Tensor]], words: str
) -> None:
    path = tmp_path / "other.safetensors"
    save_file(change(trained_network().lora_state()), path)
    with pytest.raises(FluxgymError, match=words) as caught:
        open_lora(path)
    assert str(path) in caught.value.message


def test_a_torn_file_is_told(tmp_path: Path) -> None:
    path = tmp_path / "cat.safetensors"
    save_lora(path, trained_network(), metadata={})
    path.write_bytes(path.read_bytes()[:-100])
    with pytest.raises(FluxgymError, match="cannot be opened"):
        open_lora(path)


def test_the_hashes_are_sd_webuis(tmp_path: Path) -> None:
    path = tmp_path / "cat.safetensors"
    metadata = save_lora(path, trained_network(), metadata={"ss_steps": "3", "modelspec.title": "cat"}).metadata
    content = path.read_bytes()
    data = content[8 + int.from_bytes(content[:8], "little") :]
    assert metadata["sshs_model_hash"] == hashlib.sha256(data).hexdigest()
    assert metadata["sshs_legacy_hash"] == hashlib.sha256(b"").hexdigest()[:8], "it is smaller than 1 MiB"
    long = b"\2" + b"\0" * 7 + b"{}" + b"x" * 0x120000
    assert webui_hashes(long)["sshs_legacy_hash"] == hashlib.sha256(b"x" * 0x10000).hexdigest()[:8]
    path.write_bytes(long)
    assert model_hash(path) == webui_hashes(long)["sshs_legacy_hash"]


def metadata(tmp_path: Path, *more: str, output_name: str = "lbtk-lora", guidance_embed: bool = True) -> dict[str, str]:
    (tmp_path / "flux1-tiny.safetensors").write_bytes(b"x" * 100)
    subset = SubsetFacts(
        image_dir=tmp_path / "photos",
        captions=["lbtk, A Cat", "lbtk", "lbtk,a dog, "],
        num_repeats=2,
        class_tokens="lbtk",
    )
    options = options_for(tmp_path / "dataset.toml", "--output_name", output_name, *more, models=tmp_path)
    facts = TrainingFacts(
        validation_images=0,
        session_id=7,
        started_at=1795383774.5,
        batches_per_epoch=6,
        epochs=2,
        total_steps=12,
        network_dim=4,
        network_args={},
        optimizer=build_optimizer(trained_network().parameters(), learning_rate=1e-3),
        guidance_embed=guidance_embed,
        datasets=[
            DatasetFacts(
                resolution=(256, 256),
                batch_size=1,
                enable_bucket=True,
                min_bucket_reso=256,
                max_bucket_reso=1024,
                buckets={(256, 256): 6},
                subsets=[subset],
            )
        ],
    )
    return checkpoint_metadata(training_metadata(options, facts), step=12, epoch=2, now=1795383801.25)


def test_the_fields_are_those_of_sd_scripts(tmp_path: Path) -> None:
    reference = json.loads(REFERENCE.read_text(encoding="utf-8"))
    found = metadata(tmp_path)
    # sd-scripts' commit is not ours to name, and a hash of all of FLUX.1 would cost minutes; save_lora adds sshs_*.
    left_out = {"ss_sd_scripts_commit_hash", "ss_new_sd_model_hash", "sshs_model_hash", "sshs_legacy_hash"}
    assert found.keys() == reference.keys() - left_out
    assert all(isinstance(value, str) for value in found.values())
    same = {
        "ss_network_module", "ss_network_dim", "ss_base_model_version", "ss_v2", "ss_noise_offset", "ss_clip_skip",
        "ss_optimizer", "ss_output_name", "ss_lowram", "ss_seed", "ss_prior_loss_weight", "ss_text_encoder_lr",
        "modelspec.architecture", "modelspec.title", "modelspec.sai_model_spec", "modelspec.implementation",
    }  # fmt: skip
    changed = {name: (found[name], reference[name]) for name in same if found[name] != reference[name]}
    assert changed == {"ss_seed": ("None", "42")}


def test_the_fields_say_what_was_trained(tmp_path: Path) -> None:
    found = metadata(tmp_path, "--metadata_author", "me", "--seed", "42", "--learning_rate", "8e-4")
    assert found["ss_seed"] == "42"
    assert found["ss_learning_rate"] == "0.0008"
    assert found["ss_steps"] == "12"
    assert found["ss_epoch"] == "2"
    assert found["ss_num_train_images"] == "6"
    assert found["ss_training_finished_at"] == "1795383801.25"
    assert found["ss_sd_model_name"] == "flux1-tiny.safetensors"
    assert found["modelspec.author"] == "me"
    assert found["modelspec.resolution"] == "256x256"
    assert json.loads(found["ss_tag_frequency"]) == {"photos": {"lbtk": 3, "a cat": 1, "a dog": 1}}
    assert json.loads(found["ss_dataset_dirs"]) == {"photos": {"n_repeats": 2, "img_count": 3}}
    (dataset,) = json.loads(found["ss_datasets"])
    assert dataset["bucket_info"] == {"buckets": {"0": {"resolution": [256, 256], "count": 6}}}
    assert dataset["subsets"][0]["class_tokens"] == "lbtk"


def test_schnell_is_called_schnell(tmp_path: Path) -> None:
    assert metadata(tmp_path, guidance_embed=False)["modelspec.architecture"] == "flux-1-schnell/lora"


def test_names_that_are_no_utf8_do_not_spoil_a_header(tmp_path: Path) -> None:
    found = metadata(tmp_path, output_name="caf\udce9")
    assert save_lora(tmp_path / "a.safetensors", trained_network(), metadata=found).metadata["ss_output_name"] == "caf?"
