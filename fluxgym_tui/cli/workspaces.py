"""The workspace of a command, and the runs in it."""

import argparse
import shlex
from pathlib import Path

from fluxgym_tui.config.workspace import Workspace, find_workspace


def workspace_of(args: argparse.Namespace) -> Workspace:
    """`--workspace DIR`, else the workspace found from here."""
    given: Path | None = args.workspace
    return find_workspace() if given is None else Workspace(given.expanduser().absolute())


def workspace_option(args: argparse.Namespace) -> str:
    """How to say the same workspace in another command, from any folder."""
    return "" if args.workspace is None else f" --workspace {shlex.quote(str(args.workspace.expanduser().absolute()))}"
