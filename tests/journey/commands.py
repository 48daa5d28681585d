"""The real command line as its own process, without a GPU."""

import os
import subprocess
import sys
from pathlib import Path

PATIENCE_S = 200


def cli(*arguments: object, workspace: Path, check: bool = False) -> "subprocess.CompletedProcess[str]":
    """Run `fluxgym-tui` with `arguments` in `workspace` and wait for its end."""
    command = [sys.executable, "-m", "fluxgym_tui", *map(str, arguments), "--workspace", str(workspace)]
    environment = {**os.environ, "CUDA_VISIBLE_DEVICES": ""}
    return subprocess.run(
        command, capture_output=True, text=True, encoding="utf-8", env=environment, timeout=PATIENCE_S, check=check
    )
