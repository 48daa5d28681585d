"""Parameters: the settings as a form, checked as one types, with what they come to beside them."""

from pathlib import Path
from typing import ClassVar

from textual import on
from textual.app import ComposeResult
from textual.binding import BindingType
from textual.containers import Horizontal, Vertical
from textual.content import Content
from textual.widgets import Static

from fluxgym_tui.base.text import terminal_safe
from fluxgym_tui.config.bucket_modes import buckets_off, buckets_on, resolution_of
from fluxgym_tui.ui.actions import Action, bindings
from fluxgym_tui.ui.draft import OpenedDraft, Value
from fluxgym_tui.ui.draft_fields import FIELD, FIELDS, HEIGHT, NAME, WIDTH, Field
from fluxgym_tui.ui.draft_words import totals, totals_in_short
from fluxgym_tui.ui.screens.draft_screen import DraftScreen, draft_actions
from fluxgym_tui.ui.theme import MUTED
from fluxgym_tui.ui.widgets.form import FieldRow, Form

EMPTY = """\
No folder of pictures is chosen yet: 1 (Dataset), then o. The form below is
good for most trainings already; name and trigger are what is yours."""


class ParametersScreen(DraftScreen):
    """The form; each field is a key of the spec."""

    NAME = "parameters"
    CSS_PATH = "parameters.tcss"
    AUTO_FOCUS = ""  # a field that has the focus keeps the digits; whoever comes here may want to go on
    HELP_TITLE = "Parameters"
    HELP_TEXT = (
        "Every setting of the training. Everything typed is kept at once; a valid form is a spec in the\n"
        "workspace's configs folder, the same file that the commands take."
    )
    ACTIONS = (
        *draft_actions("parameters"),
        Action(id="parameters.buckets", keys="f2,b", label="buckets on/off", action="buckets",
               help="Each picture keeps its shape, or all are cut to one: sets the fields that belong together."),
        Action(id="parameters.undo", keys="f3,u", label="undo", help="Take back the last change of several fields.",
               action="undo"),
        Action(id="parameters.more", keys="f4,m", label="all settings", help="Show or hide the settings few change.",
               action="more"),
        Action(id="parameters.import", keys="f5,i", label="import", action="import",
               help="Take over settings of fluxgym, the kohya_ss GUI or sd-scripts; what cannot be carried is shown."),
        Action(id="parameters.next", keys="down", label="next field", help="Go to the next field.",
               action="field(1)", shown=False),
        Action(id="parameters.previous", keys="up", label="field before", help="Go to the field before.",
               action="field(-1)", shown=False),
    )  # fmt: skip
    BINDINGS: ClassVar[list[BindingType]] = bindings(ACTIONS)

    def __init__(self) -> None:
        super().__init__()
        self._built = False
        self._rest_built = False

    def compose_body(self) -> ComposeResult:
        with Horizontal(id="middle"):
            with Form(id="form", can_focus=False):
                yield Static("", id="empty", markup=False)
                with Vertical(id="first"):
                    if self.draft.opened:
                        self._built = True
                        yield from self._rows(first=True)
                yield Static("", id="fold")
                yield Vertical(id="rest")
            yield Static("", id="totals")
        yield Static("", id="about")

    def on_mount(self) -> None:
        self.query_one("#rest").display = False
        self._about(None)

    def on_resize(self) -> None:
        """The totals have another form on a narrow terminal."""
        self.show_draft()

    def _rows(self, *, first: bool) -> list[FieldRow]:
        draft = self.draft
        return [
            FieldRow(item, choices=draft.choices.get(item.key, ()), value=draft.values.get(item.key, ""))
            for item in FIELDS
            if item.first is first
        ]

    def show_draft(self) -> None:
        """Show what stands in the draft."""
        if not self.draft.opened:
            return
        if not self._built:
            self._built = True
            self.call_later(self._build, "#first", first=True)
            return
        empty = self.query_one("#empty", Static)
        empty.display = not self.draft.has_folder
        if empty.display:
            empty.update(EMPTY)
        for row in self.query(FieldRow):
            row.show(
                self.draft.values.get(row.field.key, ""),
                note=self._note(row.field),
                error=self.draft.errors.get(row.field.key),
            )
        self.query_one("#totals", Static).update(Content("\n").join(self._totals()))
        arrow = "▾" if self.query_one("#rest").display else "▸"
        number = sum(not item.first for item in FIELDS)
        self.query_one("#fold", Static).update(
            Content.assemble((f" {arrow} f4 ", "bold"), f"{number} more settings", (self._said(), MUTED))
        )

    async def _build(self, place: str, *, first: bool) -> None:
        await self.query_one(place).mount(*self._rows(first=first))
        self.show_draft()

    def _said(self) -> str:
        """How many of the folded settings are not at their default."""
        changed = sum(
            not item.first and self.draft.values.get(item.key) != self.draft.defaults.get(item.key) for item in FIELDS
        )
        return f", {changed} changed" if changed else ", all at their defaults"

    def _totals(self) -> list[Content]:
        narrow = self.has_class("-narrow")
        lines = totals_in_short(self.draft) if narrow else totals(self.draft)
        on = self.draft.values.get("dataset.enable_bucket") is True
        if not narrow:
            lines.append(Content.assemble((f"{'buckets':<10}", MUTED), "on" if on else "off", ("  f2 switches", MUTED)))
        if self.draft.held:
            lines.append(Content.styled(f"! not saved: {terminal_safe(self.draft.held)}; ctrl+s", "$warning"))
        elif self.draft.file is not None and not narrow:
            lines.append(Content.assemble((f"{'saved in':<10}", MUTED), terminal_safe(self.draft.file.name)))
        return lines

    def _note(self, item: Field) -> str:
        if item.key == NAME and self.draft.spec is not None:
            return f"→ {self.draft.spec.output_name}"
        default = self.draft.defaults.get(item.key, "")
        if isinstance(default, bool):
            words = "default on" if default else "default off"
        else:
            words = f"default {default}" if default and item.kind != "lines" else ""
        return "  ".join(part for part in (item.unit, words) if part)

    def _about(self, item: Field | None) -> None:
        """The help line below the form."""
        if item is None:
            text = Content.styled("tab or down goes into the form, esc leaves a field; the keys below work then", MUTED)
        else:
            flag = f"  --{item.flag}" if item.flag else ""
            text = Content.assemble((f"{item.label}: ", "bold"), item.help, (flag, MUTED))
        self.query_one("#about", Static).update(text)

    @property
    def settled(self) -> bool:
        """Whether the name is not being typed: each letter would make another file."""
        rows = self.query(f"#field-{NAME}")
        return not any(row.has_focus_within for row in rows)

    @on(FieldRow.Entered)
    def _entered(self, message: FieldRow.Entered) -> None:
        self._about(message.field)
        if message.field.key != NAME and self.draft.version != self.draft.saved_version:
            self.save_soon()

    @on(FieldRow.Edited)
    def _edited(self, message: FieldRow.Edited) -> None:
        if self.draft.values.get(message.key) != message.value:
            self.draft.set(message.key, message.value)
            self.changed()

    def on_descendant_blur(self) -> None:
        """A name that was left is a name: its file may be written."""
        if self.draft.opened:
            self.save_soon()
        if self.focused is None:
            self._about(None)

    # Actions

    def why_not(self, action: str) -> str | None:
        """What cannot be done now."""
        if action == "undo" and self.draft.undoable is None:
            return "no change of several fields was made"
        if action in ("buckets", "more", "import") and not self.draft.opened:
            return "it is still being opened"
        if action == "buckets" and self._resolution() is None:
            return "the resolution is no number"
        return super().why_not(action)

    def _resolution(self) -> tuple[int, int] | None:
        values = self.draft.values
        try:
            return resolution_of({"width": str(values.get(WIDTH, "")), "height": str(values.get(HEIGHT, ""))})
        except ValueError:
            return None

    def action_buckets(self) -> None:
        """Switch between the two modes."""
        resolution = self._resolution()
        if resolution is None:
            return
        on = self.draft.values.get("dataset.enable_bucket") is not True
        mode = buckets_on(resolution) if on else buckets_off(resolution)
        changes: dict[str, Value] = {
            f"dataset.{name}": value if isinstance(value, bool) else str(value) for name, value in mode.items()
        }
        what = "buckets on" if on else "buckets off"
        if self.draft.set_many(changes, what=what):
            words = ", ".join(f"{FIELD[key].label} {_word(value)}" for key, value in changes.items())
            self.notify(f"{words}. f3 takes it back.", title=what)
            self.changed()

    def action_undo(self) -> None:
        """Take the last switch back."""
        what = self.draft.undoable
        if what is not None:
            self.draft.undo()
            self.notify(f"{what} is taken back.")
            self.changed()

    def action_import(self) -> None:
        """Choose a file of another program, and go on with its settings."""
        from fluxgym_tui.ui.screens.import_settings import ImportScreen

        def answered(opened: OpenedDraft | None) -> None:
            if opened is not None:
                self.take(opened)

        self.save()
        root = self.fluxgym.workspace.root
        start = next((place for place in (root, *root.parents) if place.is_dir()), Path.cwd())
        self.app.push_screen(ImportScreen(self.fluxgym.workspace, start), answered)

    async def action_more(self) -> None:
        """Fold or unfold."""
        rest = self.query_one("#rest")
        if not self._rest_built:
            self._rest_built = True
            await self._build("#rest", first=False)
        rest.display = not rest.display
        self.show_draft()
        if rest.display:
            self.call_after_refresh(rest.query(FieldRow).first().input.focus)
        elif self.focused is not None and rest in self.focused.ancestors:
            self.set_focus(None)

    def action_field(self, by: int) -> None:
        """To the next field, or the one before; into the form where none has the focus."""
        if by > 0:
            self.focus_next("Input, Checkbox, Select, TextArea")
        else:
            self.focus_previous("Input, Checkbox, Select, TextArea")

    def go_back(self) -> None:
        """Leave a field that keeps no keys of its own."""
        self.set_focus(None)
        self._about(None)


def _word(value: Value) -> str:
    return ("on" if value else "off") if isinstance(value, bool) else value
