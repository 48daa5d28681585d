"""What leaves the app for a moment: text for the clipboard (OSC 52), files opened in the user's own editor."""

import asyncio
import os
import shlex
import shutil
import signal
import subprocess
import tempfile
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING

from textual.app import SuspendNotSupported

from fluxgym_tui.base.text import terminal_safe

if TYPE_CHECKING:
    from fluxgym_tui.ui.app import FluxgymApp

_TMUX_S = 5.0


def copy_text(app: "FluxgymApp", text: str, what: str) -> None:
    """Put `text` on the clipboard of the terminal the user sits at (OSC 52), and say so; `what` names it.

    A byte of a file name that is not UTF-8 is copied as its escape. No terminal answers whether it took the text.
    """
    clean = text.encode("utf-8", "backslashreplace").decode("utf-8")
    app.copy_to_clipboard(clean)
    if "TMUX" in os.environ:  # tmux takes OSC 52 of programs only with `set-clipboard on`, which is not its default
        threading.Thread(target=_copy_by_tmux, args=(clean,), daemon=True).start()
    app.notify(f"Copied {what}, where this terminal takes OSC 52.")


def _copy_by_tmux(text: str) -> None:
    tmux = shutil.which("tmux")
    if tmux is not None:
        with suppress(OSError, subprocess.TimeoutExpired):  # the OSC 52 before it may have done it
            subprocess.run(
                [tmux, "load-buffer", "-w", "-"],
                input=text.encode("utf-8"),
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
                timeout=_TMUX_S,
                check=False,
            )


def editor_command() -> list[str] | None:
    """The user's editor with its arguments, $VISUAL before $EDITOR; None where neither names a program that is here."""
    for name in ("VISUAL", "EDITOR"):
        try:
            words = shlex.split(os.environ.get(name, ""))
        except ValueError:  # an open quote
            continue
        if words and shutil.which(words[0]) is not None:
            return words
    return None


async def edit_file(app: "FluxgymApp", path: Path) -> bool:
    """Open `path` in the user's editor, the app out of the way meanwhile; whether the editor ended well.

    Where there is no editor, or the terminal cannot be lent, that is told and the answer is False.
    """
    command = editor_command()
    if command is None:
        app.notify("No editor is set: export EDITOR=nano (or vim, micro ...) before the app.", severity="warning")
        return False
    try:
        with app.suspend(), _interrupts_left_to_the_editor():
            code = subprocess.run([*command, str(path)], check=False).returncode
    except SuspendNotSupported:
        app.notify("The editor needs a terminal, and this is none.", severity="warning")
        return False
    except OSError as error:
        app.notify(f"{command[0]} cannot be started: {error.strerror}", severity="error")
        return False
    if code != 0:
        app.notify(f"{Path(command[0]).name} ended with exit code {code}.", severity="warning")
    return code == 0


async def read_in_editor(app: "FluxgymApp", path: Path) -> None:
    """Open a read-only copy of `path` in the user's editor: a log that is still written must not be saved over."""
    with tempfile.TemporaryDirectory(prefix="fluxgym-") as folder:
        copy = Path(folder) / path.name
        try:
            await asyncio.to_thread(shutil.copyfile, path, copy)
            copy.chmod(0o400)
        except OSError as error:
            app.notify(f"{terminal_safe(path.name)} cannot be copied: {error.strerror}", severity="error")
            return
        await edit_file(app, copy)


@contextmanager
def _interrupts_left_to_the_editor() -> Iterator[None]:
    """Ctrl+C in an editor is the editor's; a handler, unlike ignoring the signal, is not handed down to it."""
    before = signal.signal(signal.SIGINT, lambda *_: None)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)
