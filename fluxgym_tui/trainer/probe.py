"""A measure of what a training did: the loss at fixed noise and fixed noise levels, before and after."""

from collections.abc import Sequence

import torch

from fluxgym_tui.trainer.cache import read_batch
from fluxgym_tui.trainer.conditioning import TextSource
from fluxgym_tui.trainer.data import Picture, PictureBatch
from fluxgym_tui.trainer.flow import FlowBatch, FlowSettings, flow_losses
from fluxgym_tui.trainer.flux import Flux

SIGMAS = tuple((2 * index + 1) / 16 for index in range(8))  # the middles of eight equal parts of 0..1
MOST_PICTURES = 16  # spread over the dataset: with a real model each costs eight runs of it
_SEED = 0


def probed_pictures(pictures: Sequence[Picture]) -> list[Picture]:
    """The pictures that are measured: all, or `MOST_PICTURES` at even distances."""
    distinct = list({picture.path: picture for picture in pictures}.values())
    count = min(len(distinct), MOST_PICTURES)
    return [distinct[index * len(distinct) // count] for index in range(count)]


@torch.no_grad()
def probe_loss(model: Flux, pictures: Sequence[Picture], *, settings: FlowSettings, texts: TextSource) -> float:
    """The mean loss of `pictures` over `SIGMAS`; the noise of the nth picture is the same in every run and call."""
    generator = torch.Generator().manual_seed(_SEED)
    losses = []
    for picture in pictures:
        batch = PictureBatch(
            pictures=(picture,), captions=(picture.settled_caption,), cached_text=texts.encoders is None
        )
        repeated = _repeated(texts.complete(read_batch(batch)), len(SIGMAS))
        noise = torch.randn(repeated.latents[:1].shape, generator=generator)
        losses.append(
            flow_losses(
                model,
                batch=repeated,
                noise=noise.expand_as(repeated.latents).to(repeated.latents.device),
                sigmas=torch.tensor(SIGMAS, device=repeated.latents.device),
                settings=settings,
            ).mean()
        )
    return float(torch.stack(losses).mean())


def _repeated(batch: FlowBatch, count: int) -> FlowBatch:
    """The one picture of `batch`, `count` times; its own weight does not matter here."""
    return FlowBatch(
        latents=batch.latents.expand(count, -1, -1, -1),
        t5_out=batch.t5_out.expand(count, -1, -1),
        txt_ids=batch.txt_ids.expand(count, -1, -1),
        l_pooled=batch.l_pooled.expand(count, -1),
        t5_attn_mask=batch.t5_attn_mask.expand(count, -1),
        loss_weights=torch.ones(count, device=batch.latents.device),
        masks=None if batch.masks is None else batch.masks.expand(count, -1, -1, -1),
    )
