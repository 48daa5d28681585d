"""A spec from the command line: a file, or a folder of pictures, with what the options change in it."""

import argparse
from pathlib import Path
from typing import Any

from fluxgym_tui.base.errors import FluxgymError
from fluxgym_tui.cli.parser import CommandParser
from fluxgym_tui.config.by_hand import HandEdits, hand_edits
from fluxgym_tui.config.spec import TrainSpec
from fluxgym_tui.config.specfile import build_spec, change_spec, load_spec
from fluxgym_tui.config.values import Plain
from fluxgym_tui.config.yaml_text import read_tree

# Options by the spec's key that they set: option strings, metavar, help.
_OPTIONS: tuple[tuple[str, tuple[str, ...], str, str], ...] = (
    ("name", ("--name",), "NAME", "names the run, its folder and its files (default: the folder's name)"),
    ("trigger", ("--trigger",), "WORDS", "the caption of a picture that has none; say it in your prompts"),
    ("base_model", ("--base-model",), "MODEL", "a key of `fluxgym-tui models` (default: flux-dev)"),
    ("backend", ("--backend",), "auto|builtin|kohya", "the program that trains (default: auto)"),
    ("dataset.resolution", ("--resolution",), "W,H", "width,height, or one number for a square (default: 512)"),
    ("dataset.resize", ("--resize",), "PX", "shortest side of the copies that are trained (default: 0, no resizing)"),
    (
        "dataset.num_repeats",
        ("--num-repeats", "--repeats"),
        "N",
        "how often a picture counts in an epoch (default: 10)",
    ),
    ("dataset.batch_size", ("--batch-size",), "N", "pictures a step (default: 1)"),
    ("training.learning_rate", ("--learning-rate",), "RATE", "learning rate (default: 8e-4)"),
    ("training.network_dim", ("--network-dim",), "N", "rank of the LoRA (default: 4)"),
    ("training.network_alpha", ("--network-alpha",), "N", "the LoRA's strength is alpha / dim (default: 1)"),
    (
        "training.gradient_accumulation_steps",
        ("--gradient-accumulation-steps",),
        "N",
        "batches added up before a step (default: 1)",
    ),
    ("training.vram", ("--vram",), "SIZE", "auto, cpu, or 8G to 80G: a recipe that fits the memory (default: auto)"),
    ("training.seed", ("--seed",), "N", "seed (default: 42)"),
)
_LENGTHS = (
    ("training.max_train_epochs", ("--max-train-epochs", "--epochs"), "N", "length in epochs (default: 16)"),
    ("training.max_train_steps", ("--max-train-steps", "--steps"), "N", "length in steps, in place of epochs"),
)
_SAMPLES_EVERY = ("samples.every_n_steps", ("--sample-every-n-steps",), "N", "sample pictures each so many steps")


def add_spec_source(parser: CommandParser, *, what: str = "a spec (YAML), or a folder of pictures") -> None:
    """The positional SPEC|DIR and the options that change single settings."""
    parser.add_argument("source", type=Path, metavar="SPEC|DIR", help=what)
    add_spec_options(parser)


def add_spec_options(parser: CommandParser) -> None:
    """The options that change single settings of a spec."""
    group = parser.add_argument_group("settings, as in a spec")
    for key, names, metavar, text in _OPTIONS:
        group.add_argument(*names, dest=key, metavar=metavar, help=text)
    length = group.add_mutually_exclusive_group()
    for key, names, metavar, text in _LENGTHS:
        length.add_argument(*names, dest=key, metavar=metavar, help=text)
    key, names, metavar, text = _SAMPLES_EVERY
    group.add_argument(
        "--sample-prompt",
        dest="samples.prompts",
        action="append",
        metavar="PROMPT",
        help="a sample picture's prompt, with --w --h --d --s --g inside it if wanted; may be given again",
    )
    group.add_argument(*names, dest=key, metavar=metavar, help=text)
    group.add_argument(
        "--set",
        action="append",
        default=[],
        metavar="KEY=VALUE",
        help="any other key of a spec, as training.save_every_n_epochs=2 or flags.lr_scheduler=cosine",
    )


def add_sd_scripts(parser: CommandParser) -> None:
    """The option `--sd-scripts`."""
    parser.add_argument(
        "--sd-scripts",
        type=Path,
        metavar="DIR",
        help="the checkout of kohya-ss/sd-scripts that backend kohya runs (default: $FLUXGYM_SD_SCRIPTS, else "
        "sd-scripts/ in the workspace or beside the program)",
    )


def given_options(args: argparse.Namespace) -> list[str]:
    """The names of the options for a spec's settings that were given."""
    table = (*_OPTIONS, *_LENGTHS, _SAMPLES_EVERY, ("samples.prompts", ("--sample-prompt",), "", ""))
    given = [names[0] for key, names, *_ in table if getattr(args, key) is not None]
    return [*given, "--set"] if args.set else given


def changes_of(args: argparse.Namespace) -> dict[str, Any]:
    """What the options set, by the spec's dotted keys, in the values that `change_spec` takes.

    Raises:
        FluxgymError: `--set` was not given KEY=VALUE, or the value is no YAML.
    """
    given = {key: value for key, value in vars(args).items() if value is not None}
    changes: dict[str, Any] = {}
    for key, *_ in (*_OPTIONS, *_LENGTHS, _SAMPLES_EVERY):
        if key in given:
            changes[key] = Plain(given[key])
    if "dataset.resolution" in changes:
        changes["dataset.resolution"] = _resolution(given["dataset.resolution"])
    for key in ("name", "trigger"):
        if key in changes:  # words as they are: no shell user means YAML's null by "null"
            changes[key] = str(given[key])
    if "samples.prompts" in given:
        changes["samples.prompts"] = list(given["samples.prompts"])
    for text in args.set:
        key, equals, value = text.partition("=")
        if not equals or not key:
            raise FluxgymError(f"--set takes KEY=VALUE, not {text!r}", hint="As in: --set training.network_dim=16")
        changes[key] = read_tree(f"[{value}]" if _is_bare_list(value) else value, origin=f"--set {key}").value
    if "training.max_train_epochs" in changes and "training.max_train_steps" not in changes:
        changes = {"training.max_train_steps": None, **changes}  # a spec that counts steps counts epochs now
    return changes


def spec_of(args: argparse.Namespace) -> TrainSpec:
    """The spec that SPEC|DIR and the options ask for.

    Raises:
        FluxgymError: there is no such file or folder, or a setting does not fit.
    """
    source: Path = args.source
    changes = changes_of(args)
    if source.is_dir():
        folder = source.absolute()
        spec = build_spec({"name": changes.pop("name", folder.name), "dataset": {"path": folder}})
    else:
        if not source.exists():
            raise FluxgymError(
                f"there is no {source}",
                hint="Give a folder of pictures, or a spec: fluxgym-tui new DIR -o spec.yaml writes one.",
            )
        spec = load_spec(source)
    return change_spec(spec, changes) if changes else spec


def hand_edits_of(args: argparse.Namespace) -> HandEdits:
    """The files edited by hand that lie beside SPEC; of a folder of pictures there are none.

    Raises:
        FluxgymError: one is there and cannot be read.
    """
    return HandEdits() if args.source.is_dir() else hand_edits(args.source)


def _resolution(text: str) -> list[Plain]:
    """`768,1024`, `768x1024` or `768` as the spec's list."""
    return [Plain(part.strip()) for part in text.lower().replace("x", ",").split(",")]


def _is_bare_list(value: str) -> bool:
    """`768,1024` means a list on a command line, where brackets are the shell's."""
    parts = value.split(",")
    return len(parts) > 1 and all(part.strip().isdecimal() for part in parts)
