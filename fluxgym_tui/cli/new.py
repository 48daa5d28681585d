"""`new DIR -o SPEC`: writes a commented spec."""

import argparse
from pathlib import Path

from fluxgym_tui.base.errors import ExitCode, FluxgymError
from fluxgym_tui.base.files import write_atomic
from fluxgym_tui.cli.output import Output
from fluxgym_tui.cli.parser import CommandParser, add_json
from fluxgym_tui.cli.specs import add_spec_options, changes_of
from fluxgym_tui.config.specfile import new_spec_text, parse_spec


def configure(parser: CommandParser) -> None:
    """Set the options of `new`."""
    parser.show(
        description="Write a spec for a folder of pictures: every setting with its default and what it does. Edit it\n"
        "in any editor, then plan, check and train it.",
        example='fluxgym-tui new photos/ -o hrld.yaml --trigger "hrld man" --resolution 768,1024',
    )
    parser.add_argument("folder", type=Path, metavar="DIR", help="the folder of pictures")
    parser.add_argument("-o", "--output", type=Path, metavar="SPEC", help="the file to write (default, or -: print it)")
    parser.add_argument("--force", action="store_true", help="replace SPEC if it is there")
    add_spec_options(parser)
    add_json(parser)


def run(args: argparse.Namespace, out: Output) -> ExitCode:
    """Write the spec, or print it."""
    folder: Path = args.folder
    target: Path | None = None if args.output == Path("-") else args.output
    if not folder.is_dir():
        raise FluxgymError(f"{folder} is no folder", hint="Give the folder that holds the pictures.")
    if target is not None and target.exists() and not args.force:
        raise FluxgymError(f"{target} is there already", hint="Choose another name, or add --force to replace it.")
    changes = changes_of(args)
    text = new_spec_text(
        folder, name=changes.pop("name", None), changes=changes, relative_to=None if target is None else target.parent
    )
    if target is None:
        if args.json:
            raise FluxgymError("--json tells what was written: it needs -o SPEC", hint="Add -o spec.yaml.")
        out.lines(text.splitlines())
        return ExitCode.OK
    try:
        write_atomic(target, text)
    except OSError as error:
        raise FluxgymError(f"cannot write {target}: {error.strerror}", hint="Check the folder.") from error
    if args.json:
        spec = parse_spec(text, folder=target.absolute().parent, origin=str(target))
        out.json({"spec": str(target), "name": spec.name, "output_name": spec.output_name})
    else:
        out.line(f"wrote {target}; next: fluxgym-tui plan {target}")
    return ExitCode.OK
