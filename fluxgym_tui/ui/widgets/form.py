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
from textual.widgets import Checkbox, Input, Select, TextArea

from fluxgym_tui.base.text import terminal_safe
from fluxgym_tui.ui.draft import Value
from fluxgym_tui.ui.draft_fields import Field
from fluxgym_tui.ui.theme import MUTED

_LABEL_CELLS = 22
_INPUT_CELLS = 24
_WIDE_CELLS = 30  # for a text


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

    DEFAULT_CSS = f"""
    FieldRow {{ height: 1; }}
    FieldRow.-lines {{ height: 4; }}
    FieldRow Input, FieldRow Select, FieldRow TextArea, FieldRow Checkbox {{
        width: {_INPUT_CELLS}; margin-left: {_LABEL_CELLS};
    }}
    FieldRow .wide-input {{ width: {_WIDE_CELLS}; }}
    FieldRow TextArea {{ height: 4; width: 1fr; margin: 0 1 0 {_LABEL_CELLS}; }}
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

    def __init__(self, field: Field, *, choices: tuple[str, ...] = (), value: Value = "") -> None:
        super().__init__(id=f"field-{field.key.replace('.', '-')}")
        self.field = field
        self._choices = choices or field.choices
        self._note = Content("")
        self._value = value  # as it stands in the control
        self.input = self._input(value)  # what takes the focus
        self.set_class(field.kind == "lines", "-lines")

    def compose(self) -> ComposeResult:
        yield self.input

    def render(self) -> Content:
        """Label and note, drawn here and not as widgets: a form of forty fields is styled in half the time."""
        label = Content(f" {self.field.label}")
        label = label.stylize("bold $primary") if self.has_focus_within else label
        line = label.truncate(_LABEL_CELLS, pad=True)
        if self.field.kind != "lines":
            begin = _LABEL_CELLS + (_WIDE_CELLS if self.field.kind == "text" else _INPUT_CELLS) + 1
            line = Content.assemble(line.truncate(begin, pad=True), self._note)
        return line.truncate(max(0, self.size.width - 1), ellipsis=True)

    def on_descendant_blur(self) -> None:
        """The label of the field that has the focus is bold."""
        self.refresh()

    def on_click(self) -> None:
        """A click on the label goes into the field."""
        self.input.focus()

    def _input(self, value: Value) -> Widget:
        match self.field.kind:
            case "switch":
                return Switch("on" if value is True else "off", value=value is True, compact=True)
            case "choice":
                options = [(choice, choice) for choice in self._choices]
                if value in self._choices:
                    return Choice(options, compact=True, allow_blank=True, prompt="", value=str(value))
                return Choice(options, compact=True, allow_blank=True, prompt="")
            case "lines":
                return Lines(str(value), compact=True, soft_wrap=True, tab_behavior="focus", show_line_numbers=False)
        return Input(str(value), compact=True, classes="wide-input" if self.field.kind == "text" else "")

    def show(self, value: Value, *, note: str, error: str | None) -> None:
        """Show `value` where it is not what stands there already, with a note or what is wrong."""
        control, self._value = self.input, value
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
        if error is not None:
            told = Content.styled(f"✗ {terminal_safe(error)}", "$error")
        else:
            told = Content.styled(note, MUTED)
        if told != self._note:
            self._note = told
            self.refresh()

    def _edited(self, value: Value) -> None:
        """Tell what was typed; a control that tells what it was made with has nothing to say."""
        if value != self._value:
            self._value = value
            self.post_message(self.Edited(self.field.key, value))

    def on_descendant_focus(self, event: events.DescendantFocus) -> None:
        """Tell which field it is, for the help line."""
        self.refresh()
        self.post_message(self.Entered(self.field))

    @on(Input.Submitted)
    def _submitted(self, event: Input.Submitted) -> None:
        event.stop()
        self.screen.focus_next()

    @on(Input.Changed)
    def _typed(self, event: Input.Changed) -> None:
        event.stop()
        self._edited(event.value)

    @on(TextArea.Changed)
    def _written(self, event: TextArea.Changed) -> None:
        event.stop()
        self._edited(event.text_area.text)

    @on(Checkbox.Changed)
    def _switched(self, event: Checkbox.Changed) -> None:
        event.stop()
        self._edited(event.value)

    @on(Select.Changed)
    def _chosen(self, event: Select.Changed) -> None:
        event.stop()
        if isinstance(event.value, str):
            self._edited(event.value)
