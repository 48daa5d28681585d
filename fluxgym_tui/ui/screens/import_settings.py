"""Takes over the settings of another program: a file is chosen, and what cannot be carried over is shown first."""

import os
from dataclasses import dataclass
from pathlib import Path

from textual import events, on, work
from textual.app import ComposeResult
from textual.containers import Horizontal, Vertical, VerticalScroll
from textual.content import Content
from textual.message import Message
from textual.widgets import Button, Input, Static
from textual.worker import get_current_worker

from fluxgym_tui.base.errors import FluxgymError
from fluxgym_tui.base.findings import Severity
from fluxgym_tui.base.text import count, terminal_safe
from fluxgym_tui.config.importers import PROGRAMS, Imported, import_spec
from fluxgym_tui.config.workspace import Workspace
from fluxgym_tui.ui.draft import OpenedDraft
from fluxgym_tui.ui.draft_files import imported_draft
from fluxgym_tui.ui.draft_words import finding_rows
from fluxgym_tui.ui.messages import ActionFailed
from fluxgym_tui.ui.screens.dialog import Dialog
from fluxgym_tui.ui.theme import MUTED
from fluxgym_tui.ui.widgets.line_list import LineList

_SETTINGS = (".json", ".toml", ".sh")


@dataclass
class _Listed(Message):
    """What lies in `folder`: names of folders, then of files that may be settings; `problem` where it is not known."""

    folder: Path
    folders: tuple[str, ...]
    files: tuple[str, ...]
    problem: str = ""


@dataclass
class _Read(Message):
    """What the file at `path` says."""

    path: Path
    imported: Imported


class ImportScreen(Dialog[OpenedDraft]):
    """Answers with a draft of the file that was chosen, once its notes were seen."""

    def __init__(self, workspace: Workspace, start: Path) -> None:
        super().__init__()
        self._workspace, self._folder = workspace, start
        self._entries: tuple[str, ...] = ()  # folders end in a slash

    def compose(self) -> ComposeResult:
        with Vertical(classes="dialog wide"):
            yield Static("Which settings shall be taken over?", classes="dialog-title")
            yield Static(
                "fluxgym's configs/*.json, training_config.json or train.sh, the kohya_ss GUI's JSON, a config file of "
                "sd-scripts (.toml). The file stays as it is.",
                classes="muted",
                markup=False,
            )
            yield Input(f"{self._folder}{os.sep}", compact=True, id="path")
            yield Static("", id="found", markup=False)
            yield LineList(help_title="Folders and files")
            yield Static("enter opens · down goes to the list · esc closes", classes="muted")

    def on_mount(self) -> None:
        self.query_one("#path").focus()
        self._list(self._folder)

    @work(thread=True, exclusive=True, group="list", exit_on_error=False)
    def _list(self, folder: Path) -> None:
        worker = get_current_worker()
        folders, files, problem = [], [], ""
        try:
            with os.scandir(folder) as entries:
                for entry in entries:
                    if entry.is_dir() and not entry.name.startswith("."):
                        folders.append(f"{entry.name}/")
                    elif entry.name.lower().endswith(_SETTINGS):
                        files.append(entry.name)
        except OSError as error:
            problem = error.strerror or str(error)
        if not worker.is_cancelled:
            self.post_message(_Listed(folder, tuple(sorted(folders)), tuple(sorted(files)), problem))

    def on__listed(self, message: _Listed) -> None:
        """Show the folder."""
        self._folder = message.folder
        told = f"{count(len(message.files), 'file')} that may be settings, {count(len(message.folders), 'folder')}"
        self.query_one("#found", Static).update(f"✗ {message.problem}" if message.problem else told)
        self._entries = ("../", *message.files, *message.folders)
        self.query_one(LineList).show(len(self._entries), self._row, cursor=min(1, len(self._entries) - 1))

    def _row(self, number: int, width: int) -> Content:
        name = self._entries[number]
        return Content.styled(terminal_safe(name), MUTED if name.endswith("/") else "bold").truncate(width)

    @on(Input.Changed)
    def _typed(self, event: Input.Changed) -> None:
        path = Path(event.value.strip() or ".").expanduser().absolute()
        if event.value.endswith(os.sep) or path.is_dir():
            self._list(path)

    def on_key(self, event: events.Key) -> None:
        """Down leaves the path for the list."""
        if event.key == "down" and isinstance(self.focused, Input):
            event.stop()  # the list would take the key, too
            self.query_one(LineList).focus()

    @on(Input.Submitted)
    def _submitted(self, event: Input.Submitted) -> None:
        self._open(Path(event.value.strip() or ".").expanduser().absolute())

    @on(LineList.Chosen)
    def _chosen(self, message: LineList.Chosen) -> None:
        name = self._entries[message.row]
        self._open(self._folder.parent if name == "../" else self._folder / name.rstrip("/"))

    def _open(self, path: Path) -> None:
        if path.is_dir() and not (path / "train.sh").is_file():
            self.query_one("#path", Input).value = f"{path}{os.sep}".replace("//", "/")
            self._list(path)
        else:
            self._import(path)

    @work(thread=True, exclusive=True, group="read", exit_on_error=False)
    def _import(self, path: Path) -> None:
        try:
            self.post_message(_Read(path, import_spec(path)))
        except FluxgymError as error:
            self.app.post_message(ActionFailed(error.message, error.hint))

    def on__read(self, message: _Read) -> None:
        """Show what comes out otherwise; then take it over."""

        def answered(yes: bool | None) -> None:
            if yes:
                note = f"{message.path.name} was taken over."
                self.dismiss(imported_draft(message.imported.spec, workspace=self._workspace, note=note))

        self.app.push_screen(ImportedScreen(message.imported), answered)


class ImportedScreen(Dialog[bool]):
    """What a file says, and what of it comes out otherwise; answers whether it is to be taken over."""

    def __init__(self, imported: Imported) -> None:
        super().__init__()
        self._imported = imported

    def compose(self) -> ComposeResult:
        imported = self._imported
        differs = any(note.severity is Severity.WARNING for note in imported.notes)
        with Vertical(classes="dialog wide"):
            outcome = "not all of it can be carried over" if differs else "all of it is carried over"
            yield Static(f"{PROGRAMS[imported.kind]}: {outcome}", classes="dialog-title", markup=False)
            with VerticalScroll():
                name, path = imported.spec.name, imported.spec.dataset.path
                yield Static(f"name {terminal_safe(name)}, pictures in {terminal_safe(str(path))}", markup=False)
                yield Static("")
                yield Static(Content("\n").join(finding_rows(imported.notes)))
            with Horizontal(classes="dialog-buttons"):
                yield Button("Take it over", id="take", variant="primary")
                yield Button("Leave it", id="leave")

    def on_mount(self) -> None:
        self.query_one("#take").focus()

    def on_button_pressed(self, event: Button.Pressed) -> None:
        """Hand back the answer."""
        self.dismiss(event.button.id == "take")
