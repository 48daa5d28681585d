"""Makes the tiny base of the demo: `python scripts/make_tiny_flux.py OUT_DIR`, under half an hour on two free cores.

Everything is trained from nothing, on pictures drawn by `tiny_flux.drawings` and their captions alone:

1. an autoencoder in FLUX's layout, whose latents have FLUX's mean and spread;
2. tokenizers for CLIP and T5 with small vocabularies of their own;
3. a FLUX transformer together with a CLIP and a T5, by the trainer's own flow-matching step.

Seeds and the number of threads are fixed, so the same machine and library versions give the same files.
A stage whose files are there already is not made again; the transformer's are written anew every 1,000 steps.
"""

import argparse
import json
import time
from pathlib import Path

import torch
from safetensors.torch import save_file
from tiny_flux.autoencoding import GEOMETRY as AUTOENCODER_GEOMETRY
from tiny_flux.autoencoding import train_autoencoder
from tiny_flux.matching import GEOMETRY, encode_drawings, fresh_clip, fresh_t5, train_transformer
from tiny_flux.words import captions, save_clip_tokenizer, save_t5_tokenizer
from torch import Tensor, nn

from fluxgym_tui.trainer.autoencoder import load_autoencoder
from fluxgym_tui.trainer.flux import Flux
from fluxgym_tui.trainer.text import CLIP_TOKENIZER, T5_TOKENIZER, TextEncoders, tokenizer_folder

SEED = 20240801
AUTOENCODER_THREADS = 2
AUTOENCODER_STEPS = 3400
TRANSFORMER_THREADS = 1  # its tensors are so small that a second thread gains little
TRANSFORMER_STEPS = 4500
DRAWINGS = 5000
CAPTIONS = 6000
T5_TOKENS = 64


def save(path: Path, tensors: dict[str, Tensor], *, dtype: torch.dtype) -> None:
    """One safetensors file, in place at once."""
    temporary = path.with_suffix(".tmp")
    save_file({key: tensor.detach().to(dtype).contiguous() for key, tensor in tensors.items()}, temporary)
    temporary.chmod(0o644)  # safetensors writes for its owner alone
    temporary.replace(path)


def make_autoencoder(folder: Path) -> None:
    """`ae.safetensors` and, for what its tensors do not tell, `ae.json`."""
    torch.set_num_threads(AUTOENCODER_THREADS)
    model = train_autoencoder(steps=AUTOENCODER_STEPS, seed=SEED)
    facts = {"norm_groups": AUTOENCODER_GEOMETRY.norm_groups}
    (folder / "ae.json").write_text(json.dumps(facts) + "\n", encoding="utf-8")
    save(folder / "ae.safetensors", model.state_dict(), dtype=torch.bfloat16)


def make_transformer(folder: Path) -> None:
    """The tokenizers, `flux1-tiny.safetensors` with its axes in `flux1-tiny.json`, `clip_l` and `t5xxl`."""
    from transformers import CLIPTokenizer, T5Tokenizer

    torch.set_num_threads(TRANSFORMER_THREADS)
    said = captions(CAPTIONS, seed=SEED)
    clip_folder = tokenizer_folder(folder / "tokenizers", CLIP_TOKENIZER)
    t5_folder = tokenizer_folder(folder / "tokenizers", T5_TOKENIZER)
    clip_size, t5_size = save_clip_tokenizer(clip_folder, said), save_t5_tokenizer(t5_folder, said)
    torch.manual_seed(SEED)
    texts = TextEncoders(
        clip=fresh_clip(clip_size),
        t5=fresh_t5(t5_size),
        clip_tokenizer=CLIPTokenizer.from_pretrained(str(clip_folder)),
        t5_tokenizer=T5Tokenizer.from_pretrained(str(t5_folder)),
        max_tokens=T5_TOKENS,
    )
    model = Flux(GEOMETRY)
    autoencoder = load_autoencoder(folder / "ae.safetensors")
    shelves = encode_drawings(DRAWINGS, autoencoder=autoencoder, texts=texts, seed=SEED)
    everything = torch.cat([shelf.latents.flatten() for shelf in shelves])
    print(f"{DRAWINGS} drawings: latents' mean {everything.mean():.3f}, spread {everything.std():.3f}", flush=True)
    (folder / "flux1-tiny.json").write_text(json.dumps({"axes_dim": GEOMETRY.axes_dim}) + "\n", encoding="utf-8")

    def save_all() -> None:
        save(folder / "clip_l.safetensors", clip_tensors(texts.clip), dtype=torch.float16)
        save(folder / "t5xxl.safetensors", t5_tensors(texts.t5), dtype=torch.float16)
        save(folder / "flux1-tiny.safetensors", model.state_dict(), dtype=torch.bfloat16)

    train_transformer(model, texts, shelves, steps=TRANSFORMER_STEPS, seed=SEED, save=save_all)


def clip_tensors(clip: nn.Module) -> dict[str, Tensor]:
    """CLIP's tensors under the names of `clip_l.safetensors`."""
    return {f"text_model.{key.removeprefix('text_model.')}": tensor for key, tensor in clip.state_dict().items()}


def t5_tensors(t5: nn.Module) -> dict[str, Tensor]:
    """T5's tensors under the names of `t5xxl_fp16.safetensors`, the embedding once."""
    return {key: tensor for key, tensor in t5.state_dict().items() if key != "encoder.embed_tokens.weight"}


def main() -> None:
    """Makes what is missing in OUT_DIR."""
    parser = argparse.ArgumentParser(description="Make the tiny base of the demo from nothing but drawings.")
    parser.add_argument("out_dir", type=Path, help="folder for the model's files, as examples/tiny-flux")
    folder: Path = parser.parse_args().out_dir
    folder.mkdir(parents=True, exist_ok=True)
    started = time.monotonic()
    if not (folder / "ae.safetensors").exists():
        make_autoencoder(folder)
    if not (folder / "flux1-tiny.safetensors").exists():
        make_transformer(folder)
    print(f"done in {(time.monotonic() - started) / 60:.1f} minutes")


if __name__ == "__main__":
    main()
