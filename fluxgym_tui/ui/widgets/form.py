"""Fields of a form: label, input, and beside it the unit, the default or what is wrong."""

from dataclasses import dataclass
from typing import ClassVar

from textual import events, on
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Horizontal, VerticalScroll
from textual.content import Content
from textual.message import Message
from textual.widget import Widget
from textual.widgets import Checkbox, Input, Select, Static, TextArea

from fluxgym_tui.base.text import terminal_safe
from fluxgym_tui.ui.draft import Value
from fluxgym_tui.ui.draft_fields import Field
from fluxgym_tui.ui.theme import MUTED


class Form(VerticalScroll, inherit_bindings=False):
    """Scrolls with the focus; up and down are the fields' own."""


class Choice(Select[str], inherit_bindings=False):
    """A choice that up and down leave; enter opens it."""

    BINDINGS: ClassVar[list[BindingType]] = [Binding("enter,space", "show_overlay", "choose", show=False)]


class Switch(Checkbox):
    """On or off, by word and mark."""

    def watch_value(self) -> None:
        """The word says what the mark shows."""
        self.label = Content("on" if self.value else "off")
        super().watch_value()


class Lines(TextArea):
    """A few lines of text that up and down leave at its ends."""

    def action_cursor_down(self, select: bool = False) -> None:
        """To the next line, else to the next field."""
        if self.cursor_at_last_line and not select:
            self.screen.focus_next()
        else:
            super().action_cursor_down(select)

    def action_cursor_up(self, select: bool = False) -> None:
        """To the line before, else to the field before."""
        if self.cursor_at_first_line and not select:
            self.screen.focus_previous()
        else:
            super().action_cursor_up(select)


class FieldRow(Horizontal):
    """One field of the form."""

    DEFAULT_CSS = """
    FieldRow { height: 1; }
    FieldRow.-lines { height: 4; }
    FieldRow .label { width: 22; padding: 0 1; color: $foreground; }
    FieldRow .note { width: 1fr; padding: 0 1; color: $foreground 60%; }
    FieldRow Input, FieldRow Select, FieldRow TextArea { width: 24; }
    FieldRow .wide-input { width: 30; }
    FieldRow TextArea { height: 4; width: 1fr; margin-right: 1; }
    FieldRow Checkbox { width: 24; }
    FieldRow:focus-within .label { text-style: bold; color: $primary; }
    FieldRow.-wrong .note { color: $error; }
    """

    @dataclass
    class Edited(Message):
        """The user typed or chose."""

        key: str
        value: Value

    @dataclass
    class Entered(Message):
        """The field got the focus."""

        field: Field

    def __init__(self, field: Field, *, choices: tuple[str, ...] = ()) -> None:
        super().__init__(id=f"field-{field.key.replace('.', '-')}")
        self.field = field
        self._choices = choices or field.choices
        self._note: Content | None = None
        self._beside = Static("", classes="note", markup=False)
        self.input = self._input()  # what takes the focus
        self.set_class(field.kind == "lines", "-lines")

    def compose(self) -> ComposeResult:
        yield Static(self.field.label, classes="label", markup=False)
        yield self.input
        if self.field.kind != "lines":
            yield self._beside

    def _input(self) -> Widget:
        match self.field.kind:
            case "switch":
                return Switch("off", compact=True)
            case "choice":
                return Choice([(choice, choice) for choice in self._choices], compact=True, allow_blank=True, prompt="")
            case "lines":
                return Lines(compact=True, soft_wrap=True, tab_behavior="focus", show_line_numbers=False)
        return Input(compact=True, classes="wide-input" if self.field.kind == "text" else "")

    def show(self, value: Value, *, note: str, error: str | None) -> None:
        """Show `value` where it is not what stands there already, with a note or what is wrong."""
        control = self.input
        with self.prevent(Input.Changed, Checkbox.Changed, Select.Changed, TextArea.Changed):
            if isinstance(control, Checkbox):
                control.value = value is True
            elif isinstance(control, Select):
                known = value in self._choices
                if known and control.value != value:
                    control.value = value
            elif isinstance(control, TextArea):
                if control.text != value:
                    control.load_text(str(value))
            elif isinstance(control, Input) and control.value != value:
                control.value = str(value)
        self.set_class(error is not None, "-wrong")
        told = Content(f"✗ {terminal_safe(error)}") if error is not None else Content.styled(note, MUTED)
        if told != self._note:
            self._note = told
            self._beside.update(told)

    def on_descendant_focus(self, event: events.DescendantFocus) -> None:
        """Tell which field it is, for the help line."""
        self.post_message(self.Entered(self.field))

    @on(Input.Submitted)
    def _submitted(self, event: Input.Submitted) -> None:
        event.stop()
        self.screen.focus_next()

    @on(Input.Changed)
    def _typed(self, event: Input.Changed) -> None:
        event.stop()
        self.post_message(self.Edited(self.field.key, event.value))

    @on(TextArea.Changed)
    def _written(self, event: TextArea.Changed) -> None:
        event.stop()
        self.post_message(self.Edited(self.field.key, event.text_area.text))

    @on(Checkbox.Changed)
    def _switched(self, event: Checkbox.Changed) -> None:
        event.stop()
        self.post_message(self.Edited(self.field.key, event.value))

    @on(Select.Changed)
    def _chosen(self, event: Select.Changed) -> None:
        event.stop()
        if isinstance(event.value, str):
            self.post_message(self.Edited(self.field.key, event.value))
