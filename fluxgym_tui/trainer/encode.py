"""The encoders' part of a training: stale caches are made anew, prompts encoded; then the encoders are gone."""

import gc
import hashlib
from collections.abc import Callable
from pathlib import Path

import torch
from torch import Tensor

from fluxgym_tui.base.events import Phase
from fluxgym_tui.base.text import count
from fluxgym_tui.dataset.caches import DigestCache
from fluxgym_tui.trainer import cache
from fluxgym_tui.trainer.autoencoder import load_autoencoder
from fluxgym_tui.trainer.report import Reporter
from fluxgym_tui.trainer.sample import Conditioning
from fluxgym_tui.trainer.sampler import PromptConditioning
from fluxgym_tui.trainer.setup import Setup
from fluxgym_tui.trainer.stopping import StopRequest
from fluxgym_tui.trainer.text import CLIP_TOKENIZER, T5_TOKENIZER, TextEncoders, load_text_encoders, tokenizer_folder


def fill_caches(setup: Setup, *, report: Reporter, stop: StopRequest) -> list[PromptConditioning]:
    """Bring every cache up to date and encode the sample prompts; an encoder that nothing needs is not loaded."""
    digests = DigestCache.default()  # a T5 of 10 GB is read once for its digest, not at each start
    try:
        _fill_latents(setup, digests, report, stop)
        conditionings = _fill_texts(setup, digests, report, stop)
    finally:
        digests.save()
    gc.collect()  # the encoders' memory is the transformer's now
    if setup.device.type == "cuda":
        torch.cuda.empty_cache()
    return conditionings


def _fill_latents(setup: Setup, digests: DigestCache, report: Reporter, stop: StopRequest) -> None:
    report.phase("cache_latents")
    pictures = setup.data.pictures
    keys = cache.latent_keys(pictures, vae_digest=_digest(setup.options.ae, digests), digests=digests)
    stale = cache.stale(keys)
    report.say(f"latents of {count(len(keys), 'picture')}: {len(keys) - len(stale)} from their caches")
    if stale:
        cache.make_latents(
            [picture for picture in pictures if cache.latent_path(picture) in stale],
            keys,
            autoencoder=load_autoencoder(setup.options.ae, device=setup.device),
            batch_size=setup.options.vae_batch_size,
            progress=_progress("cache_latents", "pictures", report, stop),
        )


def _fill_texts(setup: Setup, digests: DigestCache, report: Reporter, stop: StopRequest) -> list[PromptConditioning]:
    report.phase("cache_text")
    options, pictures = setup.options, setup.data.pictures
    masked = " masked" if options.apply_t5_attn_mask else ""  # T5 does not look at the padding then
    precision = f" {setup.dtype}"
    keys = cache.text_keys(
        pictures,
        clip_digest=_digest(options.clip_l, digests) + _tokenizer_digest(setup, CLIP_TOKENIZER, digests) + precision,
        t5_digest=_digest(options.t5xxl, digests)
        + _tokenizer_digest(setup, T5_TOKENIZER, digests)
        + precision
        + masked,
        max_tokens=setup.t5_tokens,
    )
    stale = cache.stale(keys)
    report.say(f"captions of {count(len(keys), 'picture')}: {len(keys) - len(stale)} from their caches")
    if not stale and not setup.prompts:
        return []
    encoders = load_text_encoders(
        clip_l=options.clip_l,
        t5xxl=options.t5xxl,
        max_tokens=setup.t5_tokens,
        tokenizer_cache_dir=options.tokenizer_cache_dir,
        dtype=setup.dtype,
        device=setup.device,
    )
    stop.check()
    cache.make_texts(
        [picture for picture in pictures if cache.text_path(picture) in stale],
        keys,
        encode=lambda captions: encoders.encode(captions, apply_t5_attn_mask=options.apply_t5_attn_mask),
        apply_t5_attn_mask=options.apply_t5_attn_mask,
        batch_size=options.text_encoder_batch_size or setup.data.sets[0].config.batch_size,
        progress=_progress("cache_text", "captions", report, stop),
    )
    return [_condition(setup, encoders, index) for index in range(len(setup.prompts))]


def _condition(setup: Setup, encoders: TextEncoders, index: int) -> PromptConditioning:
    prompt = setup.prompts[index]
    masked = setup.options.apply_t5_attn_mask

    def encode(text: str) -> Conditioning:
        encoded: dict[str, Tensor] = encoders.encode([text], apply_t5_attn_mask=masked)
        return Conditioning(
            t5_out=encoded["t5_out"],
            txt_ids=encoded["txt_ids"],
            l_pooled=encoded["l_pooled"],
            t5_attn_mask=encoded["t5_attn_mask"] if masked else None,
        )

    return encode(prompt.text), None if prompt.cfg_scale == 1 else encode(prompt.negative or "")


def _progress(phase: Phase, unit: str, report: Reporter, stop: StopRequest) -> Callable[[int, int], None]:
    def told(done: int, total: int) -> None:
        report.progress(phase, done, total, unit)
        stop.check()

    return told


def _digest(path: Path, digests: DigestCache) -> str:
    """The digest of a model file, with that of the JSON file beside it that tells what no tensor's shape can."""
    sidecar = path.with_suffix(".json")
    return digests.digest(path) + (digests.digest(sidecar) if sidecar.is_file() else "")


def _tokenizer_digest(setup: Setup, name: str, digests: DigestCache) -> str:
    """The digest of a tokenizer's files in `tokenizer_cache_dir`; the hub's own never change."""
    if setup.options.tokenizer_cache_dir is None:
        return ""
    folder = tokenizer_folder(setup.options.tokenizer_cache_dir, name)
    files = sorted(path for path in folder.glob("*") if path.is_file())
    return hashlib.sha256("".join(path.name + digests.digest(path) for path in files).encode()).hexdigest()
