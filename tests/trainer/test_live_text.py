"""Captions that are encoded for every batch: what varies them, and what only makes sense with them."""

from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from fluxgym_tui.base.errors import FluxgymError
from fluxgym_tui.trainer.flags import parse
from fluxgym_tui.trainer.setup import settle
from fluxgym_tui.trainer.steps import updates
from tests.trainer.trainer_options import QUICK, arguments_for, drawn_dataset, train_uncached

STEPS = ("--max_train_steps", "2", "--network_dim", "2")


@pytest.fixture(scope="module")
def dataset(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two pictures whose captions have several tokens."""
    toml = drawn_dataset(tmp_path_factory.mktemp("data"), pictures=2, batch_size=2)
    for number in range(2):
        caption = toml.parent / "photos" / f"{number}.txt"
        caption.write_text(f"red square {number}, on {{cream|white}}, small; flat\nanother line\n", encoding="utf-8")
    return toml


@pytest.fixture(scope="module")
def plain(dataset: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, torch.Tensor]:
    folder = tmp_path_factory.mktemp("plain") / "out"
    train_uncached(dataset, folder, *STEPS)
    return load_file(folder / "last.safetensors")


SETTINGS = {
    "shuffle": ("--shuffle_caption", "--keep_tokens", "1", "--seed", "3"),
    "dropout": ("--caption_dropout_rate", "0.9"),
    "dropped epochs": ("--caption_dropout_every_n_epochs", "1"),
    "dropped tokens": ("--caption_tag_dropout_rate", "0.7"),
    "warm-up": ("--token_warmup_step", "10", "--token_warmup_min", "1"),
    "wildcards": ("--enable_wildcard",),
    "prefix": ("--caption_prefix", "a photo of"),
    "suffix": ("--caption_suffix", "in colour"),
    "second separator": ("--secondary_separator", ";", "--caption_separator", ","),
}


@pytest.mark.parametrize("name", SETTINGS)
def test_a_setting_of_captions_makes_another_lora(
    name: str, dataset: Path, plain: dict[str, torch.Tensor], tmp_path: Path
) -> None:
    train_uncached(dataset, tmp_path / "out", *STEPS, *SETTINGS[name])
    found = load_file(tmp_path / "out" / "last.safetensors")
    assert any(not torch.equal(tensor, plain[key]) for key, tensor in found.items())


def test_no_caption_is_cached(dataset: Path, plain: dict[str, torch.Tensor]) -> None:
    assert plain
    assert list((dataset.parent / "photos").glob("*_flux_te.npz")) == []


@pytest.mark.parametrize("name", SETTINGS)
def test_caches_forbid_it(name: str, dataset: Path, tmp_path: Path) -> None:
    with pytest.raises(FluxgymError, match=SETTINGS[name][0].removeprefix("--")) as refused:
        settle(parse(arguments_for(dataset, *QUICK[2:], *SETTINGS[name], output_dir=tmp_path / "out")))
    assert "--cache_text_encoder_outputs" in str(refused.value.hint)


@pytest.mark.parametrize(
    ("flags", "words"),
    [(("--keep_tokens", "2"), "keep_tokens"), (("--caption_separator", ";"), "caption_separator"),
     (("--keep_tokens_separator", "|||"), "keep_tokens_separator"), (("--token_warmup_min", "3"), "token_warmup_min")],
)  # fmt: skip
def test_what_orders_tokens_that_nothing_moves_is_refused(dataset: Path, flags: tuple[str, ...], words: str) -> None:
    with pytest.raises(FluxgymError, match=f"{words} has no effect"):
        settle(parse(arguments_for(dataset, *QUICK, *flags)))


def test_captions_follow_from_seed_and_step(dataset: Path) -> None:
    given = arguments_for(dataset, *QUICK, "--max_train_epochs", "6", "--shuffle_caption")
    given.remove("--cache_text_encoder_outputs_to_disk")
    first, again = ([batch.captions for update in updates(settle(parse(given))) for batch in update.batches]
                    for _ in range(2))  # fmt: skip
    assert first == again
    assert len(set(first)) > 1
