"""What was published, fetched back from the hub's stand-in: diffusers reads it whole, at FLUX.1's true widths."""

from pathlib import Path

import pytest
from diffusers.loaders.lora_pipeline import FluxLoraLoaderMixin

from fluxgym_tui.runs.publication import prepare_publication
from fluxgym_tui.runs.publishing import publish_run
from fluxgym_tui.trainer.checkpoint import save_lora
from tests.hub.conftest import hub
from tests.hub.publishing import accept_publishing
from tests.hub.standin import StandIn, Token
from tests.runs.publishable import publishable_run
from tests.trainer.test_diffusers import PLACES, random_network

__all__ = ["hub"]


def test_the_published_lora_converts_in_diffusers(
    tmp_path: Path,
    hub: StandIn,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    hub.tokens["hf_x"] = Token(role="write")
    monkeypatch.setenv("HF_TOKEN", "hf_x")
    accept_publishing(hub)
    run = publishable_run(tmp_path / "outputs")
    lora = run.output_dir / "hrld-person.safetensors"
    save_lora(lora, random_network(), metadata={"ss_network_module": "networks.lora_flux"}, save_precision="bf16")
    publish_run(prepare_publication(run, repo_id="ada/hrld"))

    fetched = tmp_path / "fetched.safetensors"
    fetched.write_bytes(hub.repos["ada/hrld"].files["hrld-person.safetensors"])
    theirs = FluxLoraLoaderMixin.lora_state_dict(str(fetched))
    names = {f"transformer.{name}" for places in PLACES.values() for name in places}
    assert theirs.keys() == {f"{name}.{part}.weight" for name in names for part in ("lora_A", "lora_B")}
    assert theirs["transformer.transformer_blocks.0.ff.net.0.proj.lora_B.weight"].shape == (12288, 6)
    assert theirs["transformer.single_transformer_blocks.0.proj_out.lora_A.weight"].shape == (6, 15360)
