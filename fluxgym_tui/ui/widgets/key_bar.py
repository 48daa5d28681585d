"""The last line of every screen: the keys that work now, the others dimmed; drawn as one line, not one widget a key."""

from collections.abc import Sequence
from dataclasses import dataclass

from textual import events
from textual.app import App
from textual.binding import Binding
from textual.content import Content
from textual.dom import DOMNode
from textual.screen import Screen
from textual.widget import Widget

from fluxgym_tui.ui.actions import shown_key


@dataclass(frozen=True, slots=True)
class _Shown:
    """A key with its word; `everywhere` for those of the app, which keep their place at the right."""

    key: str
    word: str
    enabled: bool
    everywhere: bool

    @property
    def cells(self) -> int:
        """Its width, the space behind it included."""
        return len(shown_key(self.key)) + len(self.word) + 3


class KeyBar(Widget):
    """One line; a click on a key presses it."""

    DEFAULT_CSS = """
    KeyBar { height: 1; dock: bottom; background: $panel; color: $foreground; }
    """

    def __init__(self) -> None:
        super().__init__()
        self._keys: tuple[_Shown, ...] = ()
        self._places: list[tuple[int, int, str]] = []

    def on_mount(self) -> None:
        self.screen.bindings_updated_signal.subscribe(self, self._bindings_changed)

    def _bindings_changed(self, screen: Screen[object]) -> None:
        keys = _shown_keys(screen)
        if keys != self._keys:
            self._keys = keys
            self.refresh()

    def render(self) -> Content:
        right = [shown for shown in self._keys if shown.everywhere]
        room = self.size.width - sum(shown.cells for shown in right)
        left: list[_Shown] = []
        for shown in self._keys:
            if not shown.everywhere:
                if shown.cells > room:
                    break
                left.append(shown)
                room -= shown.cells
        self._places.clear()
        parts = self._parts(left, begin=0)
        parts.append(" " * max(0, room))  # what is left over stands between the screen's keys and the app's
        parts += self._parts(right, begin=sum(shown.cells for shown in left) + max(0, room))
        return Content.assemble(*parts)

    def _parts(self, keys: Sequence[_Shown], *, begin: int) -> list[str | tuple[str, str]]:
        """`keys` in words from cell `begin` on; where they stand is kept for clicks."""
        parts: list[str | tuple[str, str]] = []
        for shown in keys:
            self._places.append((begin, begin + shown.cells, shown.key))
            begin += shown.cells
            key, word = f" {shown_key(shown.key)}", f" {shown.word} "
            if shown.enabled:
                parts += [(key, "bold $accent"), word]
            else:
                parts.append((key + word, "$foreground 45%"))
        return parts

    def on_click(self, event: events.Click) -> None:
        """Press the key that was clicked; a dimmed one tells why it does nothing."""
        for begin, end, key in self._places:
            if begin <= event.x < end:
                self.app.simulate_key(key)


def _shown_keys(screen: Screen[object]) -> tuple[_Shown, ...]:
    """The first key of every action that is to be shown, those of what has the focus first."""
    found: dict[tuple[str, DOMNode], _Shown] = {}
    for active in screen.active_bindings.values():
        binding: Binding = active.binding
        if binding.show and binding.description:
            node = active.node
            found.setdefault(
                (binding.action, node),
                _Shown(binding.key, binding.description, active.enabled, isinstance(node, App)),
            )
    return tuple(found.values())
