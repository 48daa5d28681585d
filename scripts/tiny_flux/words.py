"""The tiny vocabularies: CLIP's and T5's tokenizers, trained on the captions of drawings."""

import json
import math
import random
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, trainers

from tiny_flux.drawings import SIZES_PX, draw

# Words of captions of photographs, which no drawing teaches; as one token each they keep captions short.
PHOTO_WORDS = (Path(__file__).parent / "photo_words.txt").read_text(encoding="utf-8").split()
LETTERS = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789.,;:!?'\"()-_/&%+#@*=<>[]"
START, END = "<|startoftext|>", "<|endoftext|>"
PAD, EOS, UNKNOWN = "<pad>", "</s>", "<unk>"


def captions(count: int, *, seed: int) -> list[str]:
    """Captions of `count` drawings."""
    rng = random.Random(seed)
    return [draw(rng, size_px=rng.choice(SIZES_PX)).caption for _ in range(count)]


def save_clip_tokenizer(folder: Path, texts: Sequence[str]) -> int:
    """Byte-pair tokenizer in CLIP's own form; the number of its tokens, of which the last is the end token."""
    from transformers import CLIPTokenizer

    trained = Tokenizer(models.BPE(end_of_word_suffix="</w>", unk_token=END))
    trained.normalizer = normalizers.Lowercase()
    trained.pre_tokenizer = pre_tokenizers.Whitespace()
    trainer = trainers.BpeTrainer(vocab_size=1200, end_of_word_suffix="</w>", show_progress=False, min_frequency=2)
    trained.train_from_iterator([*texts, *(word for word in PHOTO_WORDS for _ in range(3))], trainer)
    merges = [tuple(pair) for pair in json.loads(trained.to_str())["model"]["merges"]]
    # any byte must be sayable, inside a word and at its end, as in CLIP's own vocabulary
    letters = sorted(pre_tokenizers.ByteLevel.alphabet())
    pieces = [*letters, *(f"{letter}</w>" for letter in letters), *("".join(pair) for pair in merges), START, END]
    vocabulary = {piece: index for index, piece in enumerate(dict.fromkeys(pieces))}
    tokenizer = CLIPTokenizer(
        vocab=vocabulary,
        merges=merges,
        bos_token=START,
        eos_token=END,
        unk_token=END,
        pad_token=END,
        model_max_length=77,
    )
    folder.mkdir(parents=True, exist_ok=True)
    tokenizer.save_pretrained(str(folder))
    # the older pair of files, which slow tokenizers read
    (folder / "vocab.json").write_text(json.dumps(vocabulary, ensure_ascii=False), encoding="utf-8")
    lines = ["#version: 0.2", *(" ".join(pair) for pair in merges)]
    (folder / "merges.txt").write_text("\n".join(lines) + "\n", encoding="utf-8")
    return len(vocabulary)


def save_t5_tokenizer(folder: Path, texts: Sequence[str]) -> int:
    """Unigram tokenizer in T5's own form: whole words by their frequency, letters for the rest; how many tokens."""
    from transformers import T5Tokenizer

    counts = Counter(word for text in texts for word in text.split())
    counts.update(PHOTO_WORDS)
    total = sum(counts.values())
    words = [(f"\N{LOWER ONE EIGHTH BLOCK}{word}", math.log(count / total)) for word, count in counts.most_common()]
    unlikely = math.log(0.1 / total)
    letters = [(letter, unlikely) for letter in ["\N{LOWER ONE EIGHTH BLOCK}", *LETTERS]]
    pieces = [(PAD, 0.0), (EOS, 0.0), (UNKNOWN, 0.0), *words, *letters]
    tokenizer = T5Tokenizer(vocab=pieces, eos_token=EOS, unk_token=UNKNOWN, pad_token=PAD, extra_ids=0)
    folder.mkdir(parents=True, exist_ok=True)
    tokenizer.save_pretrained(str(folder))
    return len(pieces)
