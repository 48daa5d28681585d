"""The loss over the steps: raw and smoothed, marks of epochs and checkpoints, zoom, linear or logarithmic."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

from rich.segment import Segment
from rich.style import Style
from textual.binding import Binding, BindingType
from textual.reactive import reactive
from textual.strip import Strip
from textual.widget import Widget

from fluxgym_tui.ui.braille import Canvas, Window, bounds, draw, short, ticks
from fluxgym_tui.ui.run_history import Curve

_LABEL_CELLS = 7


@dataclass(frozen=True, slots=True)
class Line:
    """One curve of the chart: `name` stands in the legend, `curve` is read anew at every drawing."""

    name: str
    curve: Curve


class LossChart(Widget, can_focus=True):
    """Draws `lines`; with one line its raw values too, with several only the smoothed ones, each in its colour."""

    HELP_TITLE = "The loss chart"
    DEFAULT_CSS = """
    LossChart { height: 1fr; }
    LossChart > .chart--raw { color: $foreground 35%; }
    LossChart > .chart--axis { color: $foreground 50%; }
    LossChart > .chart--line-1 { color: $primary; text-style: bold; }
    LossChart > .chart--line-2 { color: $warning; text-style: bold; }
    LossChart > .chart--line-3 { color: $success; text-style: bold; }
    LossChart > .chart--line-4 { color: $secondary; text-style: bold; }
    LossChart > .chart--mark { color: $success; text-style: bold; }
    """
    COMPONENT_CLASSES: ClassVar[set[str]] = {
        "chart--raw", "chart--axis", "chart--line-1", "chart--line-2", "chart--line-3", "chart--line-4", "chart--mark",
    }  # fmt: skip
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("plus,equals_sign", "zoom(0.5)", "look closer", show=False),
        Binding("minus", "zoom(2.0)", "look from further away", show=False),
        Binding("left,h", "pan(-0.25)", "earlier steps", show=False),
        Binding("right,l", "pan(0.25)", "later steps", show=False),
        Binding("0", "whole", "all steps", show=False),
        Binding("L", "toggle_log", "linear or logarithmic scale", show=False),
    ]
    log_scale: reactive[bool] = reactive(False)

    def __init__(self) -> None:
        super().__init__()
        self.lines: tuple[Line, ...] = ()
        self.epoch_marks: Sequence[tuple[int, int]] = ()
        self.checkpoint_steps: Sequence[int] = ()
        self.title = "loss"
        self._shown: tuple[float, float] | None = None  # steps, None for all
        self._drawn: tuple[object, list[Strip]] = (None, [])

    def show(self, lines: Sequence[Line], *, epochs: Sequence[tuple[int, int]] = (),
             checkpoints: Sequence[int] = (), title: str = "loss") -> None:  # fmt: skip
        """Draw `lines`; `epochs` are (first step, epoch), `checkpoints` steps."""
        self.lines, self.epoch_marks, self.checkpoint_steps, self.title = tuple(lines), epochs, checkpoints, title
        self.refresh()

    # Zoom

    def _range(self) -> tuple[float, float] | None:
        curves = [line.curve for line in self.lines if len(line.curve)]
        if not curves:
            return None
        first, last = min(curve.steps[0] for curve in curves), max(curve.steps[-1] for curve in curves)
        return float(first), float(max(last, first + 1))

    def action_zoom(self, factor: float) -> None:
        """Show `factor` times as many steps around the middle; the newest stay in sight if they were."""
        whole = self._range()
        if whole is None:
            return
        first, last = self._shown or whole
        width = max(10.0, (last - first) * factor)
        if width >= whole[1] - whole[0]:
            self.action_whole()
            return
        middle = (first + last) / 2
        begin = whole[1] - width if last >= whole[1] else middle - width / 2
        self._put(begin, begin + width, whole)

    def action_pan(self, share: float) -> None:
        """Move by `share` of what is seen."""
        whole = self._range()
        if whole is not None and self._shown is not None:
            first, last = self._shown
            by = (last - first) * share
            self._put(first + by, last + by, whole)

    def _put(self, first: float, last: float, whole: tuple[float, float]) -> None:
        width = last - first
        first = min(max(first, whole[0]), whole[1] - width)
        self._shown = (first, first + width)
        self.refresh()

    def action_whole(self) -> None:
        """Show all steps."""
        self._shown = None
        self.refresh()

    def action_toggle_log(self) -> None:
        """The other scale."""
        self.log_scale = not self.log_scale

    # Drawing

    def render_line(self, y: int) -> Strip:
        """Line `y`; the whole chart is drawn when anything about it changed."""
        key = (
            self.size, self.rich_style, self._shown, self.log_scale, self.title, len(self.epoch_marks),
            len(self.checkpoint_steps), tuple((line.name, line.curve.version) for line in self.lines),
        )  # fmt: skip
        if self._drawn[0] != key:
            self._drawn = (key, self._draw())
        strips = self._drawn[1]
        return strips[y] if y < len(strips) else Strip.blank(self.size.width, self.rich_style)

    def _draw(self) -> list[Strip]:
        width, height = self.size.width, self.size.height
        plain = self.rich_style
        axis = plain + self.get_component_rich_style("chart--axis", partial=True)
        rows = height - 3
        columns = width - _LABEL_CELLS - 1
        shown = self._shown or self._range()
        if rows < 2 or columns < 8:
            return [Strip.blank(width, plain)] * height
        if shown is None:
            text = " No loss yet: it is drawn from the first step on."
            return [Strip([Segment(text, axis)]).adjust_cell_length(width, plain)]
        window = self._window(shown)
        canvas = Canvas(columns, rows)
        alone = len(self.lines) == 1
        if alone:
            curve = self.lines[0].curve
            draw(canvas, curve.steps, curve.raw, window, 1)
        for number, line in enumerate(self.lines):
            draw(canvas, line.curve.steps, line.curve.smooth, window, 2 + number)
        styles = [plain, plain + self.get_component_rich_style("chart--raw", partial=True)]
        styles += [
            plain + self.get_component_rich_style(f"chart--line-{1 + number % 4}", partial=True)
            for number in range(len(self.lines))
        ]
        labels = dict(ticks(window.low, window.high, rows, log=window.log))
        strips = [self._legend(width, styles, plain, axis)]
        for row in range(rows):
            label = labels.get(row, "").rjust(_LABEL_CELLS)
            segments = [Segment(f"{label}{'┤' if row in labels else '│'}", axis)]
            segments += [Segment(text, styles[colour]) for text, colour in canvas.text(row)]
            strips.append(Strip(segments).adjust_cell_length(width, plain))
        strips.append(self._axis(window, columns, width, axis))
        strips.append(self._steps(window, columns, width, axis))
        return strips

    def _window(self, shown: tuple[float, float]) -> Window:
        first, last = shown
        spans = []
        for line in self.lines:
            values = line.curve.raw if len(self.lines) == 1 else line.curve.smooth
            span = bounds(line.curve.steps, values, first, last)
            if span is not None:
                spans.append(span)
        low = min((span[0] for span in spans), default=0.0)
        high = max((span[1] for span in spans), default=1.0)
        log = self.log_scale and low > 0
        if high <= low:
            low, high = (low * 0.9, high * 1.1) if low > 0 else (low - 0.5, high + 0.5)
        return Window(first, last, low, high, log)

    def _legend(self, width: int, styles: list[Style], plain: Style, axis: Style) -> Strip:
        segments = [Segment(f" {self.title}", plain + Style(bold=True))]
        for number, line in enumerate(self.lines):
            curve = line.curve
            newest = f" {short(curve.smooth[-1])}" if len(curve) else ""
            glyph = "━" if len(self.lines) == 1 else "━╍┅┄"[number % 4]
            segments += [Segment(f"  {glyph * 2} ", styles[2 + number]), Segment(f"{line.name}{newest}", plain)]
        if len(self.lines) == 1 and len(self.lines[0].curve):
            segments += [
                Segment("  ┄┄ ", styles[1]),
                Segment(f"single steps {short(self.lines[0].curve.raw[-1])}", axis),
            ]
        told = (" log scale" if self.log_scale else "") + (" zoomed, 0 shows all" if self._shown else "")
        segments.append(Segment(f" {told}", axis))
        return Strip(segments).adjust_cell_length(width, plain)

    def _axis(self, window: Window, columns: int, width: int, axis: Style) -> Strip:
        """The line below: a tick for each epoch, a diamond for each checkpoint."""
        cells = ["─"] * columns
        scale = (columns - 1) / (window.last - window.first)
        for marks, glyph in (([step for step, _ in self.epoch_marks], "┴"), (self.checkpoint_steps, "◆")):
            for step in marks:
                if window.first <= step <= window.last:
                    cells[round((step - window.first) * scale)] = glyph
        mark = axis + self.get_component_rich_style("chart--mark", partial=True)
        segments = [Segment(" " * _LABEL_CELLS + "└", axis)]
        segments.extend(Segment(cell, mark if cell == "◆" else axis) for cell in cells)
        return Strip(segments).adjust_cell_length(width, self.rich_style)

    def _steps(self, window: Window, columns: int, width: int, axis: Style) -> Strip:
        first, last = f"{round(window.first):,}", f"{round(window.last):,}"
        hint = "step"
        if self.checkpoint_steps or self.epoch_marks:
            hint = "step   ┴ epoch  ◆ LoRA saved"
        room = columns - len(first) - len(last)
        middle = hint.center(room) if room > len(hint) + 2 else " " * room
        return Strip([Segment(" " * (_LABEL_CELLS + 1) + first + middle + last, axis)]).adjust_cell_length(
            width, self.rich_style
        )
