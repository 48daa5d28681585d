"""`login`: a token for Hugging Face, read from standard input or a hidden prompt, into Hugging Face's own store."""

import argparse
import getpass
import sys
from pathlib import Path

from fluxgym_tui.base.errors import ExitCode, FluxgymError
from fluxgym_tui.cli.account import account_json, account_lines
from fluxgym_tui.cli.diagnostics import narrate
from fluxgym_tui.cli.output import Output
from fluxgym_tui.cli.parser import CommandParser, add_json, add_workspace
from fluxgym_tui.cli.workspaces import workspace_of
from fluxgym_tui.hub.auth import Token, login, offered_fluxgym_token, read_token_file, token_source
from fluxgym_tui.hub.library import NEW_TOKEN_LINK, HubError


def configure(parser: CommandParser) -> None:
    """Set the options of `login`."""
    parser.show(
        description="Log in to Hugging Face with a token, as `hf auth login` does: it is checked and put into\n"
        "Hugging Face's own store, and nowhere else. It is read from standard input, or asked for without\n"
        "being shown; it is never an argument. HF_TOKEN in the environment works without a login.",
        example="fluxgym-tui login\nfluxgym-tui login < token.txt",
    )
    add_workspace(parser)
    add_json(parser)


def run(args: argparse.Namespace, out: Output) -> ExitCode:
    """Read a token and log in."""
    token = _piped() if sys.stdin is None or not sys.stdin.isatty() else _asked(workspace_of(args).root)
    account = login(token)
    try:
        source = token_source()
    except HubError as error:  # HF_TOKEN, which comes before what was stored, cannot be a token
        source = None
        narrate(f"{error.message}: unset it, for it comes before what was stored now.")
    if args.json:
        out.json(account_json(account, source))
    else:
        out.lines(account_lines(account, source))
    if source is not None and source.kind == "environment":
        narrate(f"{source.place} is set: it comes before what was stored now.")
    return ExitCode.OK


def _piped() -> Token:
    token = Token("" if sys.stdin is None else sys.stdin.readline())
    if not token:
        raise FluxgymError(
            "no token came on standard input",
            hint=f"fluxgym-tui login < FILE, or run it in a terminal and paste the token. Make one: {NEW_TOKEN_LINK}",
        )
    return token


def _asked(workspace: Path) -> Token:
    """A token typed without being shown, or fluxgym's where the user says so: asked once, and nothing by default."""
    if (left := offered_fluxgym_token(workspace)) is not None:
        narrate(f"fluxgym left its token in {left}. Anybody who can read that file can use it.")
        if _confirmed("Log in with it? [y/N] "):
            narrate("It goes into Hugging Face's own store; the file is not needed after that and may be deleted.")
            return read_token_file(left)
    narrate(f"Make a token that reads gated models: {NEW_TOKEN_LINK}", "It may need to write, too, for publishing.")
    try:
        return Token(getpass.getpass("Token (not shown): "))
    except EOFError:
        raise FluxgymError("no token was given", hint="Nothing was changed.") from None


def _confirmed(question: str) -> bool:
    sys.stderr.write(question)
    sys.stderr.flush()
    return sys.stdin.readline().strip().lower() in ("y", "yes")
