"""The tokenizers that captions need: which files of which repositories, and whether they are here."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from fluxgym_tui.hub.places import cached_files


@dataclass(frozen=True, slots=True)
class Tokenizer:
    """A tokenizer's repository and its files, as they are published; one of `vocabulary` is in every usable folder."""

    repo: str
    files: tuple[str, ...]
    vocabulary: tuple[str, ...]

    def folder(self, home: Path) -> Path:
        """Where sd-scripts' --tokenizer_cache_dir `home` keeps it."""
        return home / self.repo.replace("/", "_")


TOKENIZERS = (
    Tokenizer(
        "openai/clip-vit-large-patch14",
        ("merges.txt", "special_tokens_map.json", "tokenizer.json", "tokenizer_config.json", "vocab.json"),
        ("tokenizer.json", "vocab.json"),
    ),
    Tokenizer(
        "google/t5-v1_1-xxl",
        ("special_tokens_map.json", "spiece.model", "tokenizer_config.json"),
        ("tokenizer.json", "spiece.model"),
    ),
)


def tokenizers_missing(home: Path, *, env: Mapping[str, str] | None = None) -> tuple[Tokenizer, ...]:
    """Those that are neither in `home`, a --tokenizer_cache_dir, nor all of them in Hugging Face's cache."""
    missing = tuple(one for one in TOKENIZERS if not _in_folder(one, home))
    if missing and not home.is_dir() and all(_in_cache(one, env) for one in TOKENIZERS):
        return ()  # trainers find them there by themselves, as long as no folder is named
    return missing


def _in_folder(tokenizer: Tokenizer, home: Path) -> bool:
    return any((tokenizer.folder(home) / file).is_file() for file in tokenizer.vocabulary)


def _in_cache(tokenizer: Tokenizer, env: Mapping[str, str] | None) -> bool:
    return any(next(cached_files(tokenizer.repo, file, env=env), None) for file in tokenizer.vocabulary)
