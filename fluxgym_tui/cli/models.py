"""`models`: the base models, and which of their files are here."""

import argparse
from typing import Any

from fluxgym_tui.base.errors import ExitCode
from fluxgym_tui.base.text import human_size
from fluxgym_tui.cli.output import Column, Output
from fluxgym_tui.cli.parser import CommandParser, add_json, add_workspace
from fluxgym_tui.cli.workspaces import workspace_of
from fluxgym_tui.config.models import ModelEntry, load_models
from fluxgym_tui.hub.find import ModelState, model_state


def configure(parser: CommandParser) -> None:
    """Set the options of `models`."""
    parser.show(
        description="List the base models of models.yaml, and which of their files are on this machine. The key is\n"
        "the word for base_model in a spec and for --base-model.",
        example="fluxgym-tui models\nfluxgym-tui models --files",
    )
    parser.add_argument(
        "--files", action="store_true", help="list every file: where it is, or where it belongs and comes from"
    )
    add_workspace(parser)
    add_json(parser)


def run(args: argparse.Namespace, out: Output) -> ExitCode:
    """Print every base model."""
    root = workspace_of(args).root
    states = [model_state(entry, root) for entry in load_models(workspace=root).values()]
    if args.json:
        out.json({"models": [_json(state) for state in states]})
        return ExitCode.OK
    columns: list[str | Column] = ["model", Column("size", "right"), "licence", "login", "here"]
    out.table(columns, [_row(state) for state in states])
    if places := [(state.entry.key, state.found["transformer"]) for state in states if "transformer" in state.found]:
        out.line()
        width = max(len(key) for key, _ in places)
        for key, file in places:
            whose = "" if file.owner == "workspace" else f"  ({file.owner})"
            out.line(f"{key.ljust(width)}  {file.path}{whose}")
    if notes := [state.entry for state in states if state.entry.note is not None]:
        out.line()
        out.lines(f"{entry.key}: {entry.note}" for entry in notes)
    if args.files:
        for state in states:
            out.line()
            out.line(f"{state.entry.key}:")
            out.table(["file", "here", "path"], _file_rows(state))
    return ExitCode.OK


def _row(state: ModelState) -> tuple[object, ...]:
    entry = state.entry
    size = entry.sources["transformer"].size_gb
    return (
        entry.key,
        None if size is None else f"{size:g} GB",
        _licence(entry),
        "needed" if entry.gated else None,
        here_words(state),
    )


def _licence(entry: ModelEntry) -> str | None:
    """The licence in a word or two, so that the table fits a narrow terminal."""
    name = entry.license_name or entry.license
    return "non-commercial" if name is not None and "non-commercial" in name else name


def here_words(state: ModelState) -> str:
    """Whether the model is here, in a few words: `yes`, `no`, or what it lacks."""
    if state.state == "here":
        return "yes"
    if state.state == "missing":
        return "no"
    lacks = f"lacks {', '.join(file.role for file in state.missing)}"
    return f"{lacks}; {human_size(state.partial_bytes)} of it came" if state.partial_bytes else lacks


def _file_rows(state: ModelState) -> list[tuple[object, ...]]:
    rows: list[tuple[object, ...]] = [
        (role, "yes" if file.owner == "workspace" else f"yes: {file.owner}", file.path)
        for role, file in state.found.items()
    ]
    for missing in state.missing:
        size = missing.source.about_bytes
        about = "" if size is None else f", {human_size(size)}"
        rows.append((missing.role, f"no: from {missing.source}{about}", missing.path))
    rows += [(one.role, f"not used: {one.why}", one.path) for one in state.rejected]
    return rows


def _json(state: ModelState) -> dict[str, Any]:
    entry, files = state.entry, state.files
    return {
        "key": entry.key,
        "title": entry.title,
        "aliases": list(entry.aliases),
        "note": entry.note,
        "arch": entry.arch,
        "license": entry.license_name or entry.license,
        "gated": entry.gated,
        "bundled": entry.bundled,
        "state": state.state,
        "here": files is not None,
        "files": None
        if files is None
        else {role: str(path) for role in entry.roles if (path := getattr(files, role)) is not None},
        "found": {role: {"path": str(file.path), "owner": file.owner} for role, file in state.found.items()},
        "missing": [
            {
                "role": missing.role,
                "path": str(missing.path),
                "repo": missing.source.repo,
                "file": missing.source.file,
                "size_gb": missing.source.size_gb,
                "bytes": missing.source.size_bytes,
            }
            for missing in state.missing
        ],
        "rejected": [{"role": one.role, "path": str(one.path), "why": one.why} for one in state.rejected],
        "partial_bytes": state.partial_bytes,
        "bytes_to_fetch": state.bytes_to_fetch if state.missing else 0,
    }
