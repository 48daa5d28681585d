"""The workspace of a command, and the runs in it."""

import argparse
from pathlib import Path

from fluxgym_tui.config.workspace import Workspace, find_workspace


def workspace_of(args: argparse.Namespace) -> Workspace:
    """`--workspace DIR`, else the workspace found from here."""
    given: Path | None = args.workspace
    return find_workspace() if given is None else Workspace(given.expanduser().absolute())
