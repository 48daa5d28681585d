"""Help for what has the focus: the keys that work there, then those of the screen, then those of the app."""

from typing import Any

from textual.app import ComposeResult
from textual.containers import Vertical, VerticalScroll
from textual.content import Content
from textual.screen import Screen
from textual.widgets import Static

from fluxgym_tui.ui.actions import shown_key
from fluxgym_tui.ui.screens.dialog import Dialog
from fluxgym_tui.ui.theme import MUTED


class HelpScreen(Dialog[None]):
    """The active keys of the screen below, by where they come from."""

    def __init__(self, below: Screen[Any]) -> None:
        super().__init__()
        self._sections = _sections(below)

    def compose(self) -> ComposeResult:
        with Vertical(classes="dialog wide"):
            yield Static("Help", classes="dialog-title")
            with VerticalScroll():
                for title, text, rows in self._sections:
                    yield Static(Content.styled(title, "bold $primary"))
                    if text:
                        yield Static(text, markup=False)
                    for keys, words, why in rows:
                        yield Static(_row(keys, words, why))
                    yield Static("")
            yield Static("esc closes · ctrl+p finds any action by name", classes="muted")

    def on_mount(self) -> None:
        self.query_one(VerticalScroll).focus()


# Keys that every scrolling widget of Textual has, and that ours have no use for.
_TEXTUALS_OWN = frozenset({"page_left", "page_right", "scroll_left", "scroll_right", "screen.copy_text"})

Row = tuple[str, str, str | None]


def _row(keys: str, words: str, why: str | None) -> Content:
    if why is None:
        return Content.assemble((f"  {keys:<12} ", "bold"), words)
    return Content.assemble((f"  {keys:<12} {words} (not now: {why})", MUTED))


def _sections(below: Screen[Any]) -> list[tuple[str, str, list[Row]]]:
    """Title, text and rows of what has the focus, of the screen and of the app; keys of one action share a row."""
    found: dict[object, dict[tuple[str, str | None], list[str]]] = {}
    for key, active in below.active_bindings.items():
        words = active.binding.tooltip or active.binding.description
        if not words or key == "ctrl+c" or active.binding.action in _TEXTUALS_OWN:
            continue
        why = None
        if not active.enabled:
            asked = getattr(active.node, "why_not", None)
            why = (asked(active.binding.action.partition("(")[0]) if asked else None) or "not possible now"
        found.setdefault(active.node, {}).setdefault((words, why), []).append(shown_key(key))
    sections = []
    for node, rows in found.items():
        title = str(getattr(node, "HELP_TITLE", "") or "")
        text = str(getattr(node, "HELP_TEXT", "") or "")
        if node is below:
            title = title or "This screen"
        elif node is below.app:
            title = "Everywhere"
        else:
            title = title or "What has the focus"
        sections.append((title, text, [(" ".join(keys), words, why) for (words, why), keys in rows.items()]))
    return sections
