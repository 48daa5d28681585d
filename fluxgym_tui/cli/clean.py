"""`clean`: makes room in the workspace, after asking."""

import argparse
import sys

from fluxgym_tui.base.errors import ExitCode, FluxgymError
from fluxgym_tui.base.text import count, human_size
from fluxgym_tui.cli import diagnostics
from fluxgym_tui.cli.output import Column, Output
from fluxgym_tui.cli.parser import CommandParser, add_json, add_workspace
from fluxgym_tui.cli.workspaces import workspace_of
from fluxgym_tui.runs.listing import find_run
from fluxgym_tui.runs.rubbish import KINDS, Rubbish, find_rubbish, remove_rubbish

_HELP = {
    "caches": "caches of staged pictures and captions: the next training makes them again",
    "checkpoints": "LoRA files of saves on the way of runs that have finished, but not the one that was picked",
    "states": "states of runs that have finished: without them such a run cannot be made longer",
}


def configure(parser: CommandParser) -> None:
    """Set the options of `clean`."""
    parser.show(
        description="List what the workspace can do without, with its size, and remove it after a question. Your\n"
        "pictures, the last LoRA of a run and all of a run that has not finished are never among it, and\n"
        "trainings of fluxgym only where you name them.",
        example="fluxgym-tui clean --dry-run\nfluxgym-tui clean --caches\nfluxgym-tui clean hrld-person --checkpoints",
    )
    parser.add_argument("runs", nargs="*", metavar="RUN", help="only what belongs to these runs")
    for kind in KINDS:
        parser.add_argument(f"--{kind}", action="store_true", help=f"{_HELP[kind]} (default: all three)")
    parser.add_argument("--dry-run", action="store_true", help="only list it")
    parser.add_argument("--yes", action="store_true", help="do not ask")
    add_workspace(parser)
    add_json(parser)


def run(args: argparse.Namespace, out: Output) -> ExitCode:
    """List, ask, remove."""
    root = workspace_of(args).root
    kinds = [kind for kind in KINDS if getattr(args, kind)] or KINDS
    runs = [find_run(root / "outputs", name) for name in args.runs] or None
    found = find_rubbish(root, kinds=kinds, runs=runs)
    size = sum(one.size_bytes for one in found)
    if not args.json:
        _tell(found, size, out)
    remove = bool(found) and not args.dry_run and (args.yes or _agreed(found, size, json=args.json))
    removed = [one for one in found if remove and _removed(one, args)]
    if args.json:
        out.json({"found": [_json(one, one in removed) for one in found], "size": size})
    elif remove:
        out.line(f"removed {human_size(sum(one.size_bytes for one in removed))}")
    return ExitCode.FAILED if remove and len(removed) < len(found) else ExitCode.OK


def _tell(found: list[Rubbish], size: int, out: Output) -> None:
    if not found:
        out.line("nothing to clean")
        return
    rows = [(one.kind, one.of, count(len(one.paths), "item"), human_size(one.size_bytes)) for one in found]
    columns: list[str | Column] = ["what", "of", Column("how many", "right"), Column("size", "right")]
    out.table(columns, [*rows, ("", "", "", human_size(size))])
    out.flush()


def _agreed(found: list[Rubbish], size: int, *, json: bool) -> bool:
    """Whether somebody at the terminal says yes.

    Raises:
        FluxgymError: there is nobody to ask.
    """
    if json or not (sys.stdin and sys.stdin.isatty()):
        raise FluxgymError(
            "nothing was removed: there is nobody to ask",
            hint="Add --yes to remove it, or --dry-run to list it only.",
        )
    number = sum(len(one.paths) for one in found)
    diagnostics.narrate(f"Remove {count(number, 'item')}, {human_size(size)}? There is no way back. [y/N]")
    return sys.stdin.readline().strip().lower() in ("y", "yes")


def _removed(one: Rubbish, args: argparse.Namespace) -> bool:
    try:
        remove_rubbish(one, root=workspace_of(args).root)
    except FluxgymError as error:
        diagnostics.error(error)
        return False
    return True


def _json(one: Rubbish, removed: bool) -> dict[str, object]:
    return {
        "kind": one.kind,
        "of": one.of,
        "paths": [str(path) for path in one.paths],
        "size": one.size_bytes,
        "removed": removed,
    }
