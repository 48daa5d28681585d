"""Captions are encoded as sd-scripts encodes them, from kohya-style single files."""

import json
import shutil
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from fluxgym_tui.base.errors import FluxgymError
from fluxgym_tui.config.resources import bundled
from fluxgym_tui.trainer.text import (
    CLIP_TOKENIZER,
    T5_TOKENIZER,
    TextEncoders,
    load_text_encoders,
    tokenizer_folder,
)
from tests.trainer.parity import PARITY, relative, vectors

pytestmark = pytest.mark.usefixtures("one_thread")
TOKENIZERS = bundled("examples/tiny-flux") / "tokenizers"


@pytest.fixture(scope="module")
def clip_path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The reference's CLIP, whose two heads are narrower than CLIP's own."""
    path = tmp_path_factory.mktemp("clip") / "clip_l.safetensors"
    shutil.copyfile(PARITY / "clip_l.safetensors", path)
    path.with_suffix(".json").write_text(json.dumps({"num_attention_heads": 2}), encoding="utf-8")
    return path


@pytest.fixture(scope="module")
def reference(clip_path: Path) -> TextEncoders:
    return load_text_encoders(
        clip_l=clip_path, t5xxl=PARITY / "t5_tiny.safetensors", max_tokens=24, tokenizer_cache_dir=TOKENIZERS
    )


def test_the_pooled_output_is_the_reference(reference: TextEncoders) -> None:
    with torch.no_grad():
        pooled = reference.encode_clip(vectors("ae_te")["clip_ids"])
    assert relative(pooled, vectors("ae_te")["clip_pooled"]) < 1e-5


def test_t5_is_the_reference_with_and_without_a_mask(reference: TextEncoders) -> None:
    data = vectors("ae_te")
    with torch.no_grad():
        plain = reference.encode_t5(data["t5_ids"], mask=None)
        masked = reference.encode_t5(data["t5_ids"], mask=data["t5_mask"])
    assert relative(plain, data["t5_out_nomask"]) < 1e-5
    assert relative(masked, data["t5_out_mask"]) < 1e-5
    assert relative(plain, masked) > 1e-3, "the mask must change something"


def test_encode_gives_what_the_caches_hold(reference: TextEncoders) -> None:
    encoded = reference.encode(["a red circle", "a blue boat on the sea under a grey sky"])
    assert {name: tuple(tensor.shape) for name, tensor in encoded.items()} == {
        "l_pooled": (2, 32),
        "t5_out": (2, 24, 48),
        "txt_ids": (2, 24, 3),
        "t5_attn_mask": (2, 24),
    }
    assert encoded["t5_attn_mask"].dtype == torch.int64
    counts = encoded["t5_attn_mask"].sum(1).tolist()
    assert counts == [4, 11]  # words and the end
    assert not encoded["txt_ids"].any()
    masked = reference.encode(["a red circle"], apply_t5_attn_mask=True)
    assert not torch.allclose(masked["t5_out"][0], encoded["t5_out"][0])


def test_the_end_token_of_a_sidecar_is_where_clip_pools(reference: TextEncoders, clip_path: Path) -> None:
    ids = vectors("ae_te")["clip_ids"].clone()
    other = int(ids[0, 3])
    sidecar = clip_path.with_suffix(".json")
    before = sidecar.read_text(encoding="utf-8")
    sidecar.write_text(json.dumps({"num_attention_heads": 2, "eos_token_id": other}), encoding="utf-8")
    named = load_text_encoders(
        clip_l=clip_path, t5xxl=PARITY / "t5_tiny.safetensors", max_tokens=24, tokenizer_cache_dir=TOKENIZERS
    )
    sidecar.write_text(before, encoding="utf-8")
    with torch.no_grad():
        states = named.clip(input_ids=ids[:1]).last_hidden_state
        assert torch.equal(named.encode_clip(ids[:1])[0], states[0, (ids[0] == other).int().argmax()])
        assert not torch.equal(named.encode_clip(ids[:1]), reference.encode_clip(ids[:1]))


def test_long_captions_are_cut(reference: TextEncoders) -> None:
    clip_ids, t5_ids, mask = reference.tokenize(["a red circle on a blue background " * 40])
    assert clip_ids.shape == (1, 77)
    assert t5_ids.shape == (1, 24)
    assert mask.all()


def test_t5_comes_under_either_name_of_its_embedding(tmp_path: Path, clip_path: Path, reference: TextEncoders) -> None:
    tensors = load_file(PARITY / "t5_tiny.safetensors")
    tensors.pop("shared.weight")
    save_file(tensors, tmp_path / "t5.safetensors")
    other = load_text_encoders(
        clip_l=clip_path, t5xxl=tmp_path / "t5.safetensors", max_tokens=24, tokenizer_cache_dir=TOKENIZERS
    )
    assert torch.equal(other.encode(["a cat"])["t5_out"], reference.encode(["a cat"])["t5_out"])


def test_swapped_and_broken_files_are_refused(tmp_path: Path, clip_path: Path) -> None:
    t5_path = PARITY / "t5_tiny.safetensors"
    with pytest.raises(FluxgymError, match="not a CLIP-L text encoder"):
        load_text_encoders(clip_l=t5_path, t5xxl=t5_path, tokenizer_cache_dir=TOKENIZERS)
    with pytest.raises(FluxgymError, match=r"not a T5 v1\.1 encoder"):
        load_text_encoders(clip_l=clip_path, t5xxl=clip_path, tokenizer_cache_dir=TOKENIZERS)
    with pytest.raises(FluxgymError, match="cannot be read"):
        load_text_encoders(clip_l=tmp_path / "none.safetensors", t5xxl=t5_path, tokenizer_cache_dir=TOKENIZERS)
    tensors = load_file(t5_path)
    tensors.pop("encoder.final_layer_norm.weight")
    save_file(tensors, tmp_path / "t5.safetensors")
    with pytest.raises(FluxgymError, match="1 tensors are missing"):
        load_text_encoders(clip_l=clip_path, t5xxl=tmp_path / "t5.safetensors", tokenizer_cache_dir=TOKENIZERS)


def test_a_tokenizer_that_cannot_be_had_is_said(
    tmp_path: Path, clip_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path / "hub"))
    with pytest.raises(FluxgymError, match="openai/clip-vit-large-patch14 from the Hugging Face hub") as raised:
        load_text_encoders(
            clip_l=clip_path, t5xxl=PARITY / "t5_tiny.safetensors", tokenizer_cache_dir=tmp_path / "none"
        )
    assert "openai_clip-vit-large-patch14" in str(raised.value.hint)


def test_a_tokenizer_from_the_hub_is_kept(tmp_path: Path, clip_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked = []

    def fake_hub(name: str, *, allow_patterns: list[str]) -> str:
        asked.append(name)
        assert {"spiece.model", "merges.txt"} <= set(allow_patterns)
        return str(tokenizer_folder(TOKENIZERS, name))

    monkeypatch.setattr("huggingface_hub.snapshot_download", fake_hub)
    for _ in range(2):
        encoders = load_text_encoders(
            clip_l=clip_path, t5xxl=PARITY / "t5_tiny.safetensors", max_tokens=24, tokenizer_cache_dir=tmp_path
        )
        assert encoders.tokenize(["a red circle"])[2].sum() == 4
    assert asked == [CLIP_TOKENIZER, T5_TOKENIZER], "the second time they lie in the folder"
    for name in asked:
        published, kept = tokenizer_folder(TOKENIZERS, name), tokenizer_folder(tmp_path, name)
        assert {path.name: path.read_bytes() for path in kept.iterdir()} == {
            path.name: path.read_bytes() for path in published.iterdir()
        }, "as published"


def test_a_tokenizer_of_another_model_is_refused(tmp_path: Path, clip_path: Path) -> None:
    tensors = load_file(clip_path)
    key = "text_model.embeddings.token_embedding.weight"
    save_file(tensors | {key: tensors[key][:500].clone()}, tmp_path / "clip_l.safetensors")
    with pytest.raises(FluxgymError, match="knows 500 tokens"):
        load_text_encoders(
            clip_l=tmp_path / "clip_l.safetensors",
            t5xxl=PARITY / "t5_tiny.safetensors",
            tokenizer_cache_dir=TOKENIZERS,
        )


def test_the_tokenizers_folders_are_sd_scripts_own(tmp_path: Path) -> None:
    assert tokenizer_folder(tmp_path, CLIP_TOKENIZER).name == "openai_clip-vit-large-patch14"
    assert tokenizer_folder(tmp_path, T5_TOKENIZER).name == "google_t5-v1_1-xxl"
