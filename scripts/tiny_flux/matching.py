"""Trains the tiny transformer together with its text encoders, by the trainer's own flow-matching step."""

import random
import time
from collections.abc import Callable
from dataclasses import dataclass, replace

import torch
from torch import Tensor, nn

from fluxgym_tui.trainer.autoencoder import Autoencoder
from fluxgym_tui.trainer.flow import FlowBatch, FlowSettings, draw_sigmas, flow_losses
from fluxgym_tui.trainer.flux import Flux, FluxGeometry
from fluxgym_tui.trainer.t5 import build_t5
from fluxgym_tui.trainer.text import TextEncoders, build_clip
from tiny_flux.autoencoding import to_tensor
from tiny_flux.drawings import SIZES_PX, draw

TEXT_WIDTH = 128
GEOMETRY = FluxGeometry(
    hidden_size=160,
    mlp_size=640,
    depth=2,
    depth_single_blocks=4,
    axes_dim=(8, 12, 12),
    context_in_dim=TEXT_WIDTH,
    vec_in_dim=TEXT_WIDTH,
)
BATCH = 16
PEAK_RATE = 1e-3
WARM_UP_STEPS = 100
EMA_DECAY = 0.998
CAPTION_DROPOUT = 0.08  # so that an empty negative prompt means something
T5_LENGTHS = (32, 48, 64)  # padding is attended to, as in FLUX: the model must not care how much of it there is
GUIDANCE_SCALES = (1.0, 4.5)  # drawn evenly: the tiny base ignores guidance, so any value may be trained and sampled
SETTINGS = FlowSettings(timestep_sampling="shift", discrete_flow_shift=1.6, model_prediction_type="raw")


@dataclass(frozen=True)
class Shelf:
    """Encoded drawings of one size: latents (N, 16, h, w), CLIP's ids (N, 77) and T5's ids (N, 64)."""

    latents: Tensor
    clip_ids: Tensor
    t5_ids: Tensor


def encode_drawings(count: int, *, autoencoder: Autoencoder, texts: TextEncoders, seed: int) -> list[Shelf]:
    """Draws and encodes `count` pictures: three of five square, the rest landscape and portrait."""
    rng = random.Random(seed)
    generator = torch.Generator().manual_seed(seed)
    shelves = []
    for size_px, share in zip(SIZES_PX, (0.6, 0.2, 0.2), strict=True):
        drawings = [draw(rng, size_px=size_px) for _ in range(round(count * share))]
        parts = []
        for start in range(0, len(drawings), 16):
            images = to_tensor([drawing.image for drawing in drawings[start : start + 16]])
            with torch.no_grad(), torch.autocast("cpu", dtype=torch.bfloat16):
                parts.append(autoencoder.encode(images, generator=generator).float())
        clip_ids, t5_ids, _ = texts.tokenize([drawing.caption for drawing in drawings])
        shelves.append(Shelf(torch.cat(parts), clip_ids, t5_ids))
    return shelves


def fresh_clip(vocabulary: int, *, layers: int = 2) -> nn.Module:
    """An untrained CLIP text model: two heads, as its width is 128 and CLIP's heads are 64 wide."""
    width = TEXT_WIDTH
    shapes = {
        "text_model.embeddings.token_embedding.weight": (vocabulary, width),
        "text_model.embeddings.position_embedding.weight": (77, width),
        "text_model.encoder.layers.0.mlp.fc1.weight": (2 * width, width),
        **{f"text_model.encoder.layers.{i}.layer_norm1.weight": (width,) for i in range(layers)},
    }
    model = build_clip(_shapes(shapes)).to_empty(device="cpu")
    for module in model.modules():
        if isinstance(getattr(module, "position_ids", None), Tensor):
            module.register_buffer("position_ids", torch.arange(77)[None], persistent=False)
    return _initialise(model)


def fresh_t5(vocabulary: int, *, layers: int = 2, heads: int = 4) -> nn.Module:
    """An untrained T5 v1.1 encoder of width 128."""
    width = TEXT_WIDTH
    shapes = {
        "shared.weight": (vocabulary, width),
        "encoder.block.0.layer.0.SelfAttention.relative_attention_bias.weight": (32, heads),
        "encoder.block.0.layer.0.SelfAttention.q.weight": (width, width),
        "encoder.block.0.layer.1.DenseReluDense.wi_0.weight": (2 * width, width),
        **{f"encoder.block.{i}.layer.0.layer_norm.weight": (width,) for i in range(layers)},
    }
    model = build_t5(_shapes(shapes)).to_empty(device="cpu")
    model.tie_weights()  # type: ignore[operator]
    return _initialise(model)


def _shapes(shapes: dict[str, tuple[int, ...]]) -> dict[str, Tensor]:
    return {key: torch.empty(shape, device="meta") for key, shape in shapes.items()}


def _initialise(model: nn.Module) -> nn.Module:
    for name, parameter in model.named_parameters():
        if parameter.ndim == 1:
            nn.init.constant_(parameter, 1.0 if "norm" in name and name.endswith("weight") else 0.0)
        elif any(part in name for part in ("token_embedding", "shared", "embed_tokens")):
            nn.init.normal_(parameter, std=0.5)
        elif "position_embedding" in name or "relative_attention_bias" in name:
            nn.init.normal_(parameter, std=0.1)
        else:
            nn.init.normal_(parameter, std=parameter.shape[1] ** -0.5)
    return model.train()


def _batch(shelf: Shelf, texts: TextEncoders, *, length: int, blank: Shelf, generator: torch.Generator) -> FlowBatch:
    index = torch.randint(len(shelf.latents), (BATCH,), generator=generator)
    dropped = (torch.rand(BATCH, generator=generator) < CAPTION_DROPOUT)[:, None]
    clip_ids = torch.where(dropped, blank.clip_ids, shelf.clip_ids[index])
    t5_ids = torch.where(dropped, blank.t5_ids, shelf.t5_ids[index])[:, :length]
    # CLIP looks only backwards, so what follows the last end token changes nothing
    end = int(clip_ids.argmax(-1).max()) + 1
    return FlowBatch(
        latents=shelf.latents[index],
        t5_out=texts.encode_t5(t5_ids, mask=None),
        txt_ids=torch.zeros(BATCH, length, 3),
        l_pooled=texts.encode_clip(clip_ids[:, :end]),
        t5_attn_mask=torch.ones(BATCH, length, dtype=torch.long),
        loss_weights=torch.ones(BATCH),
    )


def _rate(step: int, steps: int) -> float:
    """Linear warm-up, flat for a third, then a straight line down to a fiftieth."""
    flat = steps // 3
    if step < WARM_UP_STEPS:
        return (step + 1) / WARM_UP_STEPS
    return min(1.0, max(0.02, (steps - step) / (steps - flat)))


def train_transformer(
    model: Flux,
    texts: TextEncoders,
    shelves: list[Shelf],
    *,
    steps: int,
    seed: int,
    save: Callable[[], None],
    save_every: int = 1000,
) -> None:
    """Trains `model` and `texts` in place; `save` is called with the averaged weights in place, every so many steps."""
    generator = torch.Generator().manual_seed(seed)
    rng = random.Random(seed)
    modules = (model, texts.clip, texts.t5)
    parameters = [parameter for module in modules for parameter in module.parameters()]
    average = [parameter.detach().clone() for parameter in parameters]
    optimizer = torch.optim.AdamW(parameters, lr=PEAK_RATE, betas=(0.9, 0.99), weight_decay=0.01, foreach=True)
    blank = Shelf(torch.empty(0), *texts.tokenize([""])[:2])
    started, smooth = time.monotonic(), 1.0
    for step in range(steps):
        for group in optimizer.param_groups:
            group["lr"] = PEAK_RATE * _rate(step, steps)
        shelf = rng.choices(shelves, weights=[len(shelf.latents) for shelf in shelves])[0]
        settings = replace(SETTINGS, guidance_scale=rng.uniform(*GUIDANCE_SCALES))
        with torch.autocast("cpu", dtype=torch.bfloat16):
            batch = _batch(shelf, texts, length=rng.choice(T5_LENGTHS), blank=blank, generator=generator)
            noise = torch.randn(batch.latents.shape, generator=generator)
            sigmas = draw_sigmas(BATCH, settings=settings, tokens=64, generator=generator)
            loss = flow_losses(model, batch=batch, noise=noise, sigmas=sigmas, settings=settings).mean()
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        nn.utils.clip_grad_norm_(parameters, 1.0, foreach=True)
        optimizer.step()
        # young averages forget fast, so that the first steps do not linger
        torch._foreach_lerp_(average, [p.detach() for p in parameters], 1 - min(EMA_DECAY, (1 + step) / (10 + step)))
        smooth += (float(loss.detach()) - smooth) * max(0.01, 1 / (step + 1))
        if (step + 1) % 100 == 0 or step == steps - 1:
            pace = (time.monotonic() - started) / (step + 1)
            print(f"transformer step {step + 1}/{steps}  loss {smooth:.4f}  {pace:.3f} s/step", flush=True)
        if (step + 1) % save_every == 0 or step == steps - 1:
            trained = [parameter.detach().clone() for parameter in parameters]
            _put(parameters, average)
            save()
            if step != steps - 1:
                _put(parameters, trained)


def _put(parameters: list[nn.Parameter], values: list[Tensor]) -> None:
    with torch.no_grad():
        for parameter, value in zip(parameters, values, strict=True):
            parameter.copy_(value)
