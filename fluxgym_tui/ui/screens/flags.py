"""Flags: every option of the trainer by its own name, and the exact files that a run will have."""

from typing import ClassVar

from textual import on
from textual.app import ComposeResult
from textual.binding import BindingType
from textual.containers import Vertical
from textual.content import Content
from textual.widgets import Input, Static

from fluxgym_tui.base.text import count, terminal_safe
from fluxgym_tui.config.sd_flags import FlagValue, read_flag
from fluxgym_tui.config.values import Plain, read_words
from fluxgym_tui.ui.actions import Action, bindings
from fluxgym_tui.ui.draft_words import finding_counts
from fluxgym_tui.ui.flag_rows import FlagRow, filtered_flags, flag_rows, flag_words
from fluxgym_tui.ui.screens.confirm import ConfirmScreen
from fluxgym_tui.ui.screens.draft_screen import DraftScreen, draft_actions
from fluxgym_tui.ui.screens.flag_dialogs import EditText, FilesScreen
from fluxgym_tui.ui.theme import MUTED
from fluxgym_tui.ui.widgets.line_list import LineList

EMPTY = """\
No options yet: {why}.

Once there are pictures (1, Dataset) and settings that can be read (2, Parameters), every option of the
trainer stands here with its value, and where that comes from."""

_NAME_CELLS = 36


def _cells(width: int) -> tuple[int, int]:
    """How wide values and defaults are shown."""
    return (26, 14) if width >= 100 else (15, 9)


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
               help="The exact train.sh and dataset.toml of the run; y copies."),
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
            self.rows = flag_rows(ready)
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
        parts: list[str | Content | tuple[str, str]] = [
            (f" {ready.backend.name}, recipe {ready.spec.training.vram}  ", "bold"),
            f"{len(self.shown):,} of {count(len(self.rows), 'option')}, {changed:,} changed  ",
        ]
        if extra:
            parts.append((f"+ {terminal_safe(extra)}  ", "$primary"))
        if not self.draft.planned:
            told = terminal_safe(self.draft.problem) if self.draft.problem else "being read anew"
            parts.append((f"! {told}", "$warning"))
        else:
            parts.append(finding_counts(ready.findings))
        self.query_one("#summary", Static).update(Content.assemble(*parts))
        about = self.query_one("#about", Static)
        if row is None:
            about.update("No option has these letters." if self.words else "Nothing is changed.")
        elif row.locked:
            about.update(Content.assemble((f"--{row.name}: ", "bold"), (terminal_safe(row.locked), "$warning")))
        else:
            about.update(Content.assemble((f"--{row.name}: ", "bold"), _kind_words(row)))
        able = (self.why_not("edit"), self.why_not("reset"))
        if able != self._able:
            self._able = able
            self.refresh_bindings()  # the footer is drawn anew: not for nothing

    @on(LineList.Moved, "#flags")
    def _moved(self) -> None:
        self._tell()

    # Actions

    def why_not(self, action: str) -> str | None:
        """What cannot be done now, and why."""
        if not self.is_mounted:
            return None
        if action in ("edit", "reset", "reset_all", "changed_only", "search", "extra", "files"):
            if self.draft.ready is None:
                return "the options are not known yet"
            row = self.current
            if action in ("edit", "reset") and row is None:
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
                _read(row, text)
            except ValueError as error:
                return str(error)
            return None

        def answered(text: str | None) -> None:
            if text is not None:
                self._set(row.name, _read(row, text) if text.strip() else None)

        asked = EditText(f"--{row.name}", _kind_words(row), row.words, choices=row.choices, check=check)
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

        def check(text: str) -> str | None:
            try:
                read_words(Plain(text))
            except ValueError as error:
                return str(error)
            return None

        def answered(text: str | None) -> None:
            if text is not None:
                self.draft.extra_args = text
                self.changed()

        words = "As on a command line; passed on as they are, after all others. Empty: none."
        asked = EditText("Extra arguments", words, self.draft.extra_args, choices=(), check=check)
        self.app.push_screen(asked, answered)

    def action_files(self) -> None:
        """Show the files of the run."""
        from fluxgym_tui.runs.launch import preview_files

        if self.draft.ready is not None:
            self.app.push_screen(FilesScreen(preview_files(self.draft.ready, workspace=self.fluxgym.workspace)))

    def go_back(self) -> None:
        """Leave the search."""
        search = self.query_one("#search", Input)
        search.value = ""
        search.display = False
        self.query_one("#flags").focus()


_KINDS = {
    "switch": "on or off",
    "whole": "a whole number",
    "number": "a number",
    "whole_or_number": "a whole number, or a share below 1",
    "texts": "words, as on a command line",
    "numbers": "numbers with spaces between",
    "text": "a text",
}


def _kind_words(row: FlagRow) -> str:
    what = f"one of {', '.join(row.choices)}" if row.choices else _KINDS[row.kind]
    default = flag_words(row.default)
    return f"{what}; " + (f"by default {terminal_safe(default)}" if default else "not given by default")


def _read(row: FlagRow, text: str) -> FlagValue:
    """What was typed, as the option takes it; ValueError where it does not."""
    if not text.strip():
        return False
    if row.kind in ("texts", "numbers"):
        return read_flag(row.name, tuple(Plain(word) for word in read_words(Plain(text))))
    return read_flag(row.name, Plain(text.strip()))
