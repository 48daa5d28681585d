"""What `--network_args` asks of `networks.lora_flux`: which layers get adapters, of which rank, and how they learn."""

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass, field

from fluxgym_tui.base.errors import FluxgymError

TRAIN_BLOCKS = ("all", "double", "single")

# The layers that each rank is for, by what their names in a LoRA file hold; sd-scripts takes the first that fits.
RANKED = {
    "img_attn_dim": ("img_attn",),
    "txt_attn_dim": ("txt_attn",),
    "img_mlp_dim": ("img_mlp",),
    "txt_mlp_dim": ("txt_mlp",),
    "img_mod_dim": ("img_mod",),
    "txt_mod_dim": ("txt_mod",),
    "single_dim": ("single_blocks", "linear"),
    "single_mod_dim": ("modulation",),
}
_INDICES = {"train_double_block_indices": "double", "train_single_block_indices": "single"}
_SHARES = ("rank_dropout", "module_dropout")
_RATIOS = ("loraplus_lr_ratio", "loraplus_unet_lr_ratio", "loraplus_text_encoder_lr_ratio")
HONOURED = ("train_blocks", *_INDICES, *RANKED, *_SHARES, *_RATIOS)

_BLOCK = re.compile(r"_(double|single)_blocks_(\d+)_")


@dataclass(frozen=True, kw_only=True)
class NetworkArguments:
    """`--network_args`, read. `blocks` has the chosen ones of a kind; None stands for all of them.

    `loraplus_ratio` is how many times faster `up` learns than `down` (LoRA+, Hayou et al. 2024); None: alike.
    `loraplus_text_encoder_ratio` is the same for the adapters of CLIP-L.
    """

    train_blocks: str = "all"
    blocks: Mapping[str, frozenset[int] | None] = field(default_factory=dict)
    ranks: Mapping[str, int] = field(default_factory=dict)
    rank_dropout: float = 0.0
    module_dropout: float = 0.0
    loraplus_ratio: float | None = None
    loraplus_text_encoder_ratio: float | None = None

    def rank(self, layer: str, *, default: int) -> int:
        """The rank for the layer of this name in a LoRA file; 0 where it gets no adapter."""
        found = _BLOCK.search(layer)
        if found is None or self.train_blocks not in ("all", found[1]):
            return 0
        chosen = self.blocks.get(found[1])
        if chosen is not None and int(found[2]) not in chosen:
            return 0
        given = (rank for name, rank in self.ranks.items() if all(part in layer for part in RANKED[name]))
        return next(given, default)

    def check_blocks(self, *, double: int, single: int) -> None:
        """FluxgymError where a block is chosen that a model with so many blocks of each kind does not have."""
        for kind, there_are in (("double", double), ("single", single)):
            if strange := [index for index in self.blocks.get(kind) or () if index >= there_are]:
                raise FluxgymError(
                    f"network_args train_{kind}_block_indices: there is no block {min(strange)}.",
                    hint=f"This model has the {kind} blocks 0 to {there_are - 1}.",
                )


def read_network_arguments(arguments: Mapping[str, str]) -> NetworkArguments:
    """`arguments` by their names in sd-scripts. FluxgymError on one that is not honoured, or a value that is none."""
    if unknown := sorted(arguments.keys() - set(HONOURED)):
        raise FluxgymError(
            f"network_args {', '.join(f'{name}={arguments[name]}' for name in unknown)}:"
            " not honoured by the built-in trainer.",
            hint=f"It honours {', '.join(HONOURED)}. Leave others out, or use the kohya backend.",
        )
    train_blocks = arguments.get("train_blocks", "all")
    if train_blocks not in TRAIN_BLOCKS:
        raise _wrong("train_blocks", train_blocks, f"one of: {', '.join(TRAIN_BLOCKS)}")
    ratios = {name: _number(arguments, name) for name in _RATIOS if name in arguments}
    for name, ratio in ratios.items():
        if not 0 < ratio < math.inf:
            raise _wrong(name, arguments[name], "a number above 0; 16 is usual")
    shares = {name: _number(arguments, name) for name in _SHARES if name in arguments}
    for name, share in shares.items():
        if not 0 <= share < 1:
            raise _wrong(name, arguments[name], "a share from 0 to below 1")
    return NetworkArguments(
        train_blocks=train_blocks,
        blocks={kind: _blocks(name, arguments[name]) for name, kind in _INDICES.items() if name in arguments},
        ranks={name: _rank(name, arguments[name]) for name in RANKED if name in arguments},
        loraplus_ratio=ratios.get("loraplus_unet_lr_ratio", ratios.get("loraplus_lr_ratio")),
        loraplus_text_encoder_ratio=ratios.get("loraplus_text_encoder_lr_ratio", ratios.get("loraplus_lr_ratio")),
        **shares,
    )


def _blocks(name: str, text: str) -> frozenset[int] | None:
    """`all`, `none` (or nothing), or numbers and ranges: `0,3-5`."""
    if text in ("all", "none", ""):
        return None if text == "all" else frozenset()
    chosen: set[int] = set()
    for part in text.split(","):
        found = re.fullmatch(r"\s*(\d+)\s*(?:-\s*(\d+)\s*)?", part)
        first, last = (int(found[1]), int(found[2] or found[1])) if found else (1, 0)
        if first > last:
            raise _wrong(name, text, "all, none, or numbers and ranges of blocks, such as 0,3-5")
        chosen.update(range(first, last + 1))
    return frozenset(chosen)


def _rank(name: str, text: str) -> int:
    if not text.isdecimal():
        raise _wrong(name, text, "a whole number; 0 leaves these layers out")
    return int(text)


def _number(arguments: Mapping[str, str], name: str) -> float:
    try:
        return float(arguments[name])
    except ValueError:
        raise _wrong(name, arguments[name], "a number") from None


def _wrong(name: str, text: str, meant: str) -> FluxgymError:
    return FluxgymError(f"network_args {name}={text} cannot be taken.", hint=f"Give {meant}.")
