"""`info FILE`: what is in a LoRA or checkpoint, from its header alone."""

import argparse
from pathlib import Path

from fluxgym_tui.base.errors import ExitCode
from fluxgym_tui.base.modelfiles import ModelFile, read_model_file
from fluxgym_tui.base.text import human_size
from fluxgym_tui.cli.output import Output
from fluxgym_tui.cli.parser import CommandParser, add_json

_LABELS = {
    "network_dim": "rank (network_dim)",
    "network_alpha": "network_alpha",
    "base_model": "trained on",
    "output_name": "output name",
    "train_images": "pictures, with repeats",
    "trained_words": "captions",
}


def configure(parser: CommandParser) -> None:
    """Set the options of `info`."""
    parser.show(
        description="Say what is in a LoRA or checkpoint. Only the header is read, so it takes no time and no memory,\n"
        "whatever the size of the file.",
        example="fluxgym-tui info outputs/hrld-person/hrld-person.safetensors",
    )
    parser.add_argument("file", type=Path, metavar="FILE", help="a .safetensors or .sft file")
    parser.add_argument("--metadata", action="store_true", help="list every metadata field too")
    add_json(parser)


def run(args: argparse.Namespace, out: Output) -> ExitCode:
    """Print what the header of the file says."""
    path: Path = args.file
    model = read_model_file(path)
    if args.json:
        out.json(
            {
                "path": str(path),
                "kind": model.kind,
                "title": model.title,
                "size": model.file_bytes,
                "tensors": model.tensors,
                "parameters": model.parameters,
                "dtypes": model.dtypes,
                "facts": model.facts,
                "metadata": model.metadata,
            }
        )
        return ExitCode.OK
    out.line(f"{path.name}: {model.title}")
    rows = _rows(model)
    width = max(len(label) for label, _ in rows)
    out.lines(f"  {label.ljust(width)}  {value}" for label, value in rows)
    if args.metadata:
        out.line()
        out.table(["field", "value"], sorted(model.metadata.items()))
    return ExitCode.OK


def _rows(model: ModelFile) -> list[tuple[str, str]]:
    dtypes = ", ".join(f"{name} {number / max(model.parameters, 1):.0%}" for name, number in model.dtypes.items())
    rows = [
        ("size", human_size(model.file_bytes)),
        ("tensors", f"{model.tensors:,}"),
        ("parameters", f"{model.parameters:,} ({dtypes})" if dtypes else "0"),
    ]
    for key, value in model.facts.items():
        rows.append((_LABELS.get(key, key.replace("_", " ")), _text(value)))
    scale = _scale(model)
    return [*rows, ("effective scale", scale)] if scale else rows


def _text(value: object) -> str:
    match value:
        case dict():
            return ", ".join(f"{name} {number}" for name, number in value.items())
        case list():
            return ", ".join(str(item) for item in value)
        case bool():
            return "yes" if value else "no"
        case _:
            return str(value)


def _scale(model: ModelFile) -> str | None:
    """alpha / rank: what the trained change is multiplied by. The usual reason why "a LoRA has no effect"."""
    ranks, alpha = model.facts.get("network_dim"), model.facts.get("network_alpha")
    try:
        return None if not ranks or alpha is None else f"{float(alpha) / ranks[0]:g} (alpha / rank)"
    except ValueError:
        return None
