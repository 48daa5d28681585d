"""Starting the app: which workspace, which screen first."""

import os
import sys
from collections.abc import Sequence
from pathlib import Path

from fluxgym_tui.base.errors import ExitCode, FluxgymError
from fluxgym_tui.config.settings import load_settings, settings_path
from fluxgym_tui.config.workspace import Workspace, find_workspace, looks_like_workspace
from fluxgym_tui.runs.directory import RunDirectory
from fluxgym_tui.ui.graphics import ask

USAGE = "fluxgym-tui [DIR|SPEC] [--trigger WORDS] [--workspace DIR] [--ascii]   opens the app."


def main(argv: Sequence[str]) -> ExitCode:
    """Open the app as the command line asks: `[DIR|SPEC] [--trigger WORDS] [--workspace DIR] [--ascii]`.

    A DIR that is a workspace, as a fluxgym folder is, is opened as that.

    Raises:
        FluxgymError: an option is unknown or lacks its value, or as `run`.
    """
    words, path, trigger, workspace, ascii_only = list(argv), None, None, None, False
    while words:
        word = words.pop(0)
        if word == "--ascii":
            ascii_only = True
        elif word in ("--trigger", "--workspace"):
            if not words:
                raise FluxgymError(f"{word} needs a value", hint=USAGE)
            value = words.pop(0)
            if word == "--trigger":
                trigger = value
            else:
                workspace = Workspace(Path(value).expanduser().absolute())
        elif word.startswith("-") or path is not None:
            raise FluxgymError(f"the app does not take {word!r}", hint=USAGE)
        else:
            path = Path(word).expanduser().absolute()
    if path is not None and workspace is None and looks_like_workspace(path):
        workspace, path = Workspace(path), None  # a fluxgym folder, say: no folder of pictures
    return run(path, trigger=trigger, workspace=workspace, ascii_only=ascii_only)


def show_run(run_shown: RunDirectory, workspace: Workspace) -> None:
    """Show a run live until the user leaves the app. FluxgymError as `run`."""
    run(workspace=workspace, run_dir=run_shown.output_dir)


def run(
    path: Path | None = None,
    *,
    trigger: str | None = None,
    workspace: Workspace | None = None,
    run_dir: Path | None = None,
    ascii_only: bool = False,
) -> ExitCode:
    """Open the app in this terminal until the user leaves it.

    `path` is a folder of pictures or a spec to begin with; `run_dir` the output folder of a run to watch.

    Raises:
        FluxgymError: this is no terminal, `path` does not exist, or the settings cannot be read.
    """
    if not all(stream.isatty() for stream in (sys.stdin, sys.stdout, sys.stderr)):
        raise FluxgymError(
            "the app needs a terminal: its input or output is a file or a pipe",
            hint="Use the commands instead; fluxgym-tui --help lists them.",
        )
    if path is not None and not path.exists():
        raise FluxgymError(f"{path} does not exist", hint="Give a folder of pictures or a spec (.yaml).")
    # Asked first, answered while Textual and all that it brings are imported: no other command pays for that.
    question = None if ascii_only or "NO_COLOR" in os.environ else ask(sys.stdin.fileno(), env=os.environ)
    try:
        from fluxgym_tui.ui.app import FluxgymApp
        from fluxgym_tui.ui.opening import first_screen
    finally:
        graphics = None if question is None else question.answer()
    place = workspace or find_workspace()
    run = None if run_dir is None else RunDirectory(run_dir)
    screen, shown = first_screen(place, path=path, run=run)
    settings_file = settings_path()
    app = FluxgymApp(
        workspace=place,
        screen=screen,
        open_path=path,
        trigger=trigger,
        run=shown,
        ascii_only=ascii_only,
        settings=load_settings(settings_file),
        settings_file=settings_file,
        graphics=graphics,
    )
    app.run()
    return ExitCode(app.return_code or 0)
