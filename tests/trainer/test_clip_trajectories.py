"""CLIP-L and the transformer trained together, masked or not: we end where sd-scripts ended."""

import json
from typing import Any

import pytest
import torch

from fluxgym_tui.trainer.cache import ReadBatch, latent_masks
from fluxgym_tui.trainer.conditioning import TextSource
from fluxgym_tui.trainer.flow import FlowSettings, flow_losses
from fluxgym_tui.trainer.flux import load_flux
from fluxgym_tui.trainer.lora import create_lora
from fluxgym_tui.trainer.optim import build_optimizer, clip_gradients
from fluxgym_tui.trainer.text import ClipEncoder, load_clip_encoder
from tests.trainer.parity import PARITY, section, vectors
from tests.trainer.trainer_options import TINY_BASE

SETTINGS = FlowSettings(
    timestep_sampling="shift", discrete_flow_shift=3.1582, model_prediction_type="raw", guidance_scale=1.0
)
LEARNING_RATE, TEXT_ENCODER_LR = 1e-3, 4e-3


class GivenIds(ClipEncoder):
    """The encoder with a stand-in for its tokenizer: captions are numbers of rows of the reference's token ids."""

    def pool(self, captions: Any) -> torch.Tensor:
        return self.pool_ids(vectors("traj_I_clip_l")["data.clip_ids"][[int(caption) for caption in captions]])


@pytest.mark.usefixtures("one_thread")
@pytest.mark.parametrize("name", ["I_clip_l", "J_clip_l_masked"])
def test_both_end_where_sd_scripts_ended(name: str) -> None:
    told = json.loads((PARITY / "clip_trajectories.json").read_text(encoding="utf-8"))["trajectories"]
    steps = next(entry["steps"] for entry in told if entry["name"] == name)
    masked = "masked" in name
    shared = vectors("traj_I_clip_l")
    data = section(shared, "data")

    model = load_flux(TINY_BASE / "flux1-tiny.safetensors")
    model.gradient_checkpointing = masked
    loaded = load_clip_encoder(
        TINY_BASE / "clip_l.safetensors",
        tokenizer_cache_dir=TINY_BASE / "tokenizers",
        dtype=torch.float32,
        device="cpu",
    )
    clip = GivenIds(model=loaded.model, tokenizer=None, eos_token_id=loaded.eos_token_id)
    texts = TextSource(device=torch.device("cpu"), clip=clip, learns=True)
    network = create_lora(model, clip=texts.trained_clip, network_dim=2, network_alpha=1.0)
    network.load_lora_state(section(shared, "init"), source="init")
    groups = network.parameter_groups(learning_rate=LEARNING_RATE, text_encoder_lr=TEXT_ENCODER_LR)
    assert [group.name for group in groups] == ["textencoder 1 ", "unet"]
    optimizer = build_optimizer(
        [{"params": group.parameters, "lr": group.learning_rate} for group in groups],
        learning_rate=LEARNING_RATE,
        optimizer_args=("eps=1e-6",),
    )

    losses, norms = [], []
    for number, step in enumerate(steps):
        chosen = step["batch_indices"]
        read = ReadBatch(
            latents=data["latents"][chosen],
            loss_weights=data["loss_weights"][chosen] if masked else torch.ones(2),
            masks=latent_masks(list(data["alpha_masks"][chosen])) if masked else None,
            captions=tuple(str(index) for index in chosen),
            texts={
                "l_pooled": torch.zeros(2, 128),
                "t5_out": data["t5_out"][chosen],
                "txt_ids": torch.zeros(2, 24, 3),
                "t5_attn_mask": torch.ones(2, 24, dtype=torch.int64),
            },
        )
        sigmas, noise = torch.tensor(step["sigmas"]), shared[f"step{number:02d}.noise"]
        batch = texts.complete(read)
        loss = flow_losses(model, batch=batch, noise=noise, sigmas=sigmas, settings=SETTINGS).mean()
        loss.backward()  # type: ignore[no-untyped-call]
        norms.append(float(clip_gradients(network.parameters(), max_grad_norm=1.0)))
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)
        losses.append(loss.item())

    assert losses == pytest.approx([step["loss"] for step in steps], rel=1e-5)
    assert norms == pytest.approx([step["grad_norm_before_clip"] for step in steps], rel=1e-4)
    final, expected = network.lora_state(), section(vectors(f"traj_{name}"), "final")
    assert final.keys() == expected.keys()
    for key, tensor in expected.items():
        difference = (final[key].double() - tensor.double()).norm() / tensor.double().norm()
        assert float(difference) < 1e-4, key
