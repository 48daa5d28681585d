"""`flags`: the options that a spec's `flags` may have, as the trainer's own parser knows them."""

import argparse
import dataclasses

from fluxgym_tui.backends.kohya.checkout import find_checkout
from fluxgym_tui.backends.kohya.options import ParserOption, options_of
from fluxgym_tui.base.errors import ExitCode, FluxgymError
from fluxgym_tui.cli.output import Output
from fluxgym_tui.cli.parser import CommandParser, add_json, add_workspace, nearest
from fluxgym_tui.cli.specs import add_sd_scripts
from fluxgym_tui.cli.workspaces import workspace_of


def configure(parser: CommandParser) -> None:
    """Set the options of `flags`."""
    parser.show(
        description="List the options of sd-scripts for a spec's `flags`, as the parser of your own checkout has\n"
        "them: it is asked once, in its own Python, and again when its files change.",
        example="fluxgym-tui flags noise\nfluxgym-tui flags --json",
    )
    parser.add_argument("words", nargs="*", metavar="WORD", help="only options whose name has this word in it")
    add_sd_scripts(parser)
    add_workspace(parser)
    add_json(parser)


def run(args: argparse.Namespace, out: Output) -> ExitCode:
    """Print the options, all of them or those that were asked for."""
    checkout = find_checkout(given=args.sd_scripts, workspace=workspace_of(args).root)
    known = {} if checkout is None else options_of(checkout)
    if not known:
        raise FluxgymError(
            "there is no sd-scripts here whose parser could be asked",
            hint="Name one: --sd-scripts DIR. The built-in trainer's: python -m fluxgym_tui.trainer --help",
            code=ExitCode.MISSING_EXTRA,
        )
    words = [word.removeprefix("--") for word in args.words]
    shown = [option for name, option in known.items() if not words or any(word in name for word in words)]
    if not shown:
        near = nearest(words[0], known)
        raise FluxgymError(
            f"sd-scripts has no option with {' or '.join(words)} in its name",
            hint=f"Did you mean {near}?" if near else "fluxgym-tui flags lists them all.",
            code=ExitCode.NOT_FOUND,
        )
    if args.json:
        out.json({"flags": [dataclasses.asdict(option) for option in shown]})
    elif words:
        for option in shown:
            out.lines(_page(option))
    else:
        out.table(["flag", "takes", "default"], [(option.name, _takes(option), _default(option)) for option in shown])
    return ExitCode.OK


def _takes(option: ParserOption) -> str:
    if option.choices is not None:
        return "|".join(option.choices)
    names = {"whole": "a whole number", "number": "a number", "whole_or_number": "a number", "text": "a text"}
    return names.get(option.kind, {"switch": "a switch"}.get(option.kind, f"several {option.kind}"))


def _default(option: ParserOption) -> str | None:
    return None if option.default is None or option.kind == "switch" else str(option.default)


def _page(option: ParserOption) -> list[str]:
    default = _default(option)
    head = f"{option.name}: {_takes(option)}" + ("" if default in (None, "") else f", default {default}")
    return [head, f"  {option.help or 'sd-scripts says nothing about it.'}"]
