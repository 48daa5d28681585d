"""Captions that vary are what sd-scripts' `process_caption` makes of them."""

import random
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fluxgym_tui.config.dataset_toml import SubsetConfig
from fluxgym_tui.trainer.captions import Moment, spoken_caption

START = Moment(epoch=1, steps_done=0, total_steps=100)


def said(caption: str, *, moment: Moment = START, seed: int = 1, **settings: Any) -> str:
    subset = SubsetConfig(image_dir=Path("a"), **settings)
    return spoken_caption(caption, subset, moment=moment, draw=random.Random(seed))


@pytest.mark.parametrize(
    ("caption", "settings", "expected"),
    [
        ("a cat, sitting", {}, "a cat, sitting"),
        ("a cat\nsecond line", {}, "a cat"),
        ("a cat", {"caption_prefix": "photo of", "caption_suffix": "in colour"}, "photo of a cat in colour"),
        ("a cat", {"caption_dropout_rate": 1.0}, ""),
        ("a, b, c", {"caption_tag_dropout_rate": 1.0, "keep_tokens": 1}, "a"),
        ("a, b ||| c, d ||| e", {"caption_tag_dropout_rate": 1.0, "keep_tokens_separator": "|||"}, "a, b, e"),
        ("a;b,c", {"secondary_separator": ";"}, "a,b,c"),
        ("a; b ;c", {"caption_tag_dropout_rate": 1e-9, "caption_separator": ";"}, "a, b, c"),
        ("a {{b}} {c}", {"enable_wildcard": True}, "a {b} c"),
    ],
)
def test_settings_one_by_one(caption: str, settings: dict[str, Any], expected: str) -> None:
    assert said(caption, **settings) == expected


def test_every_nth_epoch_is_without_captions() -> None:
    spoken = [
        said("a cat", moment=Moment(epoch=epoch, steps_done=0, total_steps=9), caption_dropout_every_n_epochs=3)
        for epoch in range(1, 7)
    ]
    assert spoken == ["a cat", "a cat", "", "a cat", "a cat", ""]


@pytest.mark.parametrize(
    ("steps_done", "step", "count"), [(0, 50, 1), (20, 50, 2), (49, 50, 4), (50, 50, 5), (20, 0.5, 2), (60, 0.5, 5)]
)
def test_tokens_warm_up(steps_done: int, step: float, count: int) -> None:
    moment = Moment(epoch=1, steps_done=steps_done, total_steps=100)
    assert said("a, b, c, d, e", moment=moment, token_warmup_step=step).split(", ") == list("abcde")[:count]


def test_a_wildcard_and_a_line_are_drawn() -> None:
    caption = "a {red|blue} car\na green {bus|tram}"
    found = {said(caption, seed=seed, enable_wildcard=True) for seed in range(60)}
    assert found == {"a red car", "a blue car", "a green bus", "a green tram"}


@given(
    tokens=st.lists(st.text("abc", min_size=1, max_size=3), min_size=1, max_size=8),
    keep=st.integers(0, 3),
    seed=st.integers(0, 99),
)
def test_shuffling_keeps_the_first_and_loses_none(tokens: list[str], keep: int, seed: int) -> None:
    spoken = said(", ".join(tokens), seed=seed, shuffle_caption=True, keep_tokens=keep).split(", ")
    assert spoken[:keep] == tokens[:keep]
    assert sorted(spoken) == sorted(tokens)
    assert spoken == said(", ".join(tokens), seed=seed, shuffle_caption=True, keep_tokens=keep).split(", ")


def test_dropout_has_its_rate() -> None:
    dropped = [said("a, b", seed=seed, caption_dropout_rate=0.3) == "" for seed in range(2000)]
    assert 0.26 < sum(dropped) / len(dropped) < 0.34
