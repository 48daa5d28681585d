"""The one registry of actions: keys, footer, palette, help and the generated docs all come from it."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from textual.binding import Binding, BindingType


@dataclass(frozen=True, slots=True, kw_only=True)
class Action:
    """Something the user can do.

    `id` is `area.verb` and never changes: key settings name it. `keys` are Textual's names, comma separated, the first
    is shown. `label` stands in the footer, `help` is one sentence. `action` is the method's name behind `action_`, with
    arguments as Textual writes them. `shown` False keeps it out of the footer.
    """

    id: str
    keys: str
    label: str
    help: str
    action: str
    shown: bool = True

    @property
    def title(self) -> str:
        """How the palette names it: `area: verb`."""
        area = self.id.partition(".")[0].replace("-", " ")
        return f"{area}: {self.label}"


def bindings(actions: Iterable[Action]) -> list[BindingType]:
    """Textual's bindings for `actions`, each with its id, so that keys can be set by the user."""
    return [
        Binding(
            action.keys,
            action.action,
            action.label,
            show=action.shown,
            tooltip=action.help,
            id=action.id,
        )
        for action in actions
    ]


def shown_key(key: str) -> str:
    """A key as people read it: `question_mark` is `?`, `ctrl+p` stays."""
    return _KEY_WORDS.get(key, key)


_KEY_WORDS = {
    "question_mark": "?",
    "colon": ":",
    "slash": "/",
    "escape": "esc",
    "left_square_bracket": "[",
    "right_square_bracket": "]",
    "plus": "+",
    "minus": "-",
    "equals_sign": "=",
    "comma": ",",
    "full_stop": ".",
    "asterisk": "*",
    "pageup": "pgup",
    "pagedown": "pgdn",
    "delete": "del",
}


def shown_keys(keys: str) -> str:
    """All keys of an action: `? f1`."""
    return " ".join(shown_key(key.strip()) for key in keys.split(","))


GLOBAL_ACTIONS: tuple[Action, ...] = (
    Action(id="app.help", keys="question_mark,f1", label="help", help="What can be done here, and with which key.",
           action="app.help"),
    Action(id="app.palette", keys="ctrl+p,colon", label="palette", help="Find any action by its name.",
           action="app.command_palette", shown=False),
    Action(id="app.jump", keys="ctrl+o", label="jump", help="Give the focus to anything on the screen by one letter.",
           action="app.jump", shown=False),
    Action(id="app.events", keys="ctrl+e", label="events", help="Everything this app told you, also what has vanished.",
           action="app.events", shown=False),
    Action(id="app.back", keys="escape", label="back", help="Leave the field, the question or the screen; never quits.",
           action="app.back", shown=False),
    Action(id="app.theme", keys="ctrl+t", label="theme", help="Choose the colours.", action="app.change_theme",
           shown=False),
    Action(id="app.quit", keys="q", label="quit", help="Leave the app; a training that runs goes on.",
           action="app.quit"),
)  # fmt: skip


def all_actions() -> Iterator[tuple[str, tuple[Action, ...]]]:
    """Every action there is, by the title of its screen; the ones that work everywhere come first."""
    from fluxgym_tui.ui.screens import SCREENS  # the screens import this module

    yield "Everywhere", GLOBAL_ACTIONS
    for entry in SCREENS:
        yield entry.title, entry.load().ACTIONS
