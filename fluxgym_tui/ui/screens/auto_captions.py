"""Automatic captions on the Dataset screen: asking what makes them, starting, telling how far they are, undo."""

from pathlib import Path

from textual import work
from textual.content import Content
from textual.widgets import Static

from fluxgym_tui.base.errors import FluxgymError
from fluxgym_tui.base.text import count, terminal_safe
from fluxgym_tui.ui.captioning import CaptionProgress, key_of
from fluxgym_tui.ui.draft_fields import TRIGGER
from fluxgym_tui.ui.messages import ActionFailed
from fluxgym_tui.ui.screens.dataset_rows import DatasetRows


class AutoCaptions(DatasetRows):
    """A screen with the line `#captioning`, which is there while captions are made."""

    def follow_captioning(self) -> None:
        """Tell of the job from now on, one that runs already too."""
        self.query_one("#captioning").display = False
        captioning = self.fluxgym.captioning
        captioning.changed.subscribe(self, self._tell_captioning)
        if captioning.running and captioning.progress is not None:
            self._tell_captioning(captioning.progress)

    def _tell_captioning(self, progress: CaptionProgress) -> None:
        line = self.query_one("#captioning", Static)
        line.display = progress.ended is None
        line.update(Content(terminal_safe(f" {progress.line()}   (a: more, and cancel)")))
        if progress.ended is not None:
            failed = progress.fix is not None or progress.failed > 0
            told = f"{progress.ended}. {progress.fix or ('a tells why.' if progress.failed else '')}".strip()
            self.notify(terminal_safe(told), severity="warning" if failed else "information")
            self._look(rescan=True)
            self.refresh_bindings()

    @property
    def _journals(self) -> Path:
        return self.fluxgym.workspace.root / "captions"

    def _chosen(self) -> dict[Path, list[Path] | None]:
        """The folders to caption, each with the pictures that are marked, or None for all of it."""
        folders: dict[Path, list[Path] | None] = {}
        for number, source in enumerate(self.sources):
            marked = [Path(row.file) for row in self.rows if row.source == number and row.file in self.marked]
            if not self.marked:
                folders[source.folder] = None
            elif marked:
                folders[source.folder] = marked
        return folders

    def action_auto(self) -> None:
        """Caption by a model; while that is done, say how far it is."""
        captioning = self.fluxgym.captioning
        progress = captioning.progress
        if captioning.running or (progress is not None and progress.failures and not self._seen_failures):
            from fluxgym_tui.ui.screens.captioning import CaptionProgressScreen

            self._seen_failures = not captioning.running
            self.app.push_screen(CaptionProgressScreen(captioning))
            return
        self._ask_captions()

    _seen_failures = False

    @work(thread=True, exclusive=True, group="caption-settings", exit_on_error=False)
    def _ask_captions(self) -> None:
        from fluxgym_tui.captioner.journal import last_journal
        from fluxgym_tui.config.settings import load_settings, settings_path

        try:
            endpoints = load_settings(settings_path()).endpoints
        except FluxgymError as error:
            self.app.post_message(ActionFailed(error.message, error.hint))
            endpoints = {}
        undoable = any(last_journal(self._journals, source.folder) is not None for source in self.sources)
        self.app.call_from_thread(self._show_question, endpoints, undoable)

    def _show_question(self, endpoints: object, undoable: bool) -> None:
        from fluxgym_tui.ui.screens.captioning import AutoCaptionScreen, CaptionAnswer, jobs_for

        folders = self._chosen()
        whole = len(self.marked) or sum(row.image is not None for row in self.rows)
        of = f"the {count(whole, 'marked picture')}" if self.marked else f"all {count(whole, 'picture')}"

        def answered(answer: CaptionAnswer | None) -> None:
            if answer == "undo":
                self._undo_captions(tuple(folders))
            elif answer is not None:
                self._seen_failures = False
                key = key_of(screen.endpoint) if answer.method == "endpoint" else None
                self.fluxgym.captioning.start(jobs_for(answer, folders, self._journals), key=key)
                self.refresh_bindings()

        screen = AutoCaptionScreen(
            self.fluxgym.captioning.wish,
            of=of,
            trigger=str(self.draft.values.get(TRIGGER, "")).strip(),
            endpoints=endpoints,  # type: ignore[arg-type]  # it comes through a thread's call
            undoable=undoable,
        )
        self.app.push_screen(screen, answered)

    @work(thread=True, group="caption-write", exit_on_error=False)
    def _undo_captions(self, folders: tuple[Path, ...]) -> None:
        from fluxgym_tui.captioner.journal import last_journal, undo

        back, kept = 0, 0
        try:
            for folder in folders:
                if last_journal(self._journals, folder) is not None:
                    restored, changed = undo(self._journals, folder)
                    back, kept = back + restored, kept + len(changed)
        except FluxgymError as error:
            self.app.post_message(ActionFailed(error.message, error.hint))
        told = f"{count(back, 'caption')} as before" + (f", {kept:,} changed since and kept" if kept else "")
        self.app.call_from_thread(self.notify, f"{told}.")
        self.app.call_from_thread(self._look, rescan=True)
