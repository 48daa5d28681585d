"""The terminal app. It reads files and calls the same functions as the command line; screens hold no logic.

How a screen is added:

1. `screens/NAME.py` has a class that extends `ui.screens.base.WorkScreen`: `CSS_PATH = "NAME.tcss"` (the file lies
   beside it), `ACTIONS` (a tuple of `ui.actions.Action`), `BINDINGS = bindings(ACTIONS)`, `compose_body()` and an
   `action_...` method for each action. Tab bar, footer, help, palette and jump mode come from the base class.
2. An entry in `ui.screens.SCREENS` names it: digit, name, title, `module:Class`. That is all; the tab appears.
3. What cannot be done now is said by `why_not(action) -> str | None`: the key is dimmed, and pressing it tells why.
   Call `self.refresh_bindings()` when the answer changes.
4. Slow work runs in a thread worker, which posts messages; handlers own the state. The workspace is `self.fluxgym`'s:
   `self.fluxgym.workspace`, `self.fluxgym.show("plan")`, `self.fluxgym.open_run(run)`, `self.notify(...)` (kept in the
   Events list). On coming to the front a screen gets `ScreenResume`.
"""
