"""CLIP-L and T5: captions to what FLUX reads, as sd-scripts' caches hold it."""

# Shapes: B captions, T T5 tokens.

import json
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor, nn

from fluxgym_tui.base.errors import ExitCode, FluxgymError
from fluxgym_tui.trainer.t5 import count_layers, load_t5

CLIP_TOKENS = 77
CLIP_HEAD_DIM = 64
CLIP_TOKENIZER = "openai/clip-vit-large-patch14"
T5_TOKENIZER = "google/t5-v1_1-xxl"
VOCABULARY_FILES = ("tokenizer.json", "vocab.json", "spiece.model")  # one of them is in every tokenizer's folder
_TOKENIZER_FILES = (*VOCABULARY_FILES, "merges.txt", "tokenizer_config.json", "special_tokens_map.json")
CLIP_HINT = "Use clip_l.safetensors of comfyanonymous/flux_text_encoders."


@dataclass(frozen=True, kw_only=True)
class ClipEncoder:
    """CLIP-L with its tokenizer; `eos_token_id` where the model's file is accompanied by one."""

    model: nn.Module
    tokenizer: Any
    eos_token_id: int | None = None

    def pool(self, captions: Sequence[str]) -> Tensor:
        """CLIP's state at the end of each caption, (B, vec)."""
        ids = _tokenize(self.tokenizer, captions, length=CLIP_TOKENS)["input_ids"]
        return self.pool_ids(ids.to(next(self.model.parameters()).device))

    def pool_ids(self, ids: Tensor) -> Tensor:
        """CLIP's state at the end token, (B, 77) -> (B, vec).

        The end token is `eos_token_id` where given, else the highest id of each row, as CLIP's own vocabulary has it.
        """
        states: Tensor = self.model(input_ids=ids).last_hidden_state
        ends = ids.argmax(-1) if self.eos_token_id is None else (ids == self.eos_token_id).int().argmax(-1)
        return states[torch.arange(len(ids), device=ids.device), ends]


@dataclass(frozen=True, kw_only=True)
class TextEncoders:
    """Both encoders with their tokenizers; `max_tokens` is T5's length T (512 for dev, 256 for schnell)."""

    clip: nn.Module
    t5: nn.Module
    clip_tokenizer: Any
    t5_tokenizer: Any
    max_tokens: int
    eos_token_id: int | None = None

    @property
    def clip_encoder(self) -> ClipEncoder:
        """CLIP-L alone."""
        return ClipEncoder(model=self.clip, tokenizer=self.clip_tokenizer, eos_token_id=self.eos_token_id)

    @torch.no_grad()
    def encode(self, captions: Sequence[str], *, apply_t5_attn_mask: bool = False) -> dict[str, Tensor]:
        """l_pooled (B, vec), t5_out (B, T, context), txt_ids (B, T, 3) of zeros, t5_attn_mask (B, T) int64.

        With `apply_t5_attn_mask` T5 itself does not look at the padding either, as in sd-scripts.
        """
        device = next(self.clip.parameters()).device
        clip_ids, t5_ids, mask = (ids.to(device) for ids in self.tokenize(captions))
        t5_out = self.encode_t5(t5_ids, mask=mask if apply_t5_attn_mask else None)
        return {
            "l_pooled": self.encode_clip(clip_ids),
            "t5_out": t5_out,
            "txt_ids": torch.zeros(*t5_ids.shape, 3, device=device),
            "t5_attn_mask": mask,
        }

    def tokenize(self, captions: Sequence[str]) -> tuple[Tensor, Tensor, Tensor]:
        """CLIP's ids (B, 77), T5's ids (B, T) and T5's mask (B, T), padded and cut, all int64."""
        clip = _tokenize(self.clip_tokenizer, captions, length=CLIP_TOKENS)
        t5 = _tokenize(self.t5_tokenizer, captions, length=self.max_tokens)
        return clip["input_ids"], t5["input_ids"], t5["attention_mask"]

    def encode_clip(self, ids: Tensor) -> Tensor:
        """CLIP's state at the end token, (B, 77) -> (B, vec)."""
        return self.clip_encoder.pool_ids(ids)

    def encode_t5(self, ids: Tensor, *, mask: Tensor | None) -> Tensor:
        """T5's last states, (B, T) -> (B, T, context); with `mask` (B, T) padding is not attended to."""
        out: Tensor = self.t5(input_ids=ids, attention_mask=mask).last_hidden_state
        return out


def load_clip_encoder(
    path: Path, *, tokenizer_cache_dir: Path | None = None, dtype: torch.dtype, device: torch.device | str
) -> ClipEncoder:
    """CLIP-L alone, frozen, as `load_text_encoders` loads it."""
    model, eos_token_id = _load_clip(path, dtype=dtype, device=device)
    tokenizer = _load_tokenizer("CLIPTokenizerFast", CLIP_TOKENIZER, tokenizer_cache_dir)
    _check_vocabulary(tokenizer, model, path=path)
    return ClipEncoder(model=model, tokenizer=tokenizer, eos_token_id=eos_token_id)


def load_text_encoders(
    *,
    clip_l: Path,
    t5xxl: Path,
    max_tokens: int = 512,
    tokenizer_cache_dir: Path | None = None,
    dtype: torch.dtype = torch.float32,
    device: torch.device | str = "cpu",
    t5_elsewhere: bool = False,
) -> TextEncoders:
    """Both encoders, frozen, from kohya-style single files; tokenizers from `tokenizer_cache_dir`, else from the hub.

    `t5_elsewhere`: T5's layers lie in the CPU's memory and come to `device` one by one, as `load_t5` has it.
    A tokenizer that is not in `tokenizer_cache_dir` yet is put there. FluxgymError on files that are missing or of
    another kind, and where a tokenizer is neither on disk nor to be had.
    """
    clip = load_clip_encoder(Path(clip_l), tokenizer_cache_dir=tokenizer_cache_dir, dtype=dtype, device=device)
    t5 = load_t5(Path(t5xxl), dtype=dtype, device=torch.device(device), elsewhere=t5_elsewhere)
    t5_tokenizer = _load_tokenizer("T5TokenizerFast", T5_TOKENIZER, tokenizer_cache_dir)
    _check_vocabulary(t5_tokenizer, t5, path=Path(t5xxl))
    return TextEncoders(
        clip=clip.model,
        t5=t5,
        clip_tokenizer=clip.tokenizer,
        t5_tokenizer=t5_tokenizer,
        max_tokens=max_tokens,
        eos_token_id=clip.eos_token_id,
    )


def tokenizer_folder(cache_dir: Path, name: str) -> Path:
    """Where sd-scripts' --tokenizer_cache_dir keeps the tokenizer of that hub name."""
    return cache_dir / name.replace("/", "_")


def build_clip(tensors: Mapping[str, Tensor], *, num_attention_heads: int | None = None) -> nn.Module:
    """An empty CLIP text model, on the meta device, of the sizes that `tensors` show; KeyError where one is missing.

    Heads are in no shape: 64 channels each, as in CLIP-L, unless `num_attention_heads` is given.
    """
    from transformers import CLIPTextConfig, CLIPTextModel  # takes seconds: only where captions are encoded

    vocabulary, width = tensors["text_model.embeddings.token_embedding.weight"].shape
    config = CLIPTextConfig(
        vocab_size=vocabulary,
        hidden_size=width,
        intermediate_size=tensors["text_model.encoder.layers.0.mlp.fc1.weight"].shape[0],
        num_hidden_layers=count_layers(tensors, "text_model.encoder.layers.{}.layer_norm1.weight"),
        num_attention_heads=num_attention_heads or max(1, width // CLIP_HEAD_DIM),
        max_position_embeddings=tensors["text_model.embeddings.position_embedding.weight"].shape[0],
        # OpenAI's CLIP-L has quick_gelu; sd-scripts runs FLUX's with gelu, about 1% apart, and LoRAs are trained so
        hidden_act="gelu",
        layer_norm_eps=1e-5,
        # the vocabulary's own ids do not matter here: `encode_clip` finds the end token itself
        bos_token_id=0,
        eos_token_id=2,
        pad_token_id=1,
    )
    with torch.device("meta"):
        return CLIPTextModel(config)


def _load_clip(path: Path, *, dtype: torch.dtype, device: torch.device | str) -> tuple[nn.Module, int | None]:
    """The CLIP text model and its end token's id, where the JSON file beside it names one."""
    tensors, facts = _read(path, kind="CLIP-L text encoder", hint=CLIP_HINT), _sidecar(path)
    try:
        model = build_clip(tensors, num_attention_heads=facts.get("num_attention_heads"))
    except KeyError as error:
        raise FluxgymError(f"{path} is not a CLIP-L text encoder: no tensor {error}.", hint=CLIP_HINT) from error
    # transformers 5 dropped the outer `text_model.` of CLIP's own files; both spellings are one model
    expected = model.state_dict().keys()
    if not any(key.startswith("text_model.") for key in expected):
        tensors = {key.removeprefix("text_model."): tensor for key, tensor in tensors.items()}
    _fill(model, tensors, path=path, dtype=dtype, device=device, hint=CLIP_HINT)
    for module in model.modules():
        if isinstance(ids := getattr(module, "position_ids", None), Tensor):  # the one buffer that is in no file
            module.register_buffer("position_ids", torch.arange(ids.shape[-1], device=device)[None], persistent=False)
    return model, facts.get("eos_token_id")


def _fill(
    model: nn.Module,
    tensors: Mapping[str, Tensor],
    *,
    path: Path,
    dtype: torch.dtype,
    device: torch.device | str,
    hint: str,
) -> None:
    """Puts the weights in place, cast one by one; what the file holds beyond the model is left out."""
    expected = model.state_dict().keys()
    if missing := sorted(expected - tensors.keys()):
        raise FluxgymError(f"{path} is not whole: {len(missing)} tensors are missing, {missing[0]} first.", hint=hint)
    state = {key: tensors[key].to(device).to(dtype).contiguous() for key in expected}
    try:
        model.load_state_dict(state, assign=True)
    except RuntimeError as error:
        raise FluxgymError(f"{path} has tensors of other shapes than its sizes say: {error}", hint=hint) from error
    model.eval().requires_grad_(False)


def _read(path: Path, *, kind: str, hint: str) -> dict[str, Tensor]:
    try:
        return load_file(path)
    except (OSError, SafetensorError) as error:
        raise FluxgymError(f"The {kind} {path} cannot be read: {error}", hint=hint) from error


def _sidecar(path: Path) -> dict[str, int]:
    """What the JSON file of the same stem says that no tensor's shape can: num_attention_heads, eos_token_id."""
    sidecar = path.with_suffix(".json")
    if not sidecar.is_file():
        return {}
    try:
        facts = json.loads(sidecar.read_text(encoding="utf-8"))
        return {key: int(facts[key]) for key in ("num_attention_heads", "eos_token_id") if key in facts}
    except (ValueError, TypeError) as error:
        raise FluxgymError(
            f"{sidecar} does not describe a text encoder: {error}",
            hint='It should hold an object such as {"num_attention_heads": 2}; remove it for CLIP-L itself.',
        ) from error


def _load_tokenizer(kind: str, name: str, cache_dir: Path | None) -> Any:
    """The tokenizer of that transformers class, from sd-scripts' folder for it or from the hub."""
    import transformers  # takes seconds: only where captions are encoded

    folder = tokenizer_folder(Path(cache_dir), name) if cache_dir is not None else None
    kept = folder is not None and any((folder / file).is_file() for file in VOCABULARY_FILES)
    try:
        # transformers makes an empty tokenizer, without a word, where it finds no files: so they are fetched first
        source = str(folder) if kept else _fetch_tokenizer(name)
        tokenizer = getattr(transformers, kind).from_pretrained(source)
    except (OSError, ValueError) as error:
        where = f"from {folder}" if kept else f"{name} from the Hugging Face hub"
        raise FluxgymError(
            f"A tokenizer cannot be loaded {where}: {str(error).strip().splitlines()[0]}",
            hint=f"Go online once, or give --tokenizer_cache_dir a folder that has {name.replace('/', '_')}/ in it.",
            code=ExitCode.FAILED,
        ) from error
    if folder is not None and not kept:
        _keep_as_published(Path(source), folder)
    return tokenizer


def _keep_as_published(source: Path, folder: Path) -> None:
    """Copy a tokenizer's files: what transformers would write of it, another version of it may read otherwise."""
    folder.mkdir(parents=True, exist_ok=True)
    for name in _TOKENIZER_FILES:
        if (source / name).is_file():
            shutil.copyfile(source / name, folder / name)


def _fetch_tokenizer(name: str) -> str:
    """The folder of a hub repository's tokenizer files, downloaded where they are not there yet; OSError offline."""
    from huggingface_hub import snapshot_download  # slow to import, and not needed where the files are kept

    return snapshot_download(name, allow_patterns=list(_TOKENIZER_FILES))


def _check_vocabulary(tokenizer: Any, encoder: nn.Module, *, path: Path) -> None:
    """FluxgymError where the tokenizer has more tokens than the encoder in `path` knows."""
    known = next(module.num_embeddings for module in encoder.modules() if isinstance(module, nn.Embedding))
    if len(tokenizer) > known:
        raise FluxgymError(
            f"{path} knows {known} tokens, and its tokenizer has {len(tokenizer)}: they do not belong together.",
            hint="Give --tokenizer_cache_dir the folder of this encoder's own tokenizers, or leave it out for FLUX's.",
        )


def _tokenize(tokenizer: Any, captions: Sequence[str], *, length: int) -> Mapping[str, Tensor]:
    """input_ids and attention_mask, each (B, length), padded and cut."""
    tokens: Mapping[str, Tensor] = tokenizer(
        list(captions), max_length=length, padding="max_length", truncation=True, return_tensors="pt"
    )
    return tokens
