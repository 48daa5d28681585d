"""`whoami`: the account on Hugging Face, and what its token may do."""

import argparse

from fluxgym_tui.base.errors import ExitCode
from fluxgym_tui.cli.account import account_json, account_lines
from fluxgym_tui.cli.output import Output
from fluxgym_tui.cli.parser import CommandParser, add_json
from fluxgym_tui.hub.auth import token_source, whoami


def configure(parser: CommandParser) -> None:
    """Set the options of `whoami`."""
    parser.show(
        description="Say who is logged in to Hugging Face on this machine, where the token comes from, and what\n"
        "it may do: read gated models, publish, and under whose name.",
        example="fluxgym-tui whoami",
    )
    add_json(parser)


def run(args: argparse.Namespace, out: Output) -> ExitCode:
    """Ask the Hub and print its answer."""
    account, source = whoami(), token_source()
    if args.json:
        out.json(account_json(account, source))
    else:
        out.lines(account_lines(account, source))
    return ExitCode.OK
