"""Flags: every option of the trainer by its own name, and the exact files that a run will have."""

import shlex
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from textual import on, work
from textual.app import ComposeResult
from textual.binding import BindingType
from textual.containers import Vertical
from textual.content import Content
from textual.message import Message
from textual.widgets import Input, Static
from textual.worker import get_current_worker

from fluxgym_tui.backends.builtin import flag_notes
from fluxgym_tui.base.errors import FluxgymError
from fluxgym_tui.base.text import count, terminal_safe
from fluxgym_tui.config.sd_flags import FlagValue
from fluxgym_tui.config.values import Plain, read_words
from fluxgym_tui.ui.actions import Action, bindings
from fluxgym_tui.ui.draft_words import finding_counts
from fluxgym_tui.ui.flag_rows import (
    FlagRow,
    filtered_flags,
    flag_rows,
    flag_words,
    known_options,
    unknown_option,
)
from fluxgym_tui.ui.flag_words import kind_words, read_typed
from fluxgym_tui.ui.messages import ActionFailed
from fluxgym_tui.ui.screens.confirm import ConfirmScreen
from fluxgym_tui.ui.screens.draft_screen import DraftScreen, draft_actions
from fluxgym_tui.ui.screens.flag_dialogs import TYPED_AS, ChooseOne, EditText
from fluxgym_tui.ui.theme import MUTED
from fluxgym_tui.ui.widgets.line_list import LineList

if TYPE_CHECKING:
    from fluxgym_tui.checks.preflight import Preflight
    from fluxgym_tui.ui.screens.run_files import RunFiles

EMPTY = """\
No options yet: {why}.

Once there are pictures (1, Dataset) and settings that can be read (2, Parameters), every option of the
trainer stands here with its value, and where that comes from."""

_NAME_CELLS = 36
_NEED_OPTIONS = ("edit", "reset", "reset_all", "changed_only", "search", "extra", "files", "copy")


def _cells(width: int) -> tuple[int, int]:
    """How wide values and defaults are shown."""
    return (26, 14) if width >= 100 else (15, 9)


@dataclass
class OptionsRead(Message):
    """The rows for the preflight that has this `id`."""

    rows: tuple[FlagRow, ...]
    ready_id: int


@dataclass
class FilesRead(Message):
    """The files of the next run, to be shown."""

    files: "RunFiles"


class FlagsScreen(DraftScreen):
    """The options of the chosen backend."""

    NAME = "flags"
    CSS_PATH = "flags.tcss"
    HELP_TITLE = "Flags"
    HELP_TEXT = (
        "sd-scripts' own options. The value is what the trainer will get, from the VRAM recipe, the base model or\n"
        "you; a dot marks what differs from a new spec, a dash what cannot be set here. Most trainings need none."
    )
    ACTIONS = (
        *draft_actions("flags"),
        Action(id="flags.edit", keys="i", label="change", action="edit",
               help="Change the option under the cursor (enter, too); a switch turns at once."),
        Action(id="flags.reset", keys="x", label="reset", action="reset",
               help="Take the option under the cursor back to its default."),
        Action(id="flags.reset-all", keys="X", label="reset all", action="reset_all", shown=False,
               help="Take all options back to their defaults, extra arguments too; asks first."),
        Action(id="flags.changed", keys="f", label="changed", help="Show only what is changed, or all.",
               action="changed_only"),
        Action(id="flags.search", keys="slash", label="search", help="Show only options with these letters.",
               action="search"),
        Action(id="flags.extra", keys="a", label="extra", action="extra",
               help="Arguments passed on as they are, last, for options that are not listed."),
        Action(id="flags.files", keys="c", label="files", action="files",
               help="The exact train.sh and dataset.toml of the run: read, copy, edit by hand."),
        Action(id="flags.copy", keys="y", label="copy option", action="copy", shown=False,
               help="Copy the option under the cursor, as a command line has it."),
    )  # fmt: skip
    BINDINGS: ClassVar[list[BindingType]] = bindings(ACTIONS)

    def __init__(self) -> None:
        super().__init__()
        self.rows: tuple[FlagRow, ...] = ()
        self.shown: tuple[FlagRow, ...] = ()
        self.words = ""
        self.changed_only = False
        self._read: int | None = None
        self._able: tuple[str | None, str | None] | None = None

    def compose_body(self) -> ComposeResult:
        yield Static("", id="empty", classes="empty", markup=False)
        with Vertical(id="work"):
            yield Static("", id="summary")
            yield Input(placeholder="part of a name; enter keeps, esc leaves", id="search", compact=True)
            yield LineList(id="flags", help_title="The options")
            yield Static("", id="about")

    def on_mount(self) -> None:
        self.query_one("#work").display = False
        self.query_one("#empty").display = False
        self.query_one("#search").display = False
        self.query_one("#flags").focus()

    def show_draft(self) -> None:
        """Show the options as the newest preflight has them."""
        ready = self.draft.ready
        self.query_one("#work").display = ready is not None
        empty = self.query_one("#empty", Static)
        empty.display = ready is None and self.draft.opened
        if ready is None:
            why = self.draft.problem or self.draft.ready_problem or "they are being read"
            empty.update(EMPTY.format(why=terminal_safe(why.rstrip("."), keep="\n")))
            return
        if id(ready) != self._read:
            self._read = id(ready)
            self._read_options(ready)
        self._tell()

    # A worker's description is made of its arguments' words by default: half a second for ten thousand pictures.
    @work(thread=True, exclusive=True, group="options", description="read options", exit_on_error=False)
    def _read_options(self, ready: "Preflight") -> None:
        worker = get_current_worker()
        rows = flag_rows(ready, known_options(ready, self.fluxgym.workspace))
        if not worker.is_cancelled:
            self.post_message(OptionsRead(rows, id(ready)))

    def on_options_read(self, message: OptionsRead) -> None:
        """Show the options."""
        if message.ready_id == self._read:
            self.rows = message.rows
            self._refilter()

    def _refilter(self) -> None:
        name = self.current.name if self.current is not None else None
        self.shown = filtered_flags(self.rows, words=self.words, changed_only=self.changed_only)
        names = [row.name for row in self.shown]
        value, default = _cells(self.size.width)
        heading = Content(f"    {'option':<{_NAME_CELLS}} {'value':<{value}} {'default':<{default}} group")
        cursor = names.index(name) if name in names else 0
        self.query_one("#flags", LineList).show(len(names), self._row, heading=heading, cursor=cursor)
        self._tell()

    @property
    def current(self) -> FlagRow | None:
        """The option under the cursor."""
        cursor = self.query_one("#flags", LineList).cursor
        return self.shown[cursor] if 0 <= cursor < len(self.shown) else None

    def _row(self, number: int, width: int) -> Content:
        row = self.shown[number]
        name = Content(f"--{row.name}").truncate(_NAME_CELLS, ellipsis=True, pad=True)
        value_cells, default_cells = _cells(self.size.width)
        value = Content(terminal_safe(row.words)).truncate(value_cells, ellipsis=True, pad=True)
        default = Content(terminal_safe(flag_words(row.default))).truncate(default_cells, ellipsis=True, pad=True)
        look = MUTED if row.locked else ("bold" if row.changed else "")
        return Content.assemble(
            ("● ", "$primary") if row.changed else ("– " if row.locked else "  "),
            name.stylize(look) if look else name,
            " ",
            value.stylize("bold") if row.changed else value,
            " ",
            default.stylize(MUTED),
            " ",
            (row.group, MUTED),
        ).truncate(width, ellipsis=True)

    def _tell(self) -> None:
        ready, row = self.draft.ready, self.current
        if ready is None:
            return
        changed = sum(one.changed for one in self.rows)
        extra = self.draft.extra_args
        edited = [] if ready.hand is None else [edit.name for edit in ready.hand.edits]
        parts: list[str | Content | tuple[str, str]] = [
            (f" {ready.backend.name}, recipe {ready.spec.training.vram}  ", "bold"),
            f"{len(self.shown):,} of {count(len(self.rows), 'option')}, {changed:,} changed  ",
        ]
        if extra:
            parts.append((f"+ {terminal_safe(extra)}  ", "$primary"))
        if edited:
            parts.append((f"! {' and '.join(edited)} edited by hand: c  ", "$warning"))
        if not self.draft.planned:
            told = terminal_safe(self.draft.problem) if self.draft.problem else "being read anew"
            parts.append((f"! {told}", "$warning"))
        else:
            parts.append(finding_counts(ready.findings))
        self.query_one("#summary", Static).update(Content.assemble(*parts))
        about = self.query_one("#about", Static)
        if not self.rows:
            about.update("The trainer is asked for its options; sd-scripts takes some seconds the first time.")
        elif row is None:
            about.update("No option has these words." if self.words else "Nothing is changed.")
        else:
            about.update(self._about(row, no_effect="train.sh" in edited))
        able = (self.why_not("edit"), self.why_not("reset"))
        if able != self._able:
            self._able = able
            self.refresh_bindings()  # the footer is drawn anew: not for nothing

    def _about(self, row: FlagRow, *, no_effect: bool) -> Content:
        """What the option takes and does, or why it is not set here."""
        first = (terminal_safe(row.locked), "$warning") if row.locked else (kind_words(row), "")
        lines = [Content.assemble((f"--{row.name}: ", "bold"), first)]
        if no_effect:
            lines.append(
                Content.styled("! train.sh is edited by hand: what is set here has no effect; c, x", "$warning")
            )
        if row.help:
            lines.append(Content.styled(terminal_safe(" ".join(row.help.split())), MUTED))
        return Content("\n").join(lines)

    @on(LineList.Moved, "#flags")
    def _moved(self) -> None:
        self._tell()

    # Actions

    def why_not(self, action: str) -> str | None:
        """What cannot be done now, and why."""
        if not self.is_mounted:
            return None
        if action in _NEED_OPTIONS:
            if self.draft.ready is None or not self.rows:
                return "the options are not known yet"
            row = self.current
            if action in ("edit", "reset", "copy") and row is None:
                return "no option is shown"
            if row is not None and action == "edit" and row.locked:
                return terminal_safe(row.locked)
            if row is not None and action == "reset" and not row.changed:
                return "it is at its default"
            if row is not None and action == "reset" and row.locked:
                return terminal_safe(row.locked)
        return super().why_not(action)

    @on(LineList.Chosen, "#flags")
    def _opened(self) -> None:
        reason = self.why_not("edit")
        if reason is None:
            self.action_edit()
        else:
            self.notify(reason, severity="warning")

    def _set(self, name: str, value: FlagValue | None) -> None:
        self.draft.set_flag(name, value)
        self.changed()

    def action_edit(self) -> None:
        """Change the option under the cursor."""
        row = self.current
        if row is None:
            return
        if row.kind == "switch":
            self._set(row.name, row.value is not True)
            return

        def check(text: str) -> str | None:
            try:
                read_typed(row, text)
            except ValueError as error:
                return str(error)
            return None

        def answered(text: str | None) -> None:
            if text is not None:
                self._set(row.name, read_typed(row, text) if text.strip() else None)

        asked: ChooseOne | EditText
        words = "\n".join(text for text in (kind_words(row), terminal_safe(row.help)) if text)
        if row.choices and row.kind not in ("texts", "numbers"):
            asked = ChooseOne(f"--{row.name}", words, row.words, choices=row.choices)
        else:
            typed_as = TYPED_AS.get(row.kind, "text")
            asked = EditText(f"--{row.name}", words, row.words, check=check, typed_as=typed_as, path=row.is_path)
        self.app.push_screen(asked, answered)

    def action_reset(self) -> None:
        """Take the option back."""
        if self.current is not None:
            self._set(self.current.name, None)

    def action_reset_all(self) -> None:
        """Take all back, after a question."""

        def answered(yes: bool | None) -> None:
            if yes:
                self.draft.reset_flags()
                self.changed()

        changed = sum(row.changed for row in self.rows)
        text = "Learning rate, rank, epochs and all others become those of a new spec; extra arguments go, too."
        self.app.push_screen(
            ConfirmScreen(f"Reset {count(changed, 'option')}?", text, do="Reset all", keep="Keep them"), answered
        )

    def action_changed_only(self) -> None:
        """Show the changed ones, or all."""
        self.changed_only = not self.changed_only
        self._refilter()

    def action_search(self) -> None:
        """Type part of a name."""
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
        self.query_one("#flags").focus()

    def action_extra(self) -> None:
        """Edit the extra arguments."""

        known = [row.name for row in self.rows]
        if self.draft.ready is not None and self.draft.ready.backend.name == "builtin":
            known += flag_notes()

        def check(text: str) -> str | None:
            try:
                return unknown_option([str(word) for word in read_words(Plain(text))], known)
            except ValueError as error:
                return str(error)

        def answered(text: str | None) -> None:
            if text is not None:
                self.draft.extra_args = text
                self.changed()

        words = "As on a command line; passed on as they are, after all others. Empty: none."
        asked = EditText("Extra arguments", words, self.draft.extra_args, check=check)
        self.app.push_screen(asked, answered)

    def action_copy(self) -> None:
        """Copy the option as a command line has it."""
        from fluxgym_tui.backends.base import flag_arguments
        from fluxgym_tui.ui.outside import copy_text

        row = self.current
        if row is not None:
            said = [] if row.value is None else flag_arguments({row.name: row.value})
            copy_text(self.fluxgym, shlex.join(said) or f"--{row.name}", f"--{row.name}")

    def action_files(self) -> None:
        """Show the files of the run."""
        if self.draft.ready is not None:
            self._read_files(self.draft.ready)

    @work(thread=True, exclusive=True, group="files", description="read files", exit_on_error=False)
    def _read_files(self, ready: "Preflight") -> None:
        from fluxgym_tui.ui.screens.run_files import read_run_files

        try:
            files = read_run_files(ready, workspace=self.fluxgym.workspace, spec_file=self.draft.file)
        except FluxgymError as error:
            self.post_message(ActionFailed(error.message, error.hint))
        else:
            self.post_message(FilesRead(files))

    def on_files_read(self, message: FilesRead) -> None:
        """Show them, and check anew where they are edited."""
        from fluxgym_tui.ui.screens.run_files import RunFilesScreen

        def answered(changed: bool | None) -> None:
            if changed:
                self.draft.surveyed = None  # it is the same spec, and trains in another way
                self._look()

        if self.is_current:
            self.app.push_screen(RunFilesScreen(message.files), answered)

    def go_back(self) -> None:
        """Leave the search."""
        search = self.query_one("#search", Input)
        search.value = ""
        search.display = False
        self.query_one("#flags").focus()
