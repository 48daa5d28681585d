"""The first line of every screen: the screens by number, and the run that is alive."""

from typing import TYPE_CHECKING, cast

from textual.content import Content
from textual.widget import Widget

from fluxgym_tui.base.text import terminal_safe
from fluxgym_tui.ui.screens import SCREENS

if TYPE_CHECKING:
    from fluxgym_tui.ui.app import FluxgymApp


class TabBar(Widget):
    """One line; a click on a title shows that screen."""

    DEFAULT_CSS = """
    TabBar { height: 1; dock: top; background: $panel; color: $foreground; }
    """

    def __init__(self, current: str) -> None:
        super().__init__()
        self._current = current

    def render(self) -> Content:
        parts: list[Content | str | tuple[str, str]] = []
        for entry in SCREENS:
            click = f"@click=app.show('{entry.name}')"
            if entry.name == self._current:
                parts.append(Content.from_markup(f"[{click}][b reverse] {entry.digit} {entry.title} [/][/]"))
            else:
                parts.append(Content.from_markup(f"[{click}] [b]{entry.digit}[/b] {entry.title} [/]"))
        tabs = Content.assemble(*parts)
        told = terminal_safe(cast("FluxgymApp", self.app).alive_line)
        room = self.size.width - tabs.cell_length - 1
        if not told or room < 12:
            return tabs
        shown = Content(told).truncate(room, ellipsis=True)
        return Content.assemble(tabs, " " * (room - shown.cell_length), shown.stylize("$success"))
