"""The encoders' part of a training: stale caches are made anew, prompts encoded; then the encoders are gone."""

import gc
import hashlib
from collections.abc import Callable, Iterable
from pathlib import Path

import torch

from fluxgym_tui.base.errors import FluxgymError
from fluxgym_tui.base.events import Phase
from fluxgym_tui.base.prompts import SamplePrompt
from fluxgym_tui.base.text import count
from fluxgym_tui.dataset.caches import DigestCache, TextKey
from fluxgym_tui.trainer import cache
from fluxgym_tui.trainer.autoencoder import load_autoencoder
from fluxgym_tui.trainer.leftovers import remove_torn_caches
from fluxgym_tui.trainer.report import Reporter
from fluxgym_tui.trainer.sample import Conditioning
from fluxgym_tui.trainer.sampler import PromptConditioning
from fluxgym_tui.trainer.setup import Setup
from fluxgym_tui.trainer.stopping import StopRequest
from fluxgym_tui.trainer.text import CLIP_TOKENIZER, T5_TOKENIZER, load_text_encoders, tokenizer_folder


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
    pictures = setup.data.pictures + setup.data.kept_back
    remove_torn_caches({cache.latent_path(picture) for picture in pictures})
    keys = cache.latent_keys(pictures, vae_digest=_digest(setup.options.ae, digests), digests=digests)
    stale = cache.stale(keys)
    report.say(f"latents of {count(len(keys), 'picture')}: {len(keys) - len(stale)} cached")
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
    options = setup.options
    masked = " masked" if options.apply_t5_attn_mask else ""  # T5 does not look at the padding then
    clip_digest = _digest(options.clip_l, digests) + _tokenizer_digest(setup, CLIP_TOKENIZER, digests)
    t5_digest = _digest(options.t5xxl, digests) + _tokenizer_digest(setup, T5_TOKENIZER, digests)

    def key_of(caption: str) -> TextKey:
        return TextKey(
            caption=caption,
            clip_digest=f"{clip_digest} {setup.dtype}",
            t5_digest=f"{t5_digest} {setup.dtype}{masked}",
            max_tokens=setup.t5_tokens,
        )

    # Where they are not cached, the encoders that stay loaded encode them for each batch.
    pictures = setup.data.pictures + setup.data.kept_back
    captions = cache.text_keys(pictures, key_of=key_of) if options.cached_text else {}
    prompts = {_prompt_path(setup, text): key_of(text) for prompt in setup.prompts for text in _texts(prompt)}
    keys = captions | prompts
    remove_torn_caches(keys)
    stale = cache.stale(keys)
    if options.cached_text:
        ready = len(captions) - len(stale & captions.keys())
        report.say(f"captions of {count(len(captions), 'picture')}: {ready} cached")
    if stale:
        encoders = load_text_encoders(
            clip_l=options.clip_l,
            t5xxl=options.t5xxl,
            max_tokens=setup.t5_tokens,
            tokenizer_cache_dir=options.tokenizer_cache_dir,
            dtype=setup.dtype,
            device=setup.device,
            t5_elsewhere=bool(setup.blocks_to_swap),
        )
        stop.check()
        _make_folder(prompts)
        cache.make_texts(
            {path: key for path, key in keys.items() if path in stale},
            encode=lambda texts: encoders.encode(texts, apply_t5_attn_mask=options.apply_t5_attn_mask),
            apply_t5_attn_mask=options.apply_t5_attn_mask,
            batch_size=options.text_encoder_batch_size or setup.data.sets[0].config.batch_size,
            progress=_progress("cache_text", "captions", report, stop),
        )
    return [_condition(setup, prompt) for prompt in setup.prompts]


def _texts(prompt: SamplePrompt) -> tuple[str, ...]:
    """The texts that a sample is made from: its prompt, and the negative one where guidance needs both."""
    return (prompt.text,) if prompt.cfg_scale == 1 else (prompt.text, prompt.negative or "")


def _prompt_path(setup: Setup, text: str) -> Path:
    """Where a prompt's encoding is cached: beside the samples, so that a resume loads no encoder for it."""
    name = hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()[:16]
    return setup.options.output_dir / "sample" / ".prompts" / f"{name}_flux_te.npz"


def _make_folder(prompts: Iterable[Path]) -> None:
    for path in prompts:
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise FluxgymError(
                f"{path.parent}: the folder of the samples cannot be made: {error.strerror}",
                hint="Make room, or make the output folder writable.",
            ) from error


def _condition(setup: Setup, prompt: SamplePrompt) -> PromptConditioning:
    positive, *negative = (_read_conditioning(setup, text) for text in _texts(prompt))
    return positive, negative[0] if negative else None


def _read_conditioning(setup: Setup, text: str) -> Conditioning:
    encoded = {
        name: tensor[None].to(setup.device) for name, tensor in cache.read_text(_prompt_path(setup, text)).items()
    }
    return Conditioning(
        t5_out=encoded["t5_out"],
        txt_ids=encoded["txt_ids"],
        l_pooled=encoded["l_pooled"],
        t5_attn_mask=encoded["t5_attn_mask"] if setup.options.apply_t5_attn_mask else None,
    )


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
