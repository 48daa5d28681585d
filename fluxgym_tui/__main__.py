"""The way in: looks at the arguments and imports what they need, nothing more."""

import os
import sys


def main() -> int:
    """Run the command line of this process; its exit code."""
    if sys.getfilesystemencoding() != "utf-8":
        _start_again_in_utf8()
    from fluxgym_tui.cli.main import main as cli_main

    return cli_main(sys.argv[1:])


def _start_again_in_utf8() -> None:
    """Replace this process by itself in UTF-8 mode: Python read the arguments in the locale's encoding."""
    os.environ["PYTHONUTF8"] = "1"  # for the processes we start
    os.execv(sys.executable, [sys.executable, "-X", "utf8", *sys.orig_argv[1:]])


if __name__ == "__main__":
    sys.exit(main())
