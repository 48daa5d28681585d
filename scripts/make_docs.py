"""Write the generated pages of docs/ from the code they describe; with --check, fail where a page is out of date."""

import argparse
import sys
from pathlib import Path

import make_keys_doc
import make_trainer_docs

from fluxgym_tui.cli.main import COMMANDS, load
from fluxgym_tui.cli.parser import CommandParser

DOCS = Path(__file__).parents[1] / "docs"

CLI_HEAD = """\
# The command line

Written by `scripts/make_docs.py` from the commands themselves. What `--json` prints, and the exit codes, stand in
[api.md](api.md).

Results go to stdout; what is being done, warnings and errors go to stderr. On a terminal tables fit its width; in a
pipe they are plain aligned text. Options may be written with underscores, as sd-scripts writes them.
"""


def cli_page() -> str:
    """docs/cli.md: every command with its options and examples."""
    parts = [CLI_HEAD]
    group = None
    for name, command in COMMANDS.items():
        if command.group != group:
            group = command.group
            parts.append(f"\n## {group}\n")
        parser = CommandParser(name, summary=command.summary)
        load(name).configure(parser)
        parts.append(f"\n### {name}\n\n{' '.join((parser.description or '').split())}\n")
        parts.append("\n```sh\n" + parser.example + "\n```\n")
        parts.append("\n| option | |\n|---|---|\n")
        parts.extend(_row(action) for action in parser.options())
    return "".join(parts)


def _row(action: argparse.Action) -> str:
    metavar = str(action.metavar or "").replace("|", "\\|")
    if not action.option_strings:
        names = f"`{metavar}`"
    else:
        takes = "" if action.nargs == 0 else f" {metavar or action.dest.upper()}"
        names = ", ".join(f"`{name}{takes}`" for name in action.option_strings)
    return f"| {names} | {(action.help or '').replace('|', chr(92) + '|')} |\n"


def pages() -> dict[Path, str]:
    """Every generated page by its file."""
    return {
        DOCS / "cli.md": cli_page(),
        make_keys_doc.TARGET: make_keys_doc.page(),
        make_trainer_docs.TARGET: make_trainer_docs.page(),
    }


def main() -> int:
    """Write the pages, or check them; 1 where one is out of date."""
    stale = []
    for path, text in pages().items():
        if path.is_file() and path.read_text(encoding="utf-8") == text:
            continue
        stale.append(path.name)
        if "--check" not in sys.argv[1:]:
            path.write_text(text, encoding="utf-8")
            print(f"wrote {path}")
    if "--check" in sys.argv[1:] and stale:
        print(f"out of date: {', '.join(stale)}; run: make docs", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
