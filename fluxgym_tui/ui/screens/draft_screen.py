"""What Dataset, Parameters and Plan share: opening, checking, saving and starting the training being prepared."""

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from textual import work
from textual.timer import Timer
from textual.worker import get_current_worker

from fluxgym_tui.base.errors import FluxgymError
from fluxgym_tui.base.text import terminal_safe
from fluxgym_tui.ui.actions import Action
from fluxgym_tui.ui.draft import Draft, OpenedDraft
from fluxgym_tui.ui.screens.base import WorkScreen
from fluxgym_tui.ui.screens.confirm import ConfirmScreen

if TYPE_CHECKING:  # pydantic comes with these messages: the first paint does without it
    from fluxgym_tui.config.spec import TrainSpec
    from fluxgym_tui.ui.draft_files import SavedDraft
    from fluxgym_tui.ui.draft_messages import (
        DraftOpened,
        DraftSaved,
        FolderScanned,
        StartAsked,
        StartEnded,
        Surveyed,
    )

SURVEY_AFTER_S = 0.2
SAVE_AFTER_S = 0.4


def draft_actions(area: str) -> tuple[Action, ...]:
    """The actions of every screen about the draft; `area` makes their ids."""
    return (
        Action(id=f"{area}.start", keys="ctrl+r", label="start",
               help="Check everything once more, then start; the run goes on without this app.", action="start"),
        Action(id=f"{area}.open", keys="ctrl+l", label="open", help="Open a saved spec, or take over a run's settings.",
               action="open_saved", shown=False),
        Action(id=f"{area}.save", keys="ctrl+s", label="save",
               help="Save now; asks before it replaces another spec. Everything typed is kept anyway.", action="save",
               shown=False),
    )  # fmt: skip


class DraftScreen(WorkScreen):
    """A screen that shows the app's draft; subclasses draw it in `show_draft`."""

    _survey_timer: Timer | None = None
    _save_timer: Timer | None = None

    @property
    def draft(self) -> Draft:
        """The training being prepared."""
        return self.fluxgym.draft

    def show_draft(self) -> None:
        """Draw the draft as it stands now."""

    @property
    def settled(self) -> bool:
        """Whether the spec's name is not being typed just now."""
        return True

    def on_screen_resume(self) -> None:
        """Another screen may have changed the draft, and other programs its pictures."""
        if not self.draft.opened:
            self._open()
        else:
            self.show_draft()
            self.refresh_availability()
            self._look(rescan=self.looks_again)

    @property
    def looks_again(self) -> bool:
        """Whether coming here reads the folder anew."""
        return False

    def on_unmount(self) -> None:
        """The app ends: what was typed last must not be lost."""
        self._save_now_here()

    def changed(self) -> None:
        """The draft was changed by this screen."""
        self.show_draft()
        self.refresh_availability()
        if self._survey_timer is not None:
            self._survey_timer.stop()
        self._survey_timer = self.set_timer(SURVEY_AFTER_S, self._look)
        self.save_soon()

    def save_soon(self) -> None:
        """Save once the typing pauses."""
        if self._save_timer is not None:
            self._save_timer.stop()
        self._save_timer = self.set_timer(SAVE_AFTER_S, self.save)

    def _show_everywhere(self) -> None:
        """Draw the draft on the screen in front, which may be another one by now."""
        shown = self.app.screen
        if isinstance(shown, DraftScreen):
            shown.show_draft()
            shown.refresh_availability()

    # Opening

    @work(thread=True, exclusive=True, group="open", exit_on_error=False)
    def _open(self, path: Path | None = None) -> None:
        from fluxgym_tui.config.models import load_models
        from fluxgym_tui.config.vram import VRAM_KEYS
        from fluxgym_tui.ui import draft_files
        from fluxgym_tui.ui.draft_messages import DraftOpened

        app = self.fluxgym
        error = None
        try:
            trigger = app.trigger if path is None else None  # it was given for the first folder
            opened = draft_files.open_draft(app.workspace, path=path or app.open_path, trigger=trigger)
        except FluxgymError as problem:
            error, opened = problem, draft_files.open_draft(app.workspace)
        try:
            models = tuple(load_models(workspace=app.workspace.root))
        except FluxgymError as problem:
            error, models = problem, ()
        choices = {"base_model": models, "training.vram": VRAM_KEYS}
        asked = path is not None
        self.post_message(DraftOpened(opened, draft_files.blank_values(), choices, error, asked))

    def on_draft_opened(self, message: "DraftOpened") -> None:
        """Begin with the draft; the one to begin with is taken once, however many screens asked for it."""
        if self.draft.opened and not message.asked:
            return
        if message.error is not None:
            self.fluxgym.tell_error(message.error)
        self.draft.choices, self.draft.defaults = dict(message.choices), dict(message.defaults)
        wanted, self.fluxgym.draft_wanted = self.fluxgym.draft_wanted, None
        self.take(wanted or message.opened)

    def take(self, opened: OpenedDraft) -> None:
        """Work on `opened` from now on."""
        self.draft.take(opened)
        if opened.fresh:
            self.save_soon()
        if opened.note:
            self.notify(opened.note)
        self._show_everywhere()
        self._look(rescan=True)

    # Looking: scan and preflight

    @work(thread=True, exclusive=True, group="look", exit_on_error=False)
    def _look(self, *, rescan: bool = False) -> None:
        from fluxgym_tui.checks.preflight import preflight
        from fluxgym_tui.config.by_hand import hand_edits
        from fluxgym_tui.ui.draft_messages import FolderScanned, Surveyed
        from fluxgym_tui.ui.draft_scans import same_scans, scan_folders
        from fluxgym_tui.ui.pace import known_pace

        worker, draft = get_current_worker(), self.draft
        folder, spec, known, before = draft.folder, draft.spec, draft.scans, draft.ready
        if folder is None:
            return
        try:
            scans = scan_folders([folder, *(source.folder for source in draft.sources)], known, rescan=rescan)
        except FluxgymError as error:
            if not worker.is_cancelled:
                self.post_message(FolderScanned(folder, None, str(error)))
            return
        if worker.is_cancelled:
            return
        if same_scans(scans, known):
            if draft.planned and not rescan:
                return
        else:
            self.post_message(FolderScanned(folder, scans))
        if spec is None:
            return
        try:
            by_hand = hand_edits(draft.file)
            ready = preflight(spec, workspace=self.fluxgym.workspace, scanned=scans, by_hand=by_hand)
        except FluxgymError as error:
            if not worker.is_cancelled:
                self.post_message(Surveyed(spec, None, str(error)))
            return
        if before is not None and before.plan == ready.plan:
            ready = replace(ready, plan=before.plan)  # the same one: what was drawn of it need not be drawn anew
        pace, of = known_pace(
            self.fluxgym.workspace, ready.spec, base_model=ready.model.key, backend=ready.backend.name
        )
        if not worker.is_cancelled:
            self.post_message(Surveyed(spec, ready, seconds_per_step=pace, pace_of=of))

    def on_folder_scanned(self, message: "FolderScanned") -> None:
        """Take note of what lies in the folders."""
        self.draft.scan_problem = message.problem
        self.draft.surveyed = None  # the old plan is shown until the new one is there
        if message.scans is None:
            self.draft.scans = {}
            self.draft.ready, self.draft.ready_problem = None, message.problem
        else:
            self.draft.scans = dict(message.scans)
        self._show_everywhere()

    def on_surveyed(self, message: "Surveyed") -> None:
        """Take note of the plan; one that came too late is of no use."""
        if message.spec is not self.draft.spec:
            return
        self.draft.ready, self.draft.ready_problem = message.ready, message.problem
        self.draft.surveyed = message.spec
        self.draft.pace = (message.seconds_per_step, message.pace_of)
        self._show_everywhere()

    # Saving

    def save(self, *, replace: bool = False) -> None:
        """Keep the draft, in a thread."""
        if self.draft.opened and self.draft.has_folder:
            self._save(self.draft.generation, self._save_arguments(replace=replace))

    def _save_arguments(self, *, replace: bool = False) -> dict[str, Any]:
        draft = self.draft
        return {
            "workspace": self.fluxgym.workspace,
            "version": draft.version,
            "base": dict(draft.base),
            "values": dict(draft.values),
            "file": draft.file,
            "mtime_ns": draft.mtime_ns,
            "spec": draft.spec,
            "settled": self.settled,
            "replace": replace,
        }

    def _save_now_here(self) -> None:
        if not (self.draft.opened and self.draft.has_folder) or self.draft.version == self.draft.saved_version:
            return
        try:
            saved = self.draft.writer.save(
                generation=self.draft.generation, arguments={**self._save_arguments(), "settled": True}
            )
            if saved is not None:
                self._take_saved(saved)
        except FluxgymError as error:
            self.fluxgym.tell_error(error)

    @work(thread=True, exclusive=True, group="save", exit_on_error=False)
    def _save(self, generation: int, arguments: dict[str, Any]) -> None:
        from fluxgym_tui.ui.draft_messages import DraftSaved

        try:
            self.post_message(
                DraftSaved(generation, self.draft.writer.save(generation=generation, arguments=arguments))
            )
        except FluxgymError as error:
            self.post_message(DraftSaved(generation, None, error))

    def on_draft_saved(self, message: "DraftSaved") -> None:
        """Take note of where the draft is kept."""
        if message.saved is None:
            if message.error is not None:
                self.fluxgym.tell_error(message.error)
            return
        if message.generation == self.draft.generation:
            self._take_saved(message.saved)
            self._show_everywhere()

    def _take_saved(self, saved: "SavedDraft") -> None:
        self.draft.file, self.draft.mtime_ns = saved.file, saved.mtime_ns
        self.draft.held, self.draft.saved_version = saved.held, saved.version

    def action_save(self) -> None:
        """Save now; replaces another spec only when told so."""
        if not self.draft.held:
            self.save()
            self.notify("Saved.")
            return

        def answered(yes: bool | None) -> None:
            if yes:
                self.save(replace=True)

        text = "It stays as it is unless you replace it. What you typed is kept either way."
        self.app.push_screen(
            ConfirmScreen(f"{self.draft.held}. Replace it?", text, do="Replace it", keep="Leave it"), answered
        )

    def action_open_saved(self) -> None:
        """Choose a saved spec or a run, and go on with its settings."""
        from fluxgym_tui.ui.screens.open_saved import OpenSavedScreen

        def answered(opened: OpenedDraft | None) -> None:
            if opened is not None:
                self.take(opened)

        self.save()
        self.app.push_screen(OpenSavedScreen(self.fluxgym.workspace), answered)

    # Starting

    def why_not(self, action: str) -> str | None:
        """Why the draft cannot be started, saved or replaced now."""
        if action not in ("start", "save", "open_saved"):
            return None
        if not self.draft.opened:
            return "it is still being opened"
        if action == "save" and not self.draft.has_folder:
            return "there is nothing to save yet"
        if action == "start":
            if self.draft.starting:
                return "it is being started"
            if self.draft.spec is None:
                return terminal_safe(self.draft.problem)
        return None

    def action_start(self) -> None:
        """Start the training; asks first where another one runs."""
        if self.draft.spec is not None and not self.draft.starting:
            self.draft.starting = True
            self.refresh_bindings()
            self._save_now_here()
            self._start(self.draft.spec, beside=False)

    @work(thread=True, exclusive=True, group="start", exit_on_error=False)
    def _start(self, spec: "TrainSpec", *, beside: bool) -> None:
        from fluxgym_tui.config.by_hand import hand_edits
        from fluxgym_tui.runs.launch import launch
        from fluxgym_tui.runs.listing import list_runs
        from fluxgym_tui.ui.draft_messages import StartAsked, StartEnded

        workspace = self.fluxgym.workspace
        if not beside:
            alive = [one.name for one in list_runs(workspace.root / "outputs") if not one.state.ended]
            if alive:
                self.post_message(StartAsked(tuple(alive)))
                return
        try:
            by_hand = hand_edits(self.draft.file)
            run = launch(spec, workspace=workspace, by_hand=by_hand)
            self.post_message(StartEnded(run, edited=tuple(edit.name for edit in by_hand)))
        except FluxgymError as error:
            self.post_message(StartEnded(None, error))

    def on_start_asked(self, message: "StartAsked") -> None:
        """Another run is alive: one more shares its graphics card."""
        spec = self.draft.spec

        def answered(yes: bool | None) -> None:
            if yes and spec is not None:
                self._start(spec, beside=True)
            else:
                self.draft.starting = False
                self.refresh_bindings()

        names = ", ".join(terminal_safe(name) for name in message.alive[:3])
        self.app.push_screen(
            ConfirmScreen(
                f"{names} runs already. Start another beside it?",
                "Both share this machine's memory and card; either may run out of it.",
                do="Start beside it",
                keep="Wait",
            ),
            answered,
        )

    def on_start_ended(self, message: "StartEnded") -> None:
        """Watch the run, or tell what stands against it."""
        self.draft.starting = False
        self.refresh_bindings()
        if message.run is not None:
            edited = f" It trains from {' and '.join(message.edited)} as edited by hand." if message.edited else ""
            self.notify(f"{message.run.name} is started. It goes on when this app is closed.{edited}")
            self.fluxgym.open_run(message.run)
        elif message.error is not None:
            # Plan may stand there as ready: what spoke against it can lie outside of it, as a hub that is away.
            said, hint = message.error.message.split("\n"), message.error.hint
            told = FluxgymError(["the training is not started:", *said], hint=hint and hint.split("\n"))
            self.fluxgym.tell_error(told)
            self.fluxgym.show("plan")
