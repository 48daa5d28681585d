"""The app: screens by number, palette, help, jump mode, the Events list and the question before quitting."""

import gc
import inspect
import os
import time
from collections import deque
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import ClassVar

from textual import events, work
from textual.app import App, SystemCommand
from textual.binding import Binding, BindingType
from textual.command import CommandPalette
from textual.dom import DOMNode
from textual.filter import LineFilter
from textual.notifications import SeverityLevel
from textual.screen import Screen
from textual.theme import Theme
from textual.widgets import Input, TextArea
from textual.worker import get_current_worker

from fluxgym_tui.base.errors import FluxgymError
from fluxgym_tui.base.text import terminal_safe
from fluxgym_tui.config.settings import Settings, save_theme
from fluxgym_tui.config.workspace import Workspace
from fluxgym_tui.runs.directory import RunDirectory
from fluxgym_tui.runs.listing import RunLister, list_runs
from fluxgym_tui.runs.state import RunSummary
from fluxgym_tui.ui.actions import GLOBAL_ACTIONS, all_actions, bindings
from fluxgym_tui.ui.captioning import Captioning
from fluxgym_tui.ui.draft import Draft, OpenedDraft
from fluxgym_tui.ui.graphics import Graphics
from fluxgym_tui.ui.messages import ActionFailed
from fluxgym_tui.ui.screens import SCREENS, entry_of
from fluxgym_tui.ui.screens.base import WorkScreen
from fluxgym_tui.ui.theme import THEMES, AsciiFilter, SafeFilter

_KEPT_EVENTS = 500
_IDLE_S = 0.5  # after the first paint
_LOOK_S = 3.0


@dataclass(frozen=True, slots=True)
class Told:
    """One thing the app told the user: `time` in seconds since 1970."""

    time: float
    severity: SeverityLevel
    title: str
    message: str


class FluxgymApp(App[None]):
    """`fluxgym-tui`: everything a person does with a terminal and a run."""

    TITLE = "fluxgym-tui"
    CSS_PATH = "app.tcss"
    ENABLE_COMMAND_PALETTE = True
    COMMAND_PALETTE_BINDING = "ctrl+p"
    BINDINGS: ClassVar[list[BindingType]] = [
        *bindings(GLOBAL_ACTIONS),
        *(
            Binding(entry.digit, f"app.show('{entry.name}')", entry.title, show=False, id=f"screen.{entry.name}")
            for entry in SCREENS
        ),
    ]
    MODES: ClassVar[dict[str, str | Callable[[], Screen[object]]]] = {}

    def __init__(
        self,
        *,
        workspace: Workspace,
        screen: str,
        open_path: Path | None = None,
        trigger: str | None = None,
        run: RunDirectory | None = None,
        ascii_only: bool = False,
        settings: Settings | None = None,
        settings_file: Path | None = None,
        graphics: Graphics | None = None,
    ) -> None:
        """`screen` is shown first; `open_path` (a folder or spec) and `trigger` are what the user gave on the way in;
        `run` is what the Live screen shows; a theme that the user chooses is kept in `settings_file`;
        `graphics` is how the terminal draws pictures in pixels, None where it does not.
        """
        self.DEFAULT_MODE = screen  # type: ignore[misc]  # else Textual builds and styles an empty screen first
        super().__init__()
        self.workspace = workspace
        self.open_path = open_path
        self.trigger = trigger
        self.run_shown = run
        self.draft = Draft()
        self.captioning = Captioning(self)
        self.draft_wanted: OpenedDraft | None = None  # chosen before there was a screen to take it
        self.told: deque[Told] = deque(maxlen=_KEPT_EVENTS)
        self.alive_line = ""
        self._lister: RunLister | None = None
        self.ascii_only = ascii_only
        self.graphics = graphics
        self.repaint_s = 0.5 if "SSH_CONNECTION" in os.environ else 0.25
        self._settings = settings or Settings()
        self._settings_file = settings_file
        self._ascii, self._safe = AsciiFilter(), SafeFilter()
        for entry in SCREENS:
            self.add_mode(entry.name, partial(_new_screen, entry.name))
        for theme in THEMES:
            self.register_theme(theme)
        wanted = self._settings.theme or THEMES[0].name
        self._theme_kept = wanted if wanted in self.available_themes else THEMES[0].name
        ours = next((theme for theme in THEMES if theme.name == self._theme_kept), None)
        if ours is not None:
            self._begin_with(ours)

    def _begin_with(self, theme: Theme) -> None:
        """Have one of our themes from the start: a theme that is set later has all style sheets read again."""
        self.set_reactive(App.theme, theme.name)
        self.stylesheet.set_variables(self.get_css_variables())
        modes = {f"-theme-{theme.name}": True, "-dark-mode": theme.dark, "-light-mode": not theme.dark}
        self.update_classes(modes, update=False)

    def on_mount(self) -> None:
        self.theme = self._theme_kept
        if self._settings.keys:
            self.set_keymap(dict(self._settings.keys))
        self.theme_changed_signal.subscribe(self, self._theme_chosen)
        self.set_timer(_IDLE_S, self._import_screens)
        self.set_timer(_IDLE_S, self._look_for_runs)
        self.set_interval(_LOOK_S, self._look_for_runs)
        if self._settings.theme not in (None, self.theme) or self._settings.keys:
            self.set_timer(1.0, self._tell_unknown_settings)  # it reads every screen: not before the first paint

    @work(thread=True, group="import", exit_on_error=False)
    def _import_screens(self) -> None:
        """Import the other screens while nobody waits: their digits find them ready."""
        for entry in SCREENS:
            if get_current_worker().is_cancelled:
                return
            self.call_from_thread(self._read_style, entry.load())
        gc.freeze()  # modules and classes stay: looking through all of them for garbage stops a key for 80 ms

    def _read_style(self, screen: type[WorkScreen]) -> None:
        """Take in a screen's style sheet before it is shown: after that, all of them would be read again."""
        path = Path(inspect.getfile(screen)).with_name(str(screen.CSS_PATH))
        if not self.stylesheet.has_source(str(path), ""):
            self.stylesheet.read(path)
            self.stylesheet.rules  # noqa: B018 - parses what is new, now and not at the next key

    def _tell_unknown_settings(self) -> None:
        if self._settings.theme not in (None, self.theme):
            self.notify(f"There is no theme {self._settings.theme!r}; ctrl+t lists them.", severity="warning")
        known = {action.id for _, actions in all_actions() for action in actions}
        for name in sorted(set(self._settings.keys) - known):
            self.notify(f"Settings: keys: there is no action {name!r}; docs/keys.md lists them.", severity="warning")

    def handle_bindings_clash(self, clashed_bindings: set[Binding], node: DOMNode) -> None:
        """A key of the settings hides another one."""
        names = ", ".join(sorted(binding.id or binding.description for binding in clashed_bindings))
        self.notify(f"Settings: keys: these have lost their key to another: {names}", severity="warning")

    def _theme_chosen(self, theme: Theme) -> None:
        if theme.name != self._theme_kept and self._settings_file is not None:
            self._theme_kept = theme.name
            self._keep_theme(self._settings_file, theme.name)

    @work(thread=True, exclusive=True, group="settings", exit_on_error=False)
    def _keep_theme(self, file: Path, name: str) -> None:
        try:
            save_theme(file, name)
        except FluxgymError as error:
            self.post_message(ActionFailed(error.message, error.hint))

    def get_line_filters(self) -> list[LineFilter]:
        """Textual's filters, and ours behind them."""
        return [*super().get_line_filters(), self._safe, *([self._ascii] if self.ascii_only else [])]

    @property
    def in_colour(self) -> bool:
        """Whether pictures can be drawn in colours."""
        return not (self.ascii_only or self.no_color)

    # Screens and runs

    def action_show(self, name: str) -> None:
        """Show the screen `name`."""
        self.show(name)

    def show(self, name: str) -> None:
        """Show the screen `name`; questions and lists in front of the present one are left."""
        if entry_of(name) is None:
            return
        if isinstance(self.screen, WorkScreen):
            self.switch_mode(name)

    def open_run(self, run: RunDirectory) -> None:
        """Show `run` on the Live screen."""
        self.run_shown = run
        if isinstance(self.screen, WorkScreen) and self.screen.NAME == "live":
            self.screen.post_message(events.ScreenResume())  # it is in front already: let it look again
        else:
            self.show("live")

    def open_draft(self, opened: OpenedDraft) -> None:
        """Work on `opened` from now on, on the screen Parameters."""
        self.draft_wanted = None if self.draft.opened else opened
        self.show("parameters")
        take = getattr(self.screen, "take", None)
        if self.draft.opened and take is not None:
            self.screen.call_later(take, opened)

    def _look_for_runs(self) -> None:
        """See every few seconds which runs are alive; the screen Runs does that itself."""
        if not self.screen_stack:
            return  # the app is about to end
        if isinstance(self.screen, WorkScreen) and self.screen.NAME != "runs":
            self._list_runs()

    @work(thread=True, exclusive=True, group="runs", exit_on_error=False)
    def _list_runs(self) -> None:
        if self._lister is None:
            self._lister = RunLister(self.workspace.root / "outputs")
        runs = self._lister.look()
        if not get_current_worker().is_cancelled:
            self.call_from_thread(self.set_alive, runs)

    def set_alive(self, runs: Iterable[RunSummary]) -> None:
        """Take note of the runs that are alive, for the tab bar; `runs` are all of the workspace."""
        alive = [summary for summary in runs if not summary.state.ended]
        line = ""
        if alive:
            first = alive[0]
            percent = f" {first.step * 100 // first.total}%" if first.total else ""
            more = f" +{len(alive) - 1}" if len(alive) > 1 else ""
            line = f"{first.state} {first.name}{percent}{more}"
        if line != self.alive_line and self.screen_stack:
            self.alive_line = line
            for bar in self.screen.query("TabBar"):
                bar.refresh()

    # What was told

    def notify(
        self,
        message: str,
        *,
        title: str = "",
        severity: SeverityLevel = "information",
        timeout: float | None = None,
        markup: bool = False,
    ) -> None:
        """A toast that also stays in the Events list. Control characters are written out; markup is off by default."""
        safe = message if markup else terminal_safe(message, keep="\n")
        self.told.append(Told(time.time(), severity, terminal_safe(title), safe))
        super().notify(safe, title=terminal_safe(title), severity=severity, timeout=timeout, markup=markup)

    def tell_error(self, error: FluxgymError) -> None:
        """Tell an error as the command line would: what happened, then what to do."""
        self.notify(str(error), severity="error", timeout=10)

    def on_action_failed(self, message: ActionFailed) -> None:
        """A worker's errand did not work."""
        self.tell_error(FluxgymError(message.message.split("\n"), hint=message.hint and message.hint.split("\n")))

    def on_key(self, event: events.Key) -> None:
        """Say why a dimmed key does nothing."""
        active = self.screen.active_bindings.get(event.key)
        if active is None or active.enabled:
            return
        asked = getattr(active.node, "why_not", None)
        name = active.binding.action.partition("(")[0].rpartition(".")[2]
        reason = asked(name) if asked is not None else None
        if reason:
            self.notify(f"{active.binding.description}: {reason}", severity="warning")

    # Actions that work everywhere

    def action_help(self) -> None:
        """What can be done here."""
        from fluxgym_tui.ui.screens.help import HelpScreen

        if not isinstance(self.screen, HelpScreen):
            self.push_screen(HelpScreen(self.screen))

    def action_jump(self) -> None:
        """Letters over everything that can take the focus."""
        from fluxgym_tui.ui.screens.jump import JumpScreen

        if isinstance(self.screen, WorkScreen):
            self.push_screen(JumpScreen(self.screen), self._jumped)

    def _jumped(self, target: str | None) -> None:
        if target is not None:
            self.show(target)

    def action_events(self) -> None:
        """Everything that was told."""
        from fluxgym_tui.ui.screens.events import EventsScreen

        if not isinstance(self.screen, EventsScreen):
            self.push_screen(EventsScreen(tuple(self.told)))

    async def action_back(self) -> None:
        """Leave the field, else the dialog, else what the screen calls back."""
        if isinstance(self.focused, Input | TextArea):
            self.screen.set_focus(None)
        elif isinstance(self.screen, WorkScreen):
            self.screen.go_back()

    def action_help_quit(self) -> None:
        """ctrl+c: a habit that must cost nothing."""
        self.notify("Ctrl+C stops nothing here. q leaves the app; a training that runs goes on.")

    async def action_quit(self) -> None:
        """Leave at once where nothing runs, else ask what is to become of the run, or of what only the app does."""
        from fluxgym_tui.ui.screens.confirm import ConfirmScreen  # the first frame needs none of it

        screens = [screen for stack in self._screen_stacks.values() for screen in stack]
        reasons = [reason for screen in screens if isinstance(screen, WorkScreen) and (reason := screen.why_stay())]
        if not reasons:
            self._look_before_quitting()
        elif not isinstance(self.screen, ConfirmScreen):
            self.push_screen(
                ConfirmScreen("Leave now?", " ".join(reasons), do="Leave", keep="Stay"), self._leave_answered
            )

    def _leave_answered(self, yes: bool | None) -> None:
        if yes:
            self._look_before_quitting()

    @work(thread=True, exclusive=True, group="quit")
    def _look_before_quitting(self) -> None:
        alive = [summary for summary in list_runs(self.workspace.root / "outputs") if not summary.state.ended]
        self.call_from_thread(self._ask_before_quitting, tuple(alive))

    def _ask_before_quitting(self, alive: tuple[RunSummary, ...]) -> None:
        from fluxgym_tui.ui.screens.quit import QuitScreen

        if not alive:
            self.exit()
        elif not isinstance(self.screen, QuitScreen):
            self.push_screen(QuitScreen(alive), partial(self._quit_answered, alive))

    def _quit_answered(self, alive: tuple[RunSummary, ...], answer: str | None) -> None:
        if answer == "leave":
            self.exit()
        elif answer == "stop":
            self._stop_and_quit(alive)

    @work(thread=True, exclusive=True, group="quit")
    def _stop_and_quit(self, alive: tuple[RunSummary, ...]) -> None:
        from fluxgym_tui.runs.control import request_stop  # the first frame needs none of it

        for summary in alive:
            try:
                request_stop(RunDirectory(summary.path))
            except FluxgymError as error:
                self.post_message(ActionFailed(error.message, error.hint))
                return
        self.call_from_thread(self.exit)

    def get_system_commands(self, screen: Screen[object]) -> Iterable[SystemCommand]:
        """The palette: every screen, and every action that can be done now."""
        for entry in SCREENS:
            yield SystemCommand(
                f"show: {entry.title}", f"The screen {entry.title} (key {entry.digit}).", partial(self.show, entry.name)
            )
        told: set[str] = set()
        for active in screen.active_bindings.values():
            binding = active.binding
            if binding.id in told:  # another key of the same action
                continue
            if binding.id is None or "." not in binding.id or binding.id.startswith("screen.") or not active.enabled:
                continue
            told.add(binding.id)
            area = binding.id.partition(".")[0]
            yield SystemCommand(
                f"{area}: {binding.description}",
                f"{binding.tooltip} (key {self.get_key_display(binding)})",
                partial(self._run_binding, binding.action, active.node),
            )

    async def _run_binding(self, action: str, node: object) -> None:
        await self.run_action(action, node)  # type: ignore[arg-type]

    def is_palette(self) -> bool:
        """Whether the palette is open."""
        return isinstance(self.screen, CommandPalette)


def _new_screen(name: str) -> Screen[object]:
    entry = entry_of(name)
    assert entry is not None
    return entry.load()()  # type: ignore[return-value]
