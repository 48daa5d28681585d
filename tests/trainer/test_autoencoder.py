"""The autoencoder computes what FLUX's does, from any file in its layout."""

import json
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from fluxgym_tui.base.errors import FluxgymError
from fluxgym_tui.trainer.autoencoder import Autoencoder, AutoencoderGeometry, load_autoencoder, read_geometry
from tests.trainer.parity import PARITY, relative, vectors

pytestmark = pytest.mark.usefixtures("one_thread")
CHECKPOINT = PARITY / "ae.safetensors"


def reference() -> Autoencoder:
    return load_autoencoder(CHECKPOINT)


def test_the_moments_are_the_reference() -> None:
    mean, logvar = reference().moments(vectors("ae_te")["image"])
    assert relative(torch.cat((mean, logvar), dim=1), vectors("ae_te")["moments"]) < 1e-5


def test_the_sampled_latents_are_the_reference_for_its_noise() -> None:
    data = vectors("ae_te")
    assert relative(reference().encode(data["image"], eps=data["eps_seed5"]), data["latent_sampled_seed5"]) < 1e-5
    still = reference().encode(data["image"], eps=torch.zeros_like(data["eps_seed5"]))
    assert relative(still, data["latent_mean_scaled"]) < 1e-5


def test_the_generator_draws_the_noise() -> None:
    data = vectors("ae_te")
    drawn = reference().encode(data["image"], generator=torch.Generator().manual_seed(5))
    eps = torch.randn(data["eps_seed5"].shape, generator=torch.Generator().manual_seed(5))
    assert torch.equal(drawn, reference().encode(data["image"], eps=eps))


def test_the_decoded_picture_is_the_reference() -> None:
    data = vectors("ae_te")
    assert relative(reference().decode(data["latent_mean_scaled"]), data["decoded_from_mean"]) < 1e-5


def test_the_geometry_is_read_from_the_shapes() -> None:
    geometry = AutoencoderGeometry(level_channels=(8, 16, 16), num_res_blocks=2, z_channels=4, norm_groups=4)
    tensors = Autoencoder(geometry).state_dict()
    assert read_geometry(tensors, norm_groups=4) == geometry
    assert geometry.downscale == 4


def test_fluxs_own_geometry_has_the_names_of_its_file() -> None:
    with torch.device("meta"):
        names = Autoencoder(AutoencoderGeometry()).state_dict()
    assert len(names) == 244  # tensors of the published ae.safetensors
    assert names["encoder.down.1.block.0.nin_shortcut.weight"].shape == (256, 128, 1, 1)
    assert names["decoder.up.0.block.0.nin_shortcut.weight"].shape == (128, 256, 1, 1)
    assert names["decoder.conv_in.weight"].shape == (512, 16, 3, 3)


def test_the_sidecar_gives_the_groups(tmp_path: Path) -> None:
    path = tmp_path / "ae.safetensors"
    path.write_bytes(CHECKPOINT.read_bytes())
    (tmp_path / "ae.json").write_text(json.dumps({"norm_groups": 8}), encoding="utf-8")
    model = load_autoencoder(path)
    assert model.geometry.norm_groups == 8
    image = vectors("ae_te")["image"]
    assert relative(model.moments(image)[0], reference().moments(image)[0]) > 1e-2, "the groups must change something"


@pytest.mark.parametrize("content", ["[8]", '{"norm_groups": "many"}', "{"])
def test_a_broken_sidecar_is_named(tmp_path: Path, content: str) -> None:
    (tmp_path / "ae.safetensors").write_bytes(CHECKPOINT.read_bytes())
    (tmp_path / "ae.json").write_text(content, encoding="utf-8")
    with pytest.raises(FluxgymError, match=r"ae\.json"):
        load_autoencoder(tmp_path / "ae.safetensors")


def test_the_weights_come_in_the_dtype_asked_for_and_frozen() -> None:
    model = load_autoencoder(CHECKPOINT, dtype=torch.bfloat16)
    assert {parameter.dtype for parameter in model.parameters()} == {torch.bfloat16}
    assert not any(parameter.requires_grad for parameter in model.parameters())


def test_files_of_another_kind_are_refused(tmp_path: Path) -> None:
    with pytest.raises(FluxgymError, match="cannot be read"):
        load_autoencoder(tmp_path / "none.safetensors")
    save_file({"encoder.conv_in.weight": torch.zeros(1)}, tmp_path / "other.safetensors")
    with pytest.raises(FluxgymError, match="not an autoencoder in FLUX's layout"):
        load_autoencoder(tmp_path / "other.safetensors")
    tensors = load_file(CHECKPOINT)
    tensors.pop("decoder.mid.attn_1.q.weight")
    save_file(tensors, tmp_path / "short.safetensors")
    with pytest.raises(FluxgymError, match=r"decoder\.mid\.attn_1\.q\.weight"):
        load_autoencoder(tmp_path / "short.safetensors")
