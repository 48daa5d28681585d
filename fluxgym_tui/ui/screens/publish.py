"""Publish: a LoRA to Hugging Face: who is logged in, what goes up, the card as it will be, and the upload."""

from pathlib import Path
from typing import ClassVar

from textual import events, on
from textual.app import ComposeResult
from textual.binding import BindingType
from textual.containers import Horizontal, Vertical, VerticalScroll
from textual.content import Content
from textual.timer import Timer
from textual.widgets import Input, Static

from fluxgym_tui.base.text import count, human_size, terminal_safe
from fluxgym_tui.hub.publish import PublishCancelledError, RepoTakenError, why_no_repo_name
from fluxgym_tui.runs.checkpoints import RunFiles
from fluxgym_tui.runs.directory import RunDirectory
from fluxgym_tui.runs.picked import picked
from fluxgym_tui.runs.publication import Publication
from fluxgym_tui.runs.publishing import repo_name
from fluxgym_tui.ui.actions import bindings
from fluxgym_tui.ui.outside import copy_text
from fluxgym_tui.ui.publish_words import (
    account_line,
    line,
    preview_markdown,
    progress_words,
    seen_line,
    trained_words,
    why_cannot_write,
)
from fluxgym_tui.ui.screens.confirm import ConfirmScreen
from fluxgym_tui.ui.screens.publish_account import PublishAccount
from fluxgym_tui.ui.screens.publish_actions import EMPTY, PUBLISH_ACTIONS
from fluxgym_tui.ui.screens.publish_work import (
    Gathered,
    RunsFound,
    UploadAdvanced,
    UploadEnded,
)
from fluxgym_tui.ui.theme import MUTED
from fluxgym_tui.ui.widgets.line_list import LineList
from fluxgym_tui.ui.widgets.picture import Picture

_LOOK_S = 2.0
_MOST_ROWS = 12  # of the list of files; more are scrolled to
_TYPING_S = 0.4  # the card is made anew when the name has stood for so long


class PublishScreen(PublishAccount):
    """What goes up on the left, the card on the right; a narrow terminal shows one of the two."""

    NAME = "publish"
    CSS_PATH = "publish.tcss"
    AUTO_FOCUS = ""  # the field would keep the digits
    HELP_TITLE = "Publish"
    HELP_TEXT = (
        "A LoRA of a run goes to Hugging Face with its model card, the samples of that checkpoint and the settings\n"
        "without local paths; nothing else. Private unless you say otherwise; published again, it is updated."
    )
    ACTIONS = PUBLISH_ACTIONS
    BINDINGS: ClassVar[list[BindingType]] = bindings(ACTIONS)

    def __init__(self) -> None:
        super().__init__()
        self.publication: Publication | None = None
        self.private = True
        self.link: str | None = None
        self.uploading = False
        self._asked = False
        self._files: RunFiles | None = None
        self._on_live: RunDirectory | None = None
        self._typing: Timer | None = None
        self._card = ""
        self._problem = ""

    def compose_body(self) -> ComposeResult:
        yield Static("", id="empty", classes="empty", markup=False)
        with Horizontal(id="middle"):
            with Vertical(id="left"):
                yield Static("", id="about")
                with Horizontal(id="repository"):
                    yield Static("repository", classes="label")
                    yield Input(id="repo", compact=True, placeholder="OWNER/NAME")
                    yield Static("", id="repo-note")
                yield Static("", id="seen")
                yield Static("", id="files-title")
                yield LineList(id="files", help_title="The files that go up")
                yield Static("", id="notes", markup=False)
                yield Picture(colour=self.fluxgym.in_colour)
            yield VerticalScroll(id="card", can_focus=True)
        yield Static("", id="state")

    def on_mount(self) -> None:
        for name in ("#middle", "#state", "#empty"):
            self.query_one(name).display = False
        self.query_one("#files").focus()
        self.set_interval(_LOOK_S, self._look_if_seen)

    def _look_if_seen(self) -> None:
        if self.is_current and not self.uploading:
            self.look()

    @on(events.ScreenResume)
    def _resumed(self) -> None:
        """Another run may be shown on Live, another file picked on Samples, another LoRA saved."""
        if self.fluxgym.run_shown != self._on_live and not self.uploading:
            self._on_live = self.fluxgym.run_shown
            self._take_run(self._on_live)
        else:
            self.gather()
        if not self._asked:
            self._asked = True
            self.ask_account()

    def on_resize(self) -> None:
        """The card is made when there is room for it."""
        self.call_after_refresh(self._show_card)

    # What was found

    @on(Gathered)
    def _gathered_now(self, message: Gathered) -> None:
        if self.uploading or (self.run_dir is not None and message.run != self.run_dir):
            return
        self.run_dir, self._files, self.publication = message.run, message.files, message.publication
        self._problem = "" if message.error is None else message.error.message
        self.link = message.url_before
        self.show_publication()

    @on(RunsFound)
    def _choose_run(self, message: RunsFound) -> None:
        from fluxgym_tui.ui.screens.publish_dialogs import ChooseRunScreen

        def answered(path: Path | None) -> None:
            if path is not None:
                self._take_run(RunDirectory(path))

        if message.runs:
            self.app.push_screen(ChooseRunScreen(message.runs), answered)
        else:
            self.notify("There is no run yet.", severity="warning")

    def _take_run(self, run: RunDirectory | None) -> None:
        self.run_dir = run
        self.wanted = self.typed = self.link = None
        self.gather()

    # Showing

    def show_publication(self) -> None:
        """Show what can be published, or what is missing."""
        publication = self.publication
        empty = self.query_one("#empty", Static)
        empty.display = publication is None
        for name in ("#middle", "#state"):
            self.query_one(name).display = publication is not None
        if publication is None:
            empty.update(self._why_empty())
            self.refresh_availability()
            return
        chosen = publication.checkpoint
        about = [
            account_line(self.account, self.source, self.why_no_account),
            line("run", terminal_safe(publication.run.name), "r changes it"),
            line("LoRA file", terminal_safe(chosen.path.name), "c changes it"),
            line("trained for", trained_words(chosen, picked=picked(publication.run) == chosen.path)),
        ]
        self.query_one("#about", Static).update(Content("\n").join(about))
        field = self.query_one("#repo", Input)
        if self.typed is None and field.value != publication.repo_id:
            with self.prevent(Input.Changed):
                field.value = publication.repo_id
        files = self.query_one("#files", LineList)
        files.show(len(publication.files), self._row)
        files.styles.max_height = min(len(publication.files), _MOST_ROWS)
        total = f"  {count(len(publication.files), 'file')}, {human_size(publication.size_bytes)}"
        self.query_one("#files-title", Static).update(Content.assemble(("files that go up", "bold"), total))
        self.query_one("#notes", Static).update("\n".join(f"· {terminal_safe(note)}" for note in publication.notes))
        self._show_picture()
        self._show_name()
        self._show_card()

    @on(LineList.Moved, "#files")
    def _show_picture(self) -> None:
        """The sample under the cursor, else the first one."""
        if self.publication is None:
            return
        pictures = {
            number: file.source
            for number, file in enumerate(self.publication.files)
            if file.path_in_repo.endswith(".png")
        }
        first = next(iter(pictures.values()), None)
        self.query_one(Picture).show(pictures.get(self.query_one("#files", LineList).cursor, first))

    @on(LineList.Chosen, "#files")
    def _file_opened(self, message: LineList.Chosen) -> None:
        """The card is shown; of the others it is told where they come from."""
        if self.publication is None:
            return
        file = self.publication.files[message.row]
        if file.path_in_repo == "README.md":
            self.add_class("-card")
            self.query_one("#card").focus()
            self.call_after_refresh(self._show_card)
        elif file.source is not None:
            self.notify(f"It lies in {file.source}")
        else:
            self.notify("The run's settings without local paths; a dry run (d) writes them to look at.")

    def _why_empty(self) -> str:
        if self._problem and self.run_dir is not None:
            more = self._files is not None and len(self._files.checkpoints) > 1
            also = "c chooses another LoRA file of this run, " if more else ""
            name = terminal_safe(self.run_dir.name)
            return f"Nothing of {name} can be published: {terminal_safe(self._problem)}\n\n{also}r another run."
        if self.run_dir is not None:
            return (
                f"{terminal_safe(self.run_dir.name)} has no LoRA file yet.\n\n"
                "A training writes one at each save and at its end; 5 shows how far it is.\n"
                "r chooses another run."
            )
        return EMPTY.format(outputs=terminal_safe(str(self.fluxgym.workspace.root / "outputs")))

    def _row(self, number: int, width: int) -> Content:
        assert self.publication is not None  # without one there are no rows
        file = self.publication.files[number]
        name = Content(terminal_safe(file.path_in_repo)).truncate(max(10, width - 10), ellipsis=True, pad=True)
        return Content.assemble(name, f" {human_size(file.size_bytes):>8}")

    def _show_name(self) -> None:
        """The lines that depend on repository and visibility, and the keys."""
        reason = self._why_not_name()
        owners = "  o: owner" if self.account is not None and len(self.account.owners) > 1 else ""
        good = Content.assemble(("✓", "$success"), (owners, MUTED))
        note = Content.styled(f"✗ {terminal_safe(reason)}", "$error") if reason else good
        self.query_one("#repo-note", Static).update(note)
        mine = self.account is None or self.repo_id.partition("/")[0] == self.account.name
        self.query_one("#seen", Static).update(seen_line(private=self.private, mine=mine))
        if not self.uploading:
            self._show_state()
        self.refresh_availability()

    def _show_state(self, words: Content | None = None) -> None:
        """The line about the upload: `words`, else where it was published, else whether it can be."""
        if words is None and self.link is not None:
            words = Content.assemble(
                ("✓ ", "$success"), f"published: {terminal_safe(self.link)}", ("  y copies", MUTED)
            )
        if words is None:
            reason = self.why_not("publish")
            ready = Content(f"p uploads it to {terminal_safe(self.repo_id)}")
            words = Content.styled(f"not ready: {terminal_safe(reason)}", MUTED) if reason else ready
        self.query_one("#state", Static).update(words)

    def _show_card(self) -> None:
        """Make the card's picture, where it is seen and is not the one that stands there."""
        if self.publication is not None and self.query_one("#card").display and self._card != self.publication.card:
            # Imported here: it takes as long to load as the rest, and a narrow terminal may never show it.
            from textual.widgets import Markdown

            self._card = self.publication.card
            self.query_one("#card").remove_children()
            self.query_one("#card").mount(Markdown(preview_markdown(self._card), open_links=False))

    # The repository's name

    def _why_not_name(self) -> str | None:
        if (reason := why_no_repo_name(self.repo_id)) is not None:
            return reason
        return None if self.account is None else why_cannot_write(self.account, self.repo_id)

    @on(Input.Changed, "#repo")
    def _name_typed(self) -> None:
        self.typed, self.link = self.repo_id, None
        self._show_name()
        if self._typing is not None:
            self._typing.stop()
        self._typing = self.set_timer(_TYPING_S, self.gather)

    @on(Input.Submitted, "#repo")
    def _name_submitted(self) -> None:
        self.query_one("#files").focus()

    # Actions

    def why_not(self, action: str) -> str | None:
        """What cannot be done now, and why."""
        if action == "break_off":
            return None if self.uploading else "nothing is being uploaded"
        if action == "copy_link":
            return None if self.link is not None else "it is not published yet"
        if self.uploading and action not in ("dry_run", "card"):
            return "an upload is going on"
        if action in ("login", "ask", "run"):
            return None
        if action == "logout":
            return self.why_not_account(action)
        if action == "checkpoint" and self._files is not None and self._files.checkpoints:
            return None if len(self._files.checkpoints) > 1 else "the run has no other LoRA file"
        if self.publication is None:
            return self._problem or "there is no LoRA file"
        if action == "dry_run":
            return why_no_repo_name(self.repo_id)
        if (reason := self.why_not_account(action)) is not None:
            return reason
        return self._why_not_name() if action == "publish" else None

    def action_publish(self) -> None:
        """Upload; what everybody will see is asked about first."""
        if self.private:
            self._begin()
            return

        def answered(yes: bool | None) -> None:
            if yes:
                self._begin()

        self.app.push_screen(
            ConfirmScreen(
                "Publish for everybody?",
                f"Everybody will see {terminal_safe(self.repo_id)}: the LoRA, its sample pictures and prompts, and "
                "the settings. What was seen once cannot be taken back.",
                do="Publish it",
                keep="Not yet",
            ),
            answered,
        )

    def _begin(self, *, replace: bool = False) -> None:
        assert self.publication is not None  # the key is dimmed without one
        self.uploading, self.link = True, None
        self._show_state(Content.styled("reading the LoRA file ...", MUTED))
        self.refresh_availability()
        lora = self.publication.checkpoint.path
        self.upload(self.publication.run, lora, repo_id=self.repo_id, private=self.private, replace=replace)

    @on(UploadAdvanced)
    def _advanced(self, message: UploadAdvanced) -> None:
        if self.uploading:
            self._show_state(Content(f"{progress_words(message.at, seconds=message.seconds)}  s breaks off"))

    @on(UploadEnded)
    def _ended(self, message: UploadEnded) -> None:
        self.uploading = False
        if message.published is not None:
            self.link = message.published.url
            same = message.published.commit is None
            self.notify(f"{'Nothing had changed' if same else 'Published'}: {self.link}")
            self._show_state()
        elif isinstance(message.error, RepoTakenError):
            self._show_state()
            self._ask_to_replace(message.error)
        elif message.error is not None:
            words = "broken off" if isinstance(message.error, PublishCancelledError) else "not published"
            self._show_state(Content.styled(f"✗ {words}: {terminal_safe(message.error.message)}", "$error"))
            self.fluxgym.tell_error(message.error)
        self.refresh_availability()

    def _ask_to_replace(self, error: RepoTakenError) -> None:
        def answered(yes: bool | None) -> None:
            if yes:
                self._begin(replace=True)

        self.app.push_screen(
            ConfirmScreen(
                "Publish into it?",
                f"{terminal_safe(error.message)}. Files of the same names are replaced, its card above all; the others "
                "stay. The repository's history keeps what was there.",
                do="Publish into it",
                keep="Not there",
            ),
            answered,
        )

    def action_break_off(self) -> None:
        """Stop the upload."""
        self.workers.cancel_group(self, "upload")
        self._show_state(Content.styled("breaking off ...", MUTED))

    def action_dry_run(self) -> None:
        """Write what would go up to a folder."""
        from fluxgym_tui.ui.screens.publish_dialogs import DryRunScreen

        publication = self.publication
        if publication is None:
            return

        def answered(folder: Path | None) -> None:
            if folder is not None:
                self.write_dry_run(publication.files, folder)

        proposed = self.fluxgym.workspace.root / f"publish-{repo_name(publication.run.name)}"
        self.app.push_screen(DryRunScreen(proposed), answered)

    def action_checkpoint(self) -> None:
        """Choose another LoRA file."""
        from fluxgym_tui.ui.screens.publish_dialogs import ChooseCheckpointScreen

        if self._files is None:
            return

        def answered(name: str | None) -> None:
            if name is not None:
                self.wanted = name
                self.gather()

        chosen = None if self.publication is None else self.publication.checkpoint.path
        self.app.push_screen(ChooseCheckpointScreen(self._files, chosen, picked(self._files.run)), answered)

    def action_run(self) -> None:
        """Choose another run."""
        self.find_runs()

    def action_card(self) -> None:
        """Show or leave the card."""
        self.set_class(not self.has_class("-card"), "-card")
        self.query_one("#card" if self.has_class("-card") else "#files").focus()
        self.call_after_refresh(self._show_card)

    def action_name(self) -> None:
        """Into the field."""
        self.remove_class("-card")
        self.query_one("#repo").focus()

    def action_private(self) -> None:
        """Private or public."""
        self.private = not self.private
        self._show_name()

    def action_ask(self) -> None:
        """Everything anew."""
        self.gather()
        self.ask_account()

    def action_copy_link(self) -> None:
        """The link to the clipboard."""
        if self.link is not None:
            copy_text(self.fluxgym, self.link, "the link")

    def why_stay(self) -> str | None:
        """An upload ends with the app."""
        if not self.uploading:
            return None
        return (
            f"{terminal_safe(self.repo_id)} is being uploaded, which ends with this app. "
            "Files that are up whole are not sent again the next time."
        )

    def go_back(self) -> None:
        """Leave the card on a narrow terminal."""
        if self.has_class("-card"):
            self.action_card()
