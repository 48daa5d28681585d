"""Dataset: the folder's pictures, what is trained of each, and their captions."""

from pathlib import Path
from typing import ClassVar

from textual import on
from textual.app import ComposeResult
from textual.binding import BindingType
from textual.containers import Horizontal, Vertical
from textual.content import Content
from textual.widgets import Input, Static, TextArea

from fluxgym_tui.base.text import terminal_safe
from fluxgym_tui.ui.actions import bindings
from fluxgym_tui.ui.draft import OpenedDraft
from fluxgym_tui.ui.draft_fields import PATH, TRIGGER
from fluxgym_tui.ui.picture_rows import PictureRow, problems_of
from fluxgym_tui.ui.picture_words import about_lines
from fluxgym_tui.ui.screens.auto_captions import AutoCaptions
from fluxgym_tui.ui.screens.dataset_actions import DATASET_ACTIONS, NEEDS_PICTURES
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


class DatasetScreen(AutoCaptions):
    """The pictures of the draft."""

    NAME = "dataset"
    CSS_PATH = "dataset.tcss"
    HELP_TITLE = "Dataset"
    HELP_TEXT = (
        "The pictures, upright as they will be trained. The preview shows what a crop keeps; the dark part is lost.\n"
        "A caption is a .txt file beside its picture; one without is trained with the trigger. In the list ! marks\n"
        "what is to be mended, and a turning arrow a picture that its EXIF orientation turns."
    )
    ACTIONS = DATASET_ACTIONS
    BINDINGS: ClassVar[list[BindingType]] = bindings(ACTIONS)

    def __init__(self) -> None:
        super().__init__()
        self._editable = True

    @property
    def looks_again(self) -> bool:
        """Pictures and captions may have changed outside."""
        return True

    def compose_body(self) -> ComposeResult:
        yield Static("", id="empty", classes="empty", markup=False)
        with Vertical(id="work"):
            yield Static("", id="folder")
            yield Static("", id="captioning", markup=False)
            yield Input(placeholder="words in name or caption; enter keeps, esc leaves", id="search", compact=True)
            with Horizontal(id="middle"):
                yield LineList(id="pictures", help_title="The pictures")
                with Vertical(id="side"):
                    yield Picture(colour=self.fluxgym.in_colour, graphics=self.fluxgym.graphics)
            yield Static("", id="about")
            yield Static("", id="caption-title")
            yield TextArea(id="caption", compact=True, soft_wrap=True, tab_behavior="focus", show_line_numbers=False)

    def on_mount(self) -> None:
        self.query_one("#work").display = False
        self.query_one("#search").display = False
        self.query_one("#pictures").focus()
        self.follow_captioning()
        self._tell_empty()

    # Showing

    def _tell_empty(self) -> None:
        draft, empty = self.draft, self.query_one("#empty", Static)
        has_rows = draft.scan is not None and any(one.images or one.rejected for one in draft.scans.values())
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
        """Build the rows anew where anything they tell has changed."""
        self._tell_empty()
        if self.draft.scan is not None:
            self.build_rows()
            self._tell_about()

    def tell_picture(self) -> None:
        """Preview, facts and caption of the picture under the cursor."""
        row = self.current
        if row is None or row.file != self._current:
            self.flush()
        self._current = None if row is None else row.file
        self.query_one(Picture).show(None if row is None else Path(row.file), kept=None if row is None else row.kept)
        self._tell_about()
        editor = self.query_one("#caption", TextArea)
        if row is None or row.image is None:
            self._loaded = None
            editor.load_text("")
            editor.read_only = True
            self.query_one("#caption-title", Static).update("")
        elif self._loaded is None or self._loaded[0] != row.file or not editor.has_focus:
            self.read_caption(row.image)

    def _tell_about(self) -> None:
        row = self.current
        self.query_one("#about", Static).update("" if row is None else Content("\n").join(self._about(row)))

    def _about(self, row: PictureRow) -> list[Content]:
        several = len(self.sources) > 1
        why = self.draft.ready_problem or (self.draft.problem if self.draft.spec is None else "")
        return about_lines(row, source=self.sources[row.source] if several else None, no_plan=why)

    @on(LineList.Moved, "#pictures")
    def _moved(self) -> None:
        self.tell_picture()
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
        if action == "subset" and len(self.sources) < 2:
            return "the spec has one folder"
        if action in NEEDS_PICTURES and not self.rows:
            return "there is no picture yet"
        if action in ("edit", "editor") and (self.current is None or self.current.image is None):
            return "this picture is not trained"
        if action == "copy_caption" and not self._text:
            return "there is no caption"
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

    def action_problems(self) -> None:
        """All that is to be mended, with the keys that do it."""
        from fluxgym_tui.ui.screens.problems import ProblemsScreen

        scans = [self.draft.scans[one.folder] for one in self.sources if one.folder in self.draft.scans]
        self.app.push_screen(ProblemsScreen(self.rows, problems_of(self.rows, scans)), self._mend)

    def _mend(self, answer: tuple[str, str | None] | None) -> None:
        """Go to the picture that a problem is about, and do what mends it."""
        if answer is None:
            return
        action, file = answer
        if file is not None:
            self.go_to(file)
        if action:
            self.call_after_refresh(self.run_action, action)

    def action_preview(self) -> None:
        """On a narrow terminal: the picture in place of the list, and back."""
        self.toggle_class("-preview")
