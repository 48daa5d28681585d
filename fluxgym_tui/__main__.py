"""The way in: looks at the arguments and imports what they need, nothing more."""

import os
import sys
from pathlib import Path


def main() -> int:
    """Run the command line of this process; its exit code."""
    if sys.getfilesystemencoding() != "utf-8":
        _start_again_in_utf8()
    argv = sys.argv[1:]
    if _wants_app(argv):
        return _open_app(argv)
    if argv[:1] == ["demo"] and _at_a_terminal():
        from fluxgym_tui.cli import launching
        from fluxgym_tui.ui.start import show_run

        launching.show_run = show_run
    from fluxgym_tui.cli.main import main as cli_main

    return cli_main(argv)


def _at_a_terminal() -> bool:
    # Textual draws on stderr, so that one must be the terminal, too.
    return all(stream is not None and stream.isatty() for stream in (sys.stdin, sys.stdout, sys.stderr))


def _wants_app(argv: list[str]) -> bool:
    """Whether a person at a terminal gave no command: nothing, an option of the app, or a folder or file."""
    if not _at_a_terminal():
        return False
    if not argv:
        return True
    from fluxgym_tui.cli.main import COMMANDS

    word = argv[0]
    return word in ("--trigger", "--workspace", "--ascii") or (word not in COMMANDS and Path(word).exists())


def _open_app(argv: list[str]) -> int:
    from fluxgym_tui.base.errors import FluxgymError
    from fluxgym_tui.cli import diagnostics
    from fluxgym_tui.ui.start import main as app_main

    try:
        return int(app_main(argv))
    except FluxgymError as problem:
        diagnostics.error(problem)
        return int(problem.code)


def _start_again_in_utf8() -> None:
    """Replace this process by itself in UTF-8 mode: Python read the arguments in the locale's encoding."""
    os.environ["PYTHONUTF8"] = "1"  # for the processes we start
    os.execv(sys.executable, [sys.executable, "-X", "utf8", *sys.orig_argv[1:]])


if __name__ == "__main__":
    sys.exit(main())
