"""What is wrong with flags only because of what else is given, or is not. Imports no torch."""

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

Values = Mapping[str, Any]
"""The flags that were given, by name, with their values."""


class Rule(NamedTuple):
    """A rule of the command line: where `broken` is true of what was given, `flag` cannot be taken."""

    flag: str
    message: str
    fix: str
    broken: Callable[[Values], bool]


def _without(flag: str, needed: str, *, instead: str) -> Rule:
    """`flag` means nothing without `needed`."""
    return Rule(
        f"--{flag}",
        f"it has no effect without --{needed}",
        f"Add --{needed} {instead}".rstrip() + ", or leave it out.",
        lambda given: bool(given.get(flag)) and not given.get(needed),
    )


_OF_NETWORK = ("network_dim", "network_alpha", "network_args", "network_dropout")
_UNET_ONLY = "network_train_unet_only"
_TEXT_ONLY = "network_train_text_encoder_only"

RULES = (
    Rule(
        "--loss_type",
        "huber (as smooth_l1) needs --huber_schedule: its default is snr, which FLUX has not",
        "Add --huber_schedule constant (or exponential).",
        lambda given: given.get("loss_type") in ("huber", "smooth_l1") and "huber_schedule" not in given,
    ),
    _without("blocks_to_swap", "gradient_checkpointing", instead=""),
    Rule(
        "--blocks_to_swap",
        "it is a number of blocks, not below 0",
        "Give 1 to 35, or leave it out.",
        lambda given: (given.get("blocks_to_swap") or 0) < 0,
    ),
    _without("ip_noise_gamma_random_strength", "ip_noise_gamma", instead="0.1"),
    _without("noise_offset_random_strength", "noise_offset", instead="0.05"),
    _without("adaptive_noise_scale", "noise_offset", instead="0.05"),
    _without("multires_noise_discount", "multires_noise_iterations", instead="6"),
    _without("dim_from_weights", "network_weights", instead="LORA"),
    _without("base_weights_multiplier", "base_weights", instead="LORA"),
    Rule(
        "--base_weights_multiplier",
        "there are more of them than of --base_weights",
        "Give one for each file.",
        lambda given: len(given.get("base_weights_multiplier", ())) > len(given.get("base_weights", ())) > 0,
    ),
    Rule(
        "--dim_from_weights",
        "layers, ranks and alphas come from the weights, which know no network_dim, _alpha, _args or _dropout",
        "Leave those out, or leave it out.",
        lambda given: bool(given.get("dim_from_weights")) and any(given.get(name) for name in _OF_NETWORK),
    ),
    Rule(
        "--save_n_epoch_ratio",
        "it sets --save_every_n_epochs, which is given too",
        "Give one of the two.",
        lambda given: bool(given.get("save_n_epoch_ratio") and given.get("save_every_n_epochs")),
    ),
    Rule(
        "--log_with",
        "TensorBoard's files need a place: --logging_dir is not given",
        "Add --logging_dir FOLDER.",
        lambda given: given.get("log_with") in ("tensorboard", "all") and not given.get("logging_dir"),
    ),
    Rule(
        "--wandb_run_name",
        "it has no effect without --log_with wandb",
        "Add --log_with wandb, or leave it out.",
        lambda given: bool(given.get("wandb_run_name")) and given.get("log_with") not in ("wandb", "all"),
    ),
    Rule(
        "--wandb_run_name",
        "it has no effect beside --log_tracker_config, as in sd-scripts",
        "Write name = '...' under [wandb] there.",
        lambda given: bool(given.get("wandb_run_name") and given.get("log_tracker_config")),
    ),
    Rule(
        "--log_tracker_config",
        "it has no effect without --log_with wandb",
        "Add --log_with wandb, or leave it out.",
        lambda given: bool(given.get("log_tracker_config")) and given.get("log_with") not in ("wandb", "all"),
    ),
    _without("log_prefix", "logging_dir", instead="FOLDER"),
    Rule(
        "--log_tracker_name",
        "it has no effect: nothing is tracked",
        "Add --logging_dir FOLDER or --log_with wandb, or leave it out.",
        lambda given: bool(given.get("log_tracker_name")) and not (given.get("logging_dir") or given.get("log_with")),
    ),
    Rule(
        f"--{_TEXT_ONLY}",
        f"with --{_UNET_ONLY} nothing would be trained",
        "Give one of the two, or none to train both.",
        lambda given: bool(given.get(_UNET_ONLY) and given.get(_TEXT_ONLY)),
    ),
    Rule(
        "--text_encoder_lr",
        f"it has no effect: CLIP-L is not trained (--{_UNET_ONLY})",
        f"Leave it out, or leave out --{_UNET_ONLY}.",
        lambda given: bool(given.get("text_encoder_lr") and given.get(_UNET_ONLY)),
    ),
    Rule(
        "--text_encoder_lr",
        "it takes one value, CLIP-L's: T5 is not trained",
        "Give the first value alone.",
        lambda given: len(given.get("text_encoder_lr", ())) > 1,
    ),
    Rule(
        "--unet_lr",
        f"it has no effect: the transformer is not trained (--{_TEXT_ONLY})",
        "Give --text_encoder_lr instead.",
        lambda given: bool(given.get("unet_lr") and given.get(_TEXT_ONLY)),
    ),
)


def contradictions(given: Values) -> list[tuple[str, str, str]]:
    """The flag, what is wrong and what to do, for every rule that `given` breaks."""
    return [(rule.flag, rule.message, rule.fix) for rule in RULES if rule.broken(given)]
