"""docs/keys.md from the app's own registry of actions."""

from pathlib import Path

from textual.binding import Binding

from fluxgym_tui.ui.actions import Action, all_actions, shown_keys
from fluxgym_tui.ui.screens import SCREENS
from fluxgym_tui.ui.widgets.line_list import LineList
from fluxgym_tui.ui.widgets.log_view import LogView
from fluxgym_tui.ui.widgets.loss_chart import LossChart
from fluxgym_tui.ui.widgets.sample_grid import SampleGrid

TARGET = Path(__file__).parents[1] / "docs/keys.md"
HEAD = """\
# Keys

Written by `scripts/make_docs.py` from the app itself. In the app `?` shows those that work where you are, and `ctrl+p`
finds any of them by name; a key that can do nothing just now is dimmed, and pressing it says why.

An action gets another key in `~/.config/fluxgym-tui/settings.yaml`, by its id:

```yaml
theme: fluxgym-dark
keys:
  live.stop: ctrl+s
  app.palette: f2,colon   # names as Textual has them, several with commas
```

## Screens

| key | screen |
|---|---|
"""
WIDGETS: tuple[tuple[str, type], ...] = (
    ("The log", LogView),
    ("The loss chart", LossChart),
    ("A list", LineList),
    ("The grid of samples", SampleGrid),
)


def page() -> str:
    """The whole page."""
    parts = [HEAD, *(f"| `{entry.digit}` | {entry.title} |\n" for entry in SCREENS)]
    for title, actions in all_actions():
        if actions:
            parts += [f"\n## {title}\n\n| key | what it does | id |\n|---|---|---|\n", *map(_row, actions)]
    for title, widget in WIDGETS:
        parts.append(f"\n## {title}, when it has the focus\n\n| key | what it does |\n|---|---|\n")
        bindings = [binding for binding in widget.BINDINGS if isinstance(binding, Binding)]  # type: ignore[attr-defined]
        parts += [f"| {_code(binding.key)} | {binding.description} |\n" for binding in bindings]
    return "".join(parts)


def _row(action: Action) -> str:
    return f"| {_code(action.keys)} | {action.help.replace('|', chr(92) + '|')} | `{action.id}` |\n"


def _code(keys: str) -> str:
    return " ".join(f"`{key}`" for key in shown_keys(keys).split())
