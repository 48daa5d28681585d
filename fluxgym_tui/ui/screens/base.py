"""What every screen of the tab bar shares: tab bar, footer, keys that say why they cannot act."""

from typing import TYPE_CHECKING, ClassVar, cast

from textual import events, on
from textual.app import ComposeResult
from textual.screen import Screen
from textual.widget import Widget
from textual.worker import Worker, WorkerState

from fluxgym_tui.ui.actions import Action
from fluxgym_tui.ui.widgets.key_bar import KeyBar
from fluxgym_tui.ui.widgets.tab_bar import TabBar

if TYPE_CHECKING:
    from fluxgym_tui.ui.app import FluxgymApp


class WorkScreen(Screen[None]):
    """A screen of the tab bar. Subclasses give `ACTIONS`, `BINDINGS = bindings(ACTIONS)` and `compose_body`."""

    NAME: ClassVar[str] = ""
    ACTIONS: ClassVar[tuple[Action, ...]] = ()
    HELP_TEXT: ClassVar[str] = ""
    HORIZONTAL_BREAKPOINTS = [(0, "-narrow"), (100, "-wide")]  # noqa: RUF012 - as Textual declares them
    VERTICAL_BREAKPOINTS = [(0, "-short"), (32, "-tall")]  # noqa: RUF012

    _possible: tuple[bool, ...] | None = None

    def __init__(self) -> None:
        super().__init__()
        # Textual reads all style sheets again for a screen that seems to know older ones; ours has just been made.
        self._css_update_count = self.app._css_update_count
        # The class of its size from the start: a class that comes later has every widget styled again.
        for breakpoints, cells in zip(
            (self.HORIZONTAL_BREAKPOINTS, self.VERTICAL_BREAKPOINTS), self.app.size, strict=True
        ):
            self.set_class(True, max(pair for pair in breakpoints if pair[0] <= cells)[1], update=False)

    @on(events.ScreenResume)
    def _keep_styles(self, event: events.ScreenResume) -> None:
        """Textual would style every widget again; a theme that changed meanwhile is seen to by `switch_mode`."""
        event.refresh_styles = False

    @property
    def fluxgym(self) -> "FluxgymApp":
        """The app, by its own type."""
        return cast("FluxgymApp", self.app)

    def compose(self) -> ComposeResult:
        yield TabBar(self.NAME)
        yield from self.compose_body()
        yield KeyBar()

    def compose_body(self) -> ComposeResult:
        """What is between tab bar and footer."""
        yield Widget()

    def why_not(self, action: str) -> str | None:
        """Why `action` cannot be done now, in words; None where it can."""
        return None

    def why_stay(self) -> str | None:
        """What would break off if the app were left now, in a sentence; None where nothing would."""
        return None

    def refresh_availability(self) -> None:
        """`refresh_bindings`, but only where an answer of `why_not` has changed: asking for every key costs."""
        possible = tuple(self.why_not(action.action.partition("(")[0]) is None for action in self.ACTIONS)
        if possible != self._possible:
            self._possible = possible
            self.refresh_bindings()

    def check_action(self, action: str, parameters: tuple[object, ...]) -> bool | None:
        """Dim what cannot be done now."""
        return True if self.why_not(action) is None else None

    def on_worker_state_changed(self, event: Worker.StateChanged) -> None:
        """What a worker did not expect is told, not swallowed: a disk that is gone, or a bug of ours."""
        if event.state is not WorkerState.ERROR:
            return
        words, told = f"{type(event.worker.error).__name__}: {event.worker.error}", self.fluxgym.told
        if not told or told[-1].message != words:  # a worker that looks every two seconds says it once
            self.notify(words, severity="error", timeout=10)

    def go_back(self) -> None:
        """What esc does when no field has the focus; by default nothing: esc never quits."""
