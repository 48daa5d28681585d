"""What a picture is called when it is trained: its caption with sd-scripts' dropout, shuffling, wildcards and affixes.

Only where captions are encoded anew for every batch: a cache holds one text for good.
"""

import math
import random
import re
from dataclasses import dataclass

from fluxgym_tui.config.dataset_toml import SubsetConfig

# What a subset may ask for only where captions are not cached.
VARYING_KEYS = (
    "shuffle_caption", "caption_dropout_rate", "caption_dropout_every_n_epochs", "caption_tag_dropout_rate",
    "token_warmup_step", "enable_wildcard", "caption_prefix", "caption_suffix", "secondary_separator",
)  # fmt: skip
# What only parts and orders the tokens that one of those above moves; without them it changes nothing.
ORDERING_KEYS = ("keep_tokens", "keep_tokens_separator", "caption_separator", "token_warmup_min")

_WILDCARD = re.compile(r"\{([^}]+)\}")
_BRACES = ("\ue000", "\ue001")  # stand for braces that were written twice; of no script


@dataclass(frozen=True, slots=True, kw_only=True)
class Moment:
    """When a caption is asked for: the epoch (from 1), the optimiser steps done before, and all there will be."""

    epoch: int
    steps_done: int
    total_steps: int


def spoken_caption(caption: str, subset: SubsetConfig, *, moment: Moment, draw: random.Random) -> str:
    """What the encoders are given for `caption` at `moment`; `draw` decides what is left to chance.

    `caption` may have several lines where the subset has wildcards. The order of things is that of sd-scripts'
    `process_caption`: affixes, dropout, wildcards, then tokens, then the secondary separator.
    """
    if subset.caption_prefix:
        caption = f"{subset.caption_prefix} {caption}"
    if subset.caption_suffix:
        caption = f"{caption} {subset.caption_suffix}"
    if _dropped(subset, moment=moment, draw=draw):
        return ""
    caption = _filled(caption, draw) if subset.enable_wildcard else caption.partition("\n")[0]
    if moves_tokens(subset):
        caption = _rearranged(caption, subset, moment=moment, draw=draw)
    if subset.secondary_separator:
        caption = caption.replace(subset.secondary_separator, subset.caption_separator)
    return caption


def moves_tokens(subset: SubsetConfig) -> bool:
    """Whether the tokens of the captions of `subset` do not all stay where they are."""
    return subset.shuffle_caption or subset.token_warmup_step > 0 or subset.caption_tag_dropout_rate > 0


def _dropped(subset: SubsetConfig, *, moment: Moment, draw: random.Random) -> bool:
    if subset.caption_dropout_rate > 0 and draw.random() < subset.caption_dropout_rate:
        return True
    every = subset.caption_dropout_every_n_epochs
    return every > 0 and moment.epoch % every == 0


def _filled(caption: str, draw: random.Random) -> str:
    """One line of `caption`, with one of each `{a|b}`; `{{` and `}}` are plain braces."""
    line = draw.choice(caption.split("\n"))
    for brace, stand_in in zip(("{{", "}}"), _BRACES, strict=True):
        line = line.replace(brace, stand_in)
    line = _WILDCARD.sub(lambda found: draw.choice(found[1].split("|")), line)
    for brace, stand_in in zip("{}", _BRACES, strict=True):
        line = line.replace(stand_in, brace)
    return line


def _rearranged(caption: str, subset: SubsetConfig, *, moment: Moment, draw: random.Random) -> str:
    """The tokens of `caption`: those that are kept, the others as warm-up, shuffling and dropout leave them."""
    first, loose, last = _parted(caption, subset)
    if moment.steps_done < (steps := _warmup_steps(subset, moment.total_steps)):
        growth = (len(loose) - subset.token_warmup_min) / steps
        loose = loose[: math.floor(moment.steps_done * growth) + subset.token_warmup_min]
    if subset.shuffle_caption:
        draw.shuffle(loose)
    if subset.caption_tag_dropout_rate > 0:
        loose = [token for token in loose if draw.random() >= subset.caption_tag_dropout_rate]
    return ", ".join(first + loose + last)


def _parted(caption: str, subset: SubsetConfig) -> tuple[list[str], list[str], list[str]]:
    """The tokens that keep their place at the beginning, those that do not, and those that keep it at the end."""
    separator = subset.keep_tokens_separator
    if separator and separator in caption:
        parts = [*caption.split(separator, 2), ""]
        first, loose, last = ([token for token in _tokens(part, subset) if token] for part in parts[:3])
        return first, loose, last
    tokens = _tokens(caption.strip(), subset)
    kept = max(subset.keep_tokens, 0)
    return tokens[:kept], tokens[kept:], []


def _tokens(text: str, subset: SubsetConfig) -> list[str]:
    return [token.strip() for token in text.split(subset.caption_separator)]


def _warmup_steps(subset: SubsetConfig, total_steps: int) -> float:
    """Below 1 it is a share of all steps."""
    steps = subset.token_warmup_step
    return math.floor(steps * total_steps) if steps < 1 else steps
