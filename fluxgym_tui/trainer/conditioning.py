"""The text of a batch: from its caches, or from encoders that stay loaded because they learn or captions change."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from fluxgym_tui.trainer.cache import ReadBatch
from fluxgym_tui.trainer.flow import FlowBatch
from fluxgym_tui.trainer.setup import Setup
from fluxgym_tui.trainer.text import ClipEncoder, TextEncoders, load_clip_encoder, load_text_encoders


@dataclass(frozen=True, kw_only=True)
class TextSource:
    """Completes batches on `device`.

    `clip` is there where it learns or captions are not cached, `encoders` where they are not; `masked` is
    apply_t5_attn_mask.
    """

    device: torch.device
    clip: ClipEncoder | None = None
    encoders: TextEncoders | None = None
    learns: bool = False
    masked: bool = False

    @property
    def trained_clip(self) -> nn.Module | None:
        """CLIP-L where it is to get adapters."""
        return self.clip.model if self.learns and self.clip is not None else None

    def complete(self, read: ReadBatch) -> FlowBatch:
        """`read` with its captions encoded, all on the device; gradients reach CLIP's adapters where they learn."""
        texts = self._encoded(read.captions) if read.texts is None else dict(read.texts)
        on_device = {name: tensor.to(self.device) for name, tensor in texts.items()}
        if self.clip is not None:
            on_device["l_pooled"] = self.pool(read.captions)
        return FlowBatch(
            latents=read.latents.to(self.device),
            loss_weights=read.loss_weights.to(self.device),
            masks=None if read.masks is None else read.masks.to(self.device),
            **on_device,
        )

    def pool(self, captions: Sequence[str]) -> Tensor:
        """What CLIP makes of `captions` as it is now, (B, vec)."""
        assert self.clip is not None
        with torch.set_grad_enabled(self.learns and torch.is_grad_enabled()):
            return self.clip.pool(captions)

    @torch.no_grad()
    def _encoded(self, captions: Sequence[str]) -> dict[str, Tensor]:
        """T5's part: CLIP's comes from `pool`, which may learn."""
        assert self.encoders is not None
        _, ids, mask = (tokens.to(self.device) for tokens in self.encoders.tokenize(captions))
        return {
            "t5_out": self.encoders.encode_t5(ids, mask=mask if self.masked else None),
            "txt_ids": torch.zeros(*ids.shape, 3, device=self.device),
            "t5_attn_mask": mask,
        }


def load_text_source(setup: Setup) -> TextSource:
    """The encoders that the training of `setup` keeps, loaded; none where everything it reads is cached."""
    options = setup.options
    encoders, clip = None, None
    if not options.cached_text:
        encoders = load_text_encoders(
            clip_l=options.clip_l,
            t5xxl=options.t5xxl,
            max_tokens=setup.t5_tokens,
            tokenizer_cache_dir=options.tokenizer_cache_dir,
            dtype=setup.dtype,
            device=setup.device,
            t5_elsewhere=bool(setup.blocks_to_swap),
        )
        clip = encoders.clip_encoder
    elif options.trains_clip:
        clip = load_clip_encoder(
            options.clip_l,
            tokenizer_cache_dir=options.tokenizer_cache_dir,
            dtype=setup.dtype,
            device=setup.device,
        )
    return TextSource(
        device=setup.device,
        clip=clip,
        encoders=encoders,
        learns=options.trains_clip,
        masked=options.apply_t5_attn_mask,
    )
