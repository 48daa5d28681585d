"""Exact token counts of captions, by the same tokenizer files that the trainer reads; needs what training installs."""

import json
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

CLIP_TOKENIZER: Final = "openai/clip-vit-large-patch14"
T5_TOKENIZER: Final = "google/t5-v1_1-xxl"

Counter = Callable[[str], int]


@dataclass(frozen=True, slots=True)
class TokenCounters:
    """How many tokens a caption is, begin and end marks included; None for a tokenizer that is not here."""

    clip: Counter | None
    t5: Counter | None


@dataclass(frozen=True, slots=True)
class TokenCounts:
    """The tokens of `text` for CLIP and for T5; None where they cannot be counted exactly."""

    text: str
    clip: int | None
    t5: int | None


def count_tokens(text: str, *, cache_dir: Path | None) -> TokenCounts:
    """The tokens of a caption. The first call imports and reads files, which takes a second: call it in a thread.

    `cache_dir` is a folder as sd-scripts' --tokenizer_cache_dir takes it; what is not in it is looked for where the
    trainer would find it, in Hugging Face's own cache. Nothing is downloaded.
    """
    counters = load_counters(cache_dir)
    return TokenCounts(
        text,
        clip=None if counters.clip is None else counters.clip(text),
        t5=None if counters.t5 is None else counters.t5(text),
    )


def load_counters(cache_dir: Path | None) -> TokenCounters:
    """The counters for the tokenizers in `cache_dir`, else in Hugging Face's cache."""
    return TokenCounters(
        _first(CLIP_TOKENIZER, cache_dir, (_fast_counter, _clip_by_vocabulary)),
        _first(T5_TOKENIZER, cache_dir, (_fast_counter, _sentencepiece_counter)),
    )


# What was found, by name and the caller's folder. One that was not there may have come since: it is looked for anew.
_found: dict[tuple[str, Path | None], Counter] = {}


def _first(name: str, cache_dir: Path | None, kinds: tuple[Callable[[Path], Counter | None], ...]) -> Counter | None:
    """The tokenizer `name` as the first of its folders has it, in the first of `kinds` that it comes in."""
    if (name, cache_dir) not in _found:
        read = (kind(folder) for folder in _places(name, cache_dir) for kind in kinds)
        counter = next((one for one in read if one is not None), None)
        if counter is None:
            return None
        _found[name, cache_dir] = counter
    return _found[name, cache_dir]


def _places(name: str, cache_dir: Path | None) -> Iterable[Path]:
    """Folders that may hold the tokenizer `name`, the trainer's order."""
    if cache_dir is not None:
        yield cache_dir / name.replace("/", "_")
    yield from _hub_places(name)


def _hub_places(name: str) -> Iterable[Path]:
    from huggingface_hub import try_to_load_from_cache  # 0.2 s, and only where a caption is counted

    for file in ("tokenizer.json", "vocab.json", "spiece.model"):
        found = try_to_load_from_cache(name, file)
        if isinstance(found, str):
            yield Path(found).parent


def _fast_counter(folder: Path) -> Counter | None:
    """By tokenizer.json, which says all: the text's cleaning, the pieces, the marks around them."""
    file = folder / "tokenizer.json"
    try:
        text = file.read_text(encoding="utf-8")
        if "model" not in json.loads(text):
            return None
        from tokenizers import Tokenizer
    except (ImportError, OSError, ValueError, TypeError):
        return None
    return _counter_of(Tokenizer.from_str(text))


def _counter_of(tokenizer: Any) -> Counter:
    tokenizer.no_truncation()  # the file may hold the lengths of its last use
    tokenizer.no_padding()
    return lambda text: len(tokenizer.encode(text).ids)


def _clip_by_vocabulary(folder: Path) -> Counter | None:
    """By vocab.json and merges.txt, as sd-scripts' own CLIP tokenizer is saved."""
    vocabulary, merges = folder / "vocab.json", folder / "merges.txt"
    if not (vocabulary.is_file() and merges.is_file()):
        return None
    try:
        from tokenizers import Regex, Tokenizer, normalizers, pre_tokenizers
        from tokenizers.models import BPE

        pairs = [
            (words[0], words[1])
            for line in merges.read_text(encoding="utf-8").splitlines()
            if len(words := line.split()) == 2 and not line.startswith("#version")
        ]
        ids = {str(token): int(number) for token, number in json.loads(vocabulary.read_text(encoding="utf-8")).items()}
        model = BPE(vocab=ids, merges=pairs, end_of_word_suffix="</w>", unk_token="<|endoftext|>")
    except (ImportError, OSError, ValueError, AttributeError):
        return None
    tokenizer = Tokenizer(model)
    tokenizer.add_special_tokens(["<|startoftext|>", "<|endoftext|>"])
    tokenizer.normalizer = normalizers.Sequence(
        [normalizers.NFC(), normalizers.Replace(Regex(r"\s+"), " "), normalizers.Lowercase()]
    )
    # CLIP's words: English contractions, runs of letters, single digits, runs of signs (OpenAI's simple_tokenizer).
    word = r"<\|startoftext\|>|<\|endoftext\|>|'s|'t|'re|'ve|'m|'ll|'d|\p{L}+|\p{N}|[^\s\p{L}\p{N}]+"
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [
            pre_tokenizers.Split(Regex(word), behavior="removed", invert=True),
            pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False),
        ]
    )
    return lambda text: len(tokenizer.encode(text).ids) + 2


def _sentencepiece_counter(folder: Path) -> Counter | None:
    """By spiece.model, as the hub has T5's."""
    file = folder / "spiece.model"
    if not file.is_file():
        return None
    try:
        from sentencepiece import SentencePieceProcessor

        pieces = SentencePieceProcessor(model_file=str(file))
    except (ImportError, OSError, RuntimeError):
        return None
    return lambda text: len(pieces.encode(text)) + 1
