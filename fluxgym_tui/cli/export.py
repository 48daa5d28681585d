"""`export THING --to WHERE`: finds the target asked for, and imports only its module."""

import argparse
import importlib
from pathlib import Path
from typing import Any, NamedTuple

from fluxgym_tui.base.errors import ExitCode, FluxgymError
from fluxgym_tui.cli.output import Output
from fluxgym_tui.cli.parser import CommandParser, add_json, add_workspace, nearest


class Target(NamedTuple):
    """A target: the module of `cli.exports` that writes it, and what it takes and makes in a few words."""

    module: str
    summary: str


# A module has export(source: str, destination: Path | None, args, out) -> ExitCode; `destination` is what stands after
# the target, and each module says itself whether it needs one. `args.to` is the target's name by then.
TARGETS: dict[str, Target] = {
    "comfyui": Target("local", "RUN's LoRA, a preview beside it, into the ComfyUI on this machine"),
    "a1111": Target("local", "the same into Forge or A1111"),
    "kohya-gui": Target("training_files", "SPEC as the JSON that the kohya_ss GUI opens: needs FILE.json"),
    "toml": Target("training_files", "SPEC as sd-scripts' --config_file: needs FILE.toml, writes its dataset beside"),
    "diffusers": Target("diffusers_lora", "LORA, or a run's, under the names that diffusers and PEFT use"),
}


def configure(parser: CommandParser) -> None:
    """Set the options of `export`."""
    targets = "".join(f"\n  {name:<10} {target.summary}" for name, target in TARGETS.items())
    targets += "\n  DIR        RUN's LoRA and its preview into any folder"
    parser.show(
        description="Write something of yours for another program. What that program has no place for is said on\n"
        f"stderr, never dropped in silence. The targets:\n{targets}",
        example="fluxgym-tui export hrld-person --to comfyui\n"
        "fluxgym-tui export hrld-person --to ~/loras/ --checkpoint 8\n"
        "fluxgym-tui export hrld.yaml --to kohya-gui hrld.json\n"
        "fluxgym-tui export hrld.yaml --to toml hrld.toml\n"
        "fluxgym-tui export hrld-person --to diffusers hrld-diffusers.safetensors",
    )
    parser.add_argument("source", metavar="SOURCE", help="a spec, a run or a file: what the target takes")
    parser.add_argument(
        "--to",
        required=True,
        nargs="+",
        metavar="TARGET",
        help=f"one of: {', '.join(TARGETS)}, or a folder; then FILE where the target writes one",
    )
    parser.add_argument(
        "--checkpoint",
        metavar="FILE|EPOCH",
        help="of a run: the LoRA file (default: the one picked on the screen Samples, else the last)",
    )
    parser.add_argument("--force", action="store_true", help="replace FILE if it is there")
    add_workspace(parser)
    add_json(parser)


def run(args: argparse.Namespace, out: Output) -> ExitCode:
    """Hand on to the target's module."""
    args.to, *files = args.to
    if len(files) > 1:
        raise FluxgymError(f"--to takes a target and a file, not {len(files) + 1} words", hint="SOURCE comes first.")
    target = TARGETS.get(args.to)
    if target is None and ("/" in args.to or Path(args.to).is_dir()):
        target = TARGETS["comfyui"]  # a folder: the same module copies to it
    if target is None:
        near = nearest(args.to, TARGETS)
        raise FluxgymError(
            f"there is no target {args.to!r}",
            hint=(f"Did you mean {near}? " if near else "") + f"There are: {', '.join(TARGETS)}; a folder has a /.",
        )
    if args.checkpoint is not None and target.module == "training_files":
        raise FluxgymError(f"--checkpoint has no meaning for {args.to}, which takes a spec", hint="Leave it out.")
    module: Any = importlib.import_module(f"fluxgym_tui.cli.exports.{target.module}")
    code: ExitCode = module.export(args.source, Path(files[0]) if files else None, args, out)
    return code
