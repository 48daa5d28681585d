"""Dataset: the folder's pictures, what is trained of each, and their captions."""

from pathlib import Path
from typing import ClassVar

from textual import on, work
from textual.app import ComposeResult
from textual.binding import BindingType
from textual.containers import Horizontal, Vertical
from textual.content import Content
from textual.widgets import Input, Static, TextArea
from textual.worker import get_current_worker

from fluxgym_tui.base.text import terminal_safe
from fluxgym_tui.ui.actions import bindings
from fluxgym_tui.ui.draft import OpenedDraft
from fluxgym_tui.ui.draft_fields import PATH, TRIGGER
from fluxgym_tui.ui.picture_rows import FILTERS, PictureRow, filtered, picture_rows
from fluxgym_tui.ui.picture_words import about_lines, list_line, row_heading, row_line
from fluxgym_tui.ui.screens.caption_editing import CaptionEditing
from fluxgym_tui.ui.screens.caption_work import RowsReady
from fluxgym_tui.ui.screens.dataset_actions import DATASET_ACTIONS
from fluxgym_tui.ui.widgets.line_list import LineList
from fluxgym_tui.ui.widgets.picture import Picture

EMPTY = """\
Train a FLUX LoRA in three moves: point at the pictures, say what they
show, press start.

  o        choose the folder: 10 to 30 pictures of a person, thing or style
  d        try the bundled example: ten photographs, a tiny base, no GPU
  ctrl+l   open a saved spec, or take over a run's settings

The pictures are never changed. Workspace: {workspace}"""
NOTHING = """\
{problem}

  o   choose another folder"""


class DatasetScreen(CaptionEditing):
    """The pictures of the draft."""

    NAME = "dataset"
    CSS_PATH = "dataset.tcss"
    HELP_TITLE = "Dataset"
    HELP_TEXT = (
        "The pictures of the folder, upright as they will be trained. The preview shows what a crop keeps; the dark\n"
        "part is lost. A caption is a .txt file beside its picture; one without is trained with the trigger."
    )
    ACTIONS = DATASET_ACTIONS
    BINDINGS: ClassVar[list[BindingType]] = bindings(ACTIONS)

    def __init__(self) -> None:
        super().__init__()
        self.filter = FILTERS[0]
        self._editable = True
        self.words = ""
        self._arranged: tuple[int, int, str] | None = None

    @property
    def looks_again(self) -> bool:
        """Pictures and captions may have changed outside."""
        return True

    def compose_body(self) -> ComposeResult:
        yield Static("", id="empty", classes="empty", markup=False)
        with Vertical(id="work"):
            yield Static("", id="folder")
            yield Input(placeholder="words in name or caption; enter keeps, esc leaves", id="search", compact=True)
            with Horizontal(id="middle"):
                yield LineList(id="pictures", help_title="The pictures")
                with Vertical(id="side"):
                    yield Picture(colour=self.fluxgym.in_colour)
            yield Static("", id="about")
            yield Static("", id="caption-title")
            yield TextArea(id="caption", compact=True, soft_wrap=True, tab_behavior="focus", show_line_numbers=False)

    def on_mount(self) -> None:
        self.query_one("#work").display = False
        self.query_one("#search").display = False
        self.query_one("#pictures").focus()
        self._tell_empty()

    # Showing

    def _tell_empty(self) -> None:
        draft, empty = self.draft, self.query_one("#empty", Static)
        has_rows = draft.scan is not None and (bool(draft.scan.images) or bool(draft.scan.rejected))
        self.query_one("#work").display = has_rows
        empty.display = not has_rows
        if not draft.has_folder:
            empty.update(EMPTY.format(workspace=terminal_safe(str(self.fluxgym.workspace.root))))
        elif draft.scan is None:
            empty.update(NOTHING.format(problem=draft.scan_problem or f"Reading {terminal_safe(str(draft.folder))}"))
        elif not has_rows:
            told = f"No picture in {terminal_safe(str(draft.folder))}: png, jpg, jpeg, webp and bmp are trained."
            empty.update(NOTHING.format(problem=told))

    def show_draft(self) -> None:
        """Arrange the rows anew where anything they tell has changed."""
        draft = self.draft
        self._tell_empty()
        if draft.scan is None or draft.folder is None:
            return
        trigger = str(draft.values.get(TRIGGER, "")).strip()
        wanted = (id(draft.scan), id(draft.ready), trigger)
        if wanted != self._arranged:
            self._arranged = wanted
            self._arrange(trigger)

    @work(thread=True, exclusive=True, group="arrange", exit_on_error=False)
    def _arrange(self, trigger: str) -> None:
        worker, draft = get_current_worker(), self.draft
        scan, folder, ready = draft.scan, draft.folder, draft.ready
        if scan is None or folder is None:
            return
        rows = picture_rows(scan, folder=folder, trigger=trigger, plan=ready.plan.plan if ready else None)
        if not worker.is_cancelled:
            self.post_message(RowsReady(rows, id(scan)))

    def on_rows_ready(self, message: RowsReady) -> None:
        """Show the rows."""
        if message.scan_id == id(self.draft.scan):
            self.rows = message.rows
            self._find_convertible()
            self.marked &= {row.file for row in self.rows}
            self._refilter()

    def _refilter(self) -> None:
        self.shown = filtered(self.rows, kind=self.filter, words=self.words, marked=self.marked)
        files = [row.file for row in self.shown]
        cursor = files.index(self._current) if self._current in files else None
        pictures = self.query_one("#pictures", LineList)
        pictures.show(len(files), self._row, heading=row_heading(pictures.size.width), cursor=cursor)
        self._tell_list()
        self._tell_picture()
        self.refresh_bindings()

    def _row(self, number: int, width: int) -> Content:
        row = self.shown[number]
        return row_line(row, width, marked=row.file in self.marked)

    def _tell_list(self) -> None:
        folder = "" if self.draft.folder is None else str(self.draft.folder)
        line = list_line(
            self.rows, len(self.shown), folder=folder, kind=self.filter, words=self.words, marked=len(self.marked)
        )
        self.query_one("#folder", Static).update(line)

    @property
    def current(self) -> PictureRow | None:
        """The picture under the cursor."""
        cursor = self.query_one("#pictures", LineList).cursor
        return self.shown[cursor] if 0 <= cursor < len(self.shown) else None

    def _tell_picture(self) -> None:
        """Preview, facts and caption of the picture under the cursor."""
        row = self.current
        if row is None or row.file != self._current:
            self.flush()
        self._current = None if row is None else row.file
        self.query_one(Picture).show(None if row is None else Path(row.file), kept=None if row is None else row.kept)
        self.query_one("#about", Static).update("" if row is None else Content("\n").join(about_lines(row)))
        editor = self.query_one("#caption", TextArea)
        if row is None or row.image is None:
            self._loaded = None
            editor.load_text("")
            editor.read_only = True
            self.query_one("#caption-title", Static).update("")
        elif self._loaded is None or self._loaded[0] != row.file or not editor.has_focus:
            self.read_caption(row.image)

    @on(LineList.Moved, "#pictures")
    def _moved(self) -> None:
        self._tell_picture()
        editable = self.current is not None and self.current.image is not None
        if editable != self._editable:
            self._editable = editable
            self.refresh_bindings()  # the footer is drawn anew: not for nothing

    def on_descendant_blur(self) -> None:
        """A caption that was left is written, and the keys are the list's again."""
        self.flush()
        self.call_after_refresh(self._focus_list)

    def _focus_list(self) -> None:
        if self.focused is None and self.is_current:
            self.query_one("#pictures").focus()

    # What can be done now

    def why_not(self, action: str) -> str | None:
        """What cannot be done now, and why."""
        if not self.is_mounted:
            return None
        if action in ("choose_folder", "example") and not self.draft.opened:
            return "it is still being opened"
        if action == "undo" and self.history.undoable is None:
            return "no caption was changed"
        if action == "redo" and self.history.redoable is None:
            return "nothing was taken back"
        if action == "trigger" and not str(self.draft.values.get(TRIGGER, "")).strip():
            return "no trigger is set; 2 has its field"
        needs_rows = (
            "edit",
            "editor",
            "missing",
            "bulk",
            "trigger",
            "convert",
            "filter",
            "search",
            "mark",
            "mark_all",
            "preview",
        )
        if action in needs_rows and not self.rows:
            return "there is no picture yet"
        if action in ("edit", "editor") and (self.current is None or self.current.image is None):
            return "this picture is not trained"
        if action == "preview" and self.has_class("-wide"):
            return "there is room for list and picture"
        if action == "convert" and not self._convertible:
            return "all captions are UTF-8"
        return super().why_not(action)

    # Actions

    def action_choose_folder(self) -> None:
        """Choose the folder of pictures."""
        from fluxgym_tui.ui.screens.folder_picker import FolderPicker

        def answered(folder: Path | None) -> None:
            if folder is not None:
                self.use_folder(folder)

        self.app.push_screen(FolderPicker(self.draft.folder or Path.cwd()), answered)

    def use_folder(self, folder: Path) -> None:
        """Train the pictures in `folder`: the present settings where no folder was said, else those saved for it."""
        self.save()
        if self.draft.has_folder:
            self._open(folder)
            return
        from fluxgym_tui.ui.draft_files import new_draft

        begun = new_draft(folder)
        typed = {key: value for key, value in self.draft.values.items() if value != self.draft.defaults.get(key)}
        self.take(OpenedDraft(base=self.draft.base, values={**begun.values, **typed, PATH: str(folder)}, fresh=True))

    def action_example(self) -> None:
        """Open the bundled example."""
        from fluxgym_tui.config.resources import bundled
        from fluxgym_tui.ui.draft_files import clone_spec

        self.save()
        self.take(clone_spec(bundled("examples/demo.yaml"), workspace=self.fluxgym.workspace))

    def action_look(self) -> None:
        """Read the folder anew."""
        self._look(rescan=True)

    @on(LineList.Chosen, "#pictures")
    def _open_row(self) -> None:
        if self.why_not("edit") is None:
            self.action_edit()

    def action_edit(self) -> None:
        """Write the caption of the picture under the cursor."""
        editor = self.query_one("#caption", TextArea)
        editor.focus()
        editor.move_cursor(editor.document.end)

    def action_missing(self, by: int) -> None:
        """To the next picture without a caption, or the one before."""
        pictures = self.query_one("#pictures", LineList)
        order = range(1, len(self.shown) + 1)
        numbers = [(pictures.cursor + by * step) % len(self.shown) for step in order] if self.shown else []
        found = next((number for number in numbers if self.shown[number].caption_state == "missing"), None)
        if found is None:
            self.notify("Every picture shown here has a caption.")
        else:
            pictures.cursor = found

    def action_neighbour(self, by: int) -> None:
        """The picture after this one, or before; the editor keeps the focus."""
        editing = self.query_one("#caption", TextArea).has_focus
        self.query_one("#pictures", LineList).action_move(by)
        if editing:
            self.call_after_refresh(self.action_edit)

    def action_mark(self) -> None:
        """Mark the picture under the cursor, or take its mark away, and go on."""
        if self.current is not None:
            self.marked ^= {self.current.file}
            self.query_one("#pictures", LineList).action_move(1)
            self.query_one("#pictures").refresh()
            self._tell_list()

    def action_mark_all(self) -> None:
        """Mark all that are shown; where all are marked already, none."""
        files = {row.file for row in self.shown}
        self.marked = self.marked - files if files <= self.marked else self.marked | files
        self.query_one("#pictures").refresh()
        self._tell_list()

    def action_filter(self) -> None:
        """The next filter."""
        self.filter = FILTERS[(FILTERS.index(self.filter) + 1) % len(FILTERS)]
        self._refilter()
        self.notify(f"Shown: {self.filter}.", timeout=2)

    def action_search(self) -> None:
        """Type words to look for."""
        search = self.query_one("#search", Input)
        search.display = True
        search.focus()

    @on(Input.Changed, "#search")
    def _searching(self, event: Input.Changed) -> None:
        self.words = event.value.strip()
        self._refilter()

    @on(Input.Submitted, "#search")
    def _searched(self) -> None:
        self.query_one("#search").display = bool(self.words)
        self.query_one("#pictures").focus()

    def action_problems(self) -> None:
        """All that is to be mended, with the keys that do it."""
        from fluxgym_tui.ui.screens.problems import ProblemsScreen

        def answered(path: str | None) -> None:
            files = [row.file for row in self.shown]
            if path in files:
                self.query_one("#pictures", LineList).cursor = files.index(path)

        if self.draft.scan is not None:
            self.app.push_screen(ProblemsScreen(self.rows, self.draft.scan.problems), answered)

    def action_preview(self) -> None:
        """On a narrow terminal: the picture in place of the list, and back."""
        self.toggle_class("-preview")

    def go_back(self) -> None:
        """Leave the search, then the marks, then go back to the list."""
        search = self.query_one("#search", Input)
        if self.words or search.display:
            search.value = ""
            search.display = False
        elif self.marked:
            self.marked.clear()
            self._refilter()
        self.query_one("#pictures").focus()
