"""The exact files of the next run: read, copied, and edited by hand, with what differs from the parameters."""

import difflib
import tempfile
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar, cast

from textual import on
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Vertical
from textual.timer import Timer
from textual.widgets import Static, TextArea

from fluxgym_tui.base.errors import FluxgymError
from fluxgym_tui.base.text import terminal_safe
from fluxgym_tui.checks.by_hand import is_stale, read_hand
from fluxgym_tui.checks.preflight import Preflight
from fluxgym_tui.config.by_hand import NAMES, HandEdits, RunPlaces, discard_edit, hand_edits, keep_edit
from fluxgym_tui.config.workspace import Workspace
from fluxgym_tui.runs.launch import preview_files
from fluxgym_tui.ui.outside import copy_text, edit_file, editor_command
from fluxgym_tui.ui.screens.confirm import ConfirmScreen
from fluxgym_tui.ui.screens.dialog import Dialog

if TYPE_CHECKING:
    from fluxgym_tui.ui.app import FluxgymApp

_KEYS = "n next file · e edits it · d what differs · x back to the parameters · y copies it · esc closes"
WRITE_AFTER_S = 0.8
_EDITING = "esc keeps what you wrote and ends the editing"


@dataclass(frozen=True, kw_only=True)
class RunFiles:
    """What the window shows: the files as the parameters have them for the run at `places`, and the edited ones.

    `spec_file` is where the spec is saved, with edited files beside it; None where it is not saved yet.
    """

    ready: Preflight
    generated: dict[str, str]
    places: RunPlaces
    spec_file: Path | None
    edits: HandEdits

    def text(self, name: str) -> str:
        """The file as the next run would have it."""
        edit = self.edits.get(name)
        return self.generated[name] if edit is None else edit.text_for(self.places, written_for=self.places)


def read_run_files(ready: Preflight, *, workspace: Workspace, spec_file: Path | None) -> RunFiles:
    """What the window shows of the next run. FluxgymError where a file cannot be read."""
    generated, places = preview_files(ready, workspace=workspace)
    edits = hand_edits(spec_file)
    return RunFiles(ready=ready, generated=generated, places=places, spec_file=spec_file, edits=edits)


class RunFilesScreen(Dialog[bool]):
    """Answers whether anything was edited."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("n", "next_file", "next file", tooltip="Show the next file."),
        Binding("e", "edit", "edit", tooltip="Edit the file by hand: in $EDITOR, where that is set, else here."),
        Binding("d", "differences", "what differs", tooltip="Show what differs from the parameters, or the file."),
        Binding("x", "discard", "back", tooltip="Go back to the file as the parameters have it; asks first."),
        Binding("y", "copy", "copy", tooltip="Copy the file to the clipboard of your terminal."),
    ]

    def __init__(self, files: RunFiles) -> None:
        super().__init__()
        self._files = files
        self._at = 0
        self._differences = False
        self._changed = False
        self._editing_here = False
        self._loaded = ""  # what stood in the file when its editing here began
        self._text = ""  # what stands there; it is asked for when the editor is gone already
        self._write_timer: Timer | None = None

    def compose(self) -> ComposeResult:
        with Vertical(classes="dialog wide"):
            yield Static("", id="name", classes="dialog-title", markup=False)
            yield TextArea(read_only=True, compact=True, soft_wrap=True, show_line_numbers=False)
            yield Static("", id="wrong", markup=False)
            yield Static(_KEYS, id="keys", classes="muted", markup=False)

    def on_mount(self) -> None:
        self._show()
        self.query_one(TextArea).focus()

    @property
    def _shown(self) -> str:
        return NAMES[self._at]

    def check_action(self, action: str, parameters: tuple[object, ...]) -> bool | None:
        """While a file is edited here, letters are letters."""
        return action == "leave" or not self._editing_here

    def _show(self) -> None:
        files, name = self._files, self._shown
        edit = files.edits.get(name)
        told = "as the next run will have it"
        if edit is not None:
            # The parameters' own file for the same folders, so that only a change of parameters counts.
            stale = is_stale(edit, places=files.places, generated=files.generated[name])
            told = "! edited by hand" + (" · differs from the parameters, changed since" if stale else "")
        self.query_one("#name", Static).update(f"{name}  {told}  ({self._at + 1}/{len(NAMES)})")
        text = self._difference() if self._differences else files.text(name)
        area = self.query_one(TextArea)
        area.read_only = True
        area.load_text(terminal_safe(text, keep="\n\t"))
        self.query_one("#wrong", Static).update(self._wrong())
        self.query_one("#keys", Static).update(_KEYS)

    def _difference(self) -> str:
        """The edited file against the parameters' own."""
        name = self._shown
        lines = difflib.unified_diff(
            self._files.generated[name].splitlines(),
            self._files.text(name).splitlines(),
            "by the parameters",
            "by hand",
            lineterm="",
        )
        return "\n".join(lines) or f"{name} is as the parameters have it."

    def _wrong(self) -> str:
        """What speaks against the edited files, in the first words."""
        if not self._files.edits:
            return ""
        work = read_hand(self._files.edits, backend=self._files.ready.backend, places=self._files.places)
        names = {edit.path.name: edit.name for edit in self._files.edits}
        found = [one for one in work.findings if one.path and names.get(Path(one.path).name) == self._shown]
        return "".join(f"✗ {terminal_safe(one.title)}" + (f" {one.fix}" if one.fix else "") for one in found[:1])

    def action_next_file(self) -> None:
        """The next file."""
        self._at = (self._at + 1) % len(NAMES)
        self._show()

    def action_differences(self) -> None:
        """What differs from the parameters, or the file again."""
        self._differences = not self._differences
        self._show()

    def action_copy(self) -> None:
        """Copy the file."""
        copy_text(cast("FluxgymApp", self.app), self._files.text(self._shown), self._shown)

    async def action_edit(self) -> None:
        """Edit the file: in the user's own editor, else here."""
        if self._files.spec_file is None:
            self.notify("Nothing is saved yet that the file could lie beside: wait a moment.", severity="warning")
            return
        if editor_command() is None:
            self._differences = False
            self._show()
            area = self.query_one(TextArea)
            area.read_only, self._editing_here = False, True
            area.focus()
            self._loaded = self._text = area.text
            self.query_one("#keys", Static).update(_EDITING)
            return
        before = self._files.text(self._shown)
        with tempfile.TemporaryDirectory(prefix="fluxgym-") as folder:
            copy = Path(folder) / self._shown
            copy.write_text(before, encoding="utf-8")
            await edit_file(cast("FluxgymApp", self.app), copy)
            try:
                text = copy.read_text(encoding="utf-8")
            except (OSError, UnicodeDecodeError) as error:
                self.notify(f"What you wrote cannot be read: {error}", severity="error")
                return
        if self._keep(text):
            self._show()

    @on(TextArea.Changed)
    def _typed(self) -> None:
        """Keep what is written here while it is: a terminal that is closed loses nothing."""
        if self._write_timer is not None:
            self._write_timer.stop()
        if self._editing_here:
            self._text = self.query_one(TextArea).text
            self._write_timer = self.set_timer(WRITE_AFTER_S, self._keep_written)

    def _keep_written(self) -> bool:
        """Keep what stands in the editor, where that was changed; whether it is kept."""
        area = self.query_one(TextArea)
        return area.text == self._loaded or self._keep(area.text)

    def on_unmount(self) -> None:
        """The app ends: what was written last is kept, too."""
        if self._editing_here and self._text != self._loaded:
            self._keep(self._text)

    def _keep(self, text: str) -> bool:
        """Keep an edited text; one that is the parameters' own is none. False where it cannot be, which is told."""
        files, name = self._files, self._shown
        assert files.spec_file is not None
        if text == files.text(name):
            return True
        try:
            if text == files.generated[name]:
                discard_edit(files.spec_file, name)
            else:
                keep_edit(files.spec_file, name, text, made_from=files.generated[name], places=files.places)
        except FluxgymError as error:
            self.notify(str(error), severity="error")
            return False
        self._changed = True
        self._read_again()
        return True

    def _read_again(self) -> None:
        self._files = replace(self._files, edits=hand_edits(self._files.spec_file))

    def action_discard(self) -> None:
        """Go back to the parameters, after a question."""
        name, spec_file = self._shown, self._files.spec_file
        if spec_file is None or self._files.edits.get(name) is None:
            self.notify(f"{name} is as the parameters have it.")
            return

        def answered(yes: bool | None) -> None:
            if yes:
                try:
                    discard_edit(spec_file, name)
                except FluxgymError as error:
                    self.notify(str(error), severity="error")
                self._changed = True
                self._read_again()
                self._show()

        text = "What you wrote into it is gone, then; y copies it before."
        self.app.push_screen(
            ConfirmScreen(f"Take {name} back to the parameters?", text, do="Take it back", keep="Keep mine"), answered
        )

    def action_leave(self) -> None:
        """Keep what is being written, else close."""
        area = self.query_one(TextArea)
        if self._editing_here:
            if self._keep_written():
                self._editing_here = False
                self._show()
                area.focus()
            return
        self.dismiss(self._changed)
