"""Token counts: the very numbers that the trainer's own tokenizers give, by each kind of file they come in."""

import json
import shutil
import sys
from pathlib import Path

import pytest

from fluxgym_tui.config.resources import bundled
from fluxgym_tui.dataset.tokens import CLIP_TOKENIZER, T5_TOKENIZER, TokenCounts, count_tokens
from fluxgym_tui.trainer.text import CLIP_TOKENIZER as TRAINER_CLIP
from fluxgym_tui.trainer.text import T5_TOKENIZER as TRAINER_T5

TINY = bundled("examples/tiny-flux/tokenizers")
CAPTIONS = (
    "",
    "tinyfoto, a photo of an orange dahlia",
    "Don't STOP 12345 ... !!",
    "café at night,\t日本語 🙂  twice   spaced",
    "a <|endoftext|> in it",
    "word " * 300,
)


@pytest.fixture(autouse=True)
def no_hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The user's own Hugging Face cache must not decide these tests."""
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path / "hub"))
    monkeypatch.setattr("fluxgym_tui.dataset.tokens._found", {})


def trainers(name: str, kind: str) -> list[int]:
    """How many tokens the trainer makes of each caption."""
    import transformers

    tokenizer = getattr(transformers, kind).from_pretrained(str(TINY / name.replace("/", "_")))
    return [len(tokenizer(text, truncation=False, verbose=False).input_ids) for text in CAPTIONS]


def test_the_names_are_the_trainers() -> None:
    assert (CLIP_TOKENIZER, T5_TOKENIZER) == (TRAINER_CLIP, TRAINER_T5)


def test_counts_are_the_trainers() -> None:
    counted = [count_tokens(text, cache_dir=TINY) for text in CAPTIONS]
    assert [one.clip for one in counted] == trainers(CLIP_TOKENIZER, "CLIPTokenizerFast")
    assert [one.t5 for one in counted] == trainers(T5_TOKENIZER, "T5TokenizerFast")


def test_clip_as_sd_scripts_saves_it_counts_the_same(tmp_path: Path) -> None:
    folder = tmp_path / "openai_clip-vit-large-patch14"
    shutil.copytree(TINY / folder.name, folder)
    (folder / "tokenizer.json").unlink()
    counted = [count_tokens(text, cache_dir=tmp_path).clip for text in CAPTIONS]
    assert counted == trainers(CLIP_TOKENIZER, "CLIPTokenizerFast")


def test_t5_as_the_hub_has_it_is_counted_by_its_pieces(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from sentencepiece import SentencePieceProcessor, SentencePieceTrainer

    snapshot = tmp_path / "hub/models--google--t5-v1_1-xxl/snapshots/abc"
    snapshot.mkdir(parents=True)
    (snapshot.parents[1] / "refs").mkdir()
    (snapshot.parents[1] / "refs/main").write_text("abc", encoding="utf-8")
    words = (f"a photo of {thing} in the rain" for thing in ("cats", "dogs", "boats", "trees", "people") * 20)
    SentencePieceTrainer.train(
        sentence_iterator=words, model_prefix=str(snapshot / "spiece"), vocab_size=40, hard_vocab_limit=False,
        minloglevel=2, num_threads=1,
    )  # fmt: skip
    text = "a photo of boats"
    expected = len(SentencePieceProcessor(model_file=str(snapshot / "spiece.model")).encode(text)) + 1
    assert count_tokens(text, cache_dir=None).t5 == expected


def test_what_is_not_here_or_broken_is_not_counted(tmp_path: Path) -> None:
    assert count_tokens("a tree", cache_dir=tmp_path / "nothing").clip is None
    folder = tmp_path / "openai_clip-vit-large-patch14"
    folder.mkdir()
    for content in ("", "no json", json.dumps([1]), json.dumps({"version": "1.0"})):
        (folder / "tokenizer.json").write_text(content, encoding="utf-8")
        assert count_tokens("a tree", cache_dir=tmp_path).clip is None
    shutil.copy(TINY / folder.name / "tokenizer.json", folder)
    assert count_tokens("a tree", cache_dir=tmp_path).clip is not None, "what came since is found"


def test_without_what_training_installs_nothing_is_counted(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("tokenizers", "sentencepiece"):
        monkeypatch.setitem(sys.modules, name, None)
    assert count_tokens("a tree", cache_dir=TINY) == TokenCounts("a tree", clip=None, t5=None)
