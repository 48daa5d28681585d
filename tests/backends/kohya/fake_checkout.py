"""A folder that looks like a checkout of sd-scripts, with the recorded parser put together as sd-scripts does it."""

import json
from pathlib import Path
from typing import Any

FLAGS = Path(__file__).parents[2] / "data" / "flags.json"
RECORDED: dict[str, dict[str, Any]] = {
    flag["dest"]: flag for flag in json.loads(FLAGS.read_text(encoding="utf-8"))["flags"] if flag["dest"] != "help"
}
# Its own words: the records have no help.
HELP = "what {name} does / それがすること"

_SCRIPT = '''\
"""The entry, which goes through other files."""
import argparse
import train_network
from library import options as more
from library.options import add_last

LEAST = 3
print("a library says hello on stdout")

def setup_parser():
    parser = train_network.setup_parser()
    more.add_options(parser, True)
    more.add_options(parser, support=False)
    add_last(parser)
    parser.add_argument("--brand_new", type=int, default=LEAST, help="new" f" here" + " now")
    return parser

if __name__ == "__main__":
    setup_parser().parse_args()
'''
_TRAIN = """\
import argparse

def setup_parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser()
{options}
    return parser
"""
_LIBRARY = """\
LEAST = 3

def int_or_float(text):
    return int(text) if text.isdigit() else float(text)

def add_options(parser, support, extra=False):
    if support:
{options}
    else:
        if extra:
            parser.add_argument("--never")
        if not support:
            parser.add_argument("--else_branch", action="store_true")

def add_last(parser):
    parser.add_argument("--with_dash-es", "-w", default=LEAST)
"""


def write_checkout(root: Path) -> None:
    """Make `root` a checkout: its parser has every recorded option, and five of its own."""
    lines = [_line(flag) for flag in RECORDED.values()]
    half = len(lines) // 2
    (root / "library").mkdir(parents=True)
    (root / "flux_train_network.py").write_text(_SCRIPT, encoding="utf-8")
    (root / "train_network.py").write_text(
        "from library.options import int_or_float\n"
        + _TRAIN.format(options="\n".join(f"    {line}" for line in lines[:half])),
        encoding="utf-8",
    )
    (root / "library" / "__init__.py").touch()
    options = "\n".join(f"        {line}" for line in lines[half:])
    (root / "library" / "options.py").write_text(_LIBRARY.format(options=options), encoding="utf-8")


def _line(flag: dict[str, Any]) -> str:
    words = [repr(flag["option_strings"][0]), f"help={HELP.format(name=flag['dest'])!r}"]
    if flag["action"] == "store_true":
        words.append("action='store_true'")
    else:
        words += [f"{key}={flag[key]!r}" for key in ("nargs", "default", "choices") if flag[key] is not None]
        if flag["type"] is not None:
            words.append(f"type={'str' if flag['type'] == 'Path' else flag['type']}")
    return f"parser.add_argument({', '.join(words)})"
