"""Run by sd-scripts' own Python, never imported: `ask_parser.py CHECKOUT` prints its parser's options as JSON."""

import importlib
import json
import os
import sys


def main() -> int:
    """Print one JSON list; whatever sd-scripts prints while it is imported goes to stderr."""
    answer = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)
    # In place of this file's folder, whose modules are not sd-scripts' to import.
    sys.path[0] = sys.argv[1]
    parser = importlib.import_module("flux_train_network").setup_parser()
    options = [
        {
            "name": action.dest,
            "type": getattr(action.type, "__name__", None),
            "switch": action.nargs == 0,
            "many": action.nargs in ("*", "+"),
            "default": action.default,
            "choices": None if action.choices is None else list(action.choices),
            "help": action.help,
        }
        for action in parser._actions
        if action.dest != "help"
    ]
    with answer:
        json.dump(options, answer, default=str)
    return 0


if __name__ == "__main__":
    sys.exit(main())
