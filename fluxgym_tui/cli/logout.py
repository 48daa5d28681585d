"""`logout`: take the token out of Hugging Face's own store."""

import argparse

from fluxgym_tui.base.errors import ExitCode
from fluxgym_tui.cli.diagnostics import narrate
from fluxgym_tui.cli.output import Output
from fluxgym_tui.cli.parser import CommandParser, add_json
from fluxgym_tui.hub.auth import logout, token_source
from fluxgym_tui.hub.library import HubError


def configure(parser: CommandParser) -> None:
    """Set the options of `logout`."""
    parser.show(
        description="Log out of Hugging Face on this machine, as `hf auth logout` does: the stored tokens are\n"
        "removed, for every program that uses them. HF_TOKEN in the environment is not touched.",
        example="fluxgym-tui logout",
    )
    add_json(parser)


def run(args: argparse.Namespace, out: Output) -> ExitCode:
    """Log out, and say what is left."""
    removed = logout()
    try:
        left = token_source()
    except HubError as error:  # what is left in the environment, and cannot be a token
        left = None
        narrate(error.message)
    if args.json:
        out.json({"removed": removed, "token_from": None if left is None else left.place})
    else:
        out.line("logged out" if removed else "nobody was logged in")
    if left is not None:
        narrate(f"{left.place} is set: requests still go with its token, until you unset it.")
    return ExitCode.OK
