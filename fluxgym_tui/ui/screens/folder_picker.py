"""Chooses the folder of pictures: a path to type, and the folders below it to walk through."""

import os
from dataclasses import dataclass
from pathlib import Path

from textual import on, work
from textual.app import ComposeResult
from textual.containers import Horizontal, Vertical
from textual.content import Content
from textual.message import Message
from textual.widgets import Button, Input, Static
from textual.worker import get_current_worker

from fluxgym_tui.base.text import count, terminal_safe
from fluxgym_tui.ui.paths import PathSuggester
from fluxgym_tui.ui.screens.dialog import Dialog
from fluxgym_tui.ui.widgets.line_list import LineList

_PICTURES = (".png", ".jpg", ".jpeg", ".webp", ".bmp")


@dataclass
class _Listed(Message):
    """What lies in `folder`; `problem` says why nothing is known."""

    folder: Path
    folders: tuple[str, ...]
    pictures: int
    problem: str = ""


class FolderPicker(Dialog[Path]):
    """Answers with a folder."""

    def __init__(self, start: Path) -> None:
        super().__init__()
        self._folder = start
        self._folders: tuple[str, ...] = ()
        self._shown: tuple[str, ...] = ()

    def compose(self) -> ComposeResult:
        with Vertical(classes="dialog wide"):
            yield Static("Which folder holds the pictures?", classes="dialog-title")
            yield Input(str(self._folder), compact=True, id="path", suggester=PathSuggester(folders=True))
            yield Static("", id="found", markup=False)
            yield LineList(id="folders", help_title="The folders in it")
            with Horizontal(classes="dialog-buttons"):
                yield Button("Use this folder", id="use", variant="primary")
                yield Button("Cancel", id="cancel")
            yield Static(
                "enter uses the path, right completes it; down goes to the folders, enter opens one", classes="muted"
            )

    def on_mount(self) -> None:
        self.query_one("#path").focus()
        self._list(self._folder)

    @work(thread=True, exclusive=True, exit_on_error=False)
    def _list(self, folder: Path) -> None:
        worker = get_current_worker()
        folders, pictures, problem = [], 0, ""
        try:
            with os.scandir(folder) as entries:
                for entry in entries:
                    if entry.name.startswith("."):
                        continue
                    if entry.is_dir():
                        folders.append(entry.name)
                    elif entry.name.lower().endswith(_PICTURES):
                        pictures += 1
        except OSError as error:
            problem = error.strerror or str(error)
        if not worker.is_cancelled:
            self.post_message(_Listed(folder, tuple(sorted(folders)), pictures, problem))

    def on__listed(self, message: _Listed) -> None:
        """Show the folder's folders."""
        self._folder, self._folders = message.folder, message.folders
        if message.problem:
            told = f"✗ {message.problem}"
        else:
            told = f"{count(message.pictures, 'picture')} here, {count(len(message.folders), 'folder')} below"
        self.query_one("#found", Static).update(told)
        self.query_one("#use", Button).disabled = bool(message.problem)
        self._shown = ("..", *self._folders)
        self.query_one(LineList).show(len(self._shown), self._row, cursor=0)

    def _row(self, number: int, width: int) -> Content:
        return Content(f"{terminal_safe(self._shown[number])}/").truncate(width)

    @on(Input.Changed)
    def _typed(self, event: Input.Changed) -> None:
        text = event.value.strip()
        if text:
            self._list(Path(text).expanduser().absolute())

    @on(Input.Submitted)
    def _submitted(self) -> None:
        self._use()

    def on_key(self, event: object) -> None:
        """Down leaves the path for the list."""
        if getattr(event, "key", "") == "down" and isinstance(self.focused, Input):
            self.query_one(LineList).focus()

    @on(LineList.Chosen)
    def _opened(self, message: LineList.Chosen) -> None:
        name = self._shown[message.row]
        folder = self._folder.parent if name == ".." else self._folder / name
        self.query_one("#path", Input).value = str(folder)
        self._list(folder)

    @on(Button.Pressed)
    def _pressed(self, event: Button.Pressed) -> None:
        if event.button.id == "use":
            self._use()
        else:
            self.dismiss(None)

    def _use(self) -> None:
        folder = Path(self.query_one("#path", Input).value.strip() or ".").expanduser().absolute()
        if folder.is_dir():
            self.dismiss(folder)
        else:
            self.notify(f"{folder} is no folder.", severity="warning")
