"""The windows of the screen Publish: login, another run, another LoRA file, a folder for the dry run."""

from dataclasses import dataclass
from pathlib import Path

from textual import on, work
from textual.app import ComposeResult
from textual.containers import Horizontal, Vertical
from textual.content import Content
from textual.message import Message
from textual.widgets import Button, Input, Static

from fluxgym_tui.base.errors import FluxgymError
from fluxgym_tui.base.text import terminal_safe
from fluxgym_tui.hub.auth import Account, Token, login, read_token_file
from fluxgym_tui.hub.library import TOKENS_LINK
from fluxgym_tui.runs.checkpoints import Checkpoint, RunFiles
from fluxgym_tui.runs.state import RunSummary
from fluxgym_tui.ui.screens.dialog import Dialog
from fluxgym_tui.ui.theme import MUTED, STATE_COLOURS, STATE_GLYPHS
from fluxgym_tui.ui.widgets.line_list import LineList


@dataclass
class _Answered(Message):
    account: Account | None
    error: FluxgymError | None = None


class LoginScreen(Dialog[Account]):
    """Takes a token, which is never shown nor told; answers with its account once it is checked and stored."""

    HELP_TITLE = "Log in"

    def __init__(self, *, from_environment: str | None, old_file: Path | None) -> None:
        """`from_environment` is the variable that holds a token already; `old_file` where fluxgym left one."""
        super().__init__()
        self._from_environment, self._old_file = from_environment, old_file

    def compose(self) -> ComposeResult:
        with Vertical(classes="dialog"):
            yield Static("Log in to Hugging Face", classes="dialog-title")
            yield Static(
                f"Paste a token that may write, from {TOKENS_LINK}. It is checked, and kept in Hugging Face's own "
                "store, where every program that uses the Hub finds it.",
                markup=False,
            )
            if self._from_environment is not None:
                yield Static(
                    Content.styled(
                        f"! {self._from_environment} is set here and comes before a stored token.", "$warning"
                    )
                )
            if self._old_file is not None:
                yield Static(
                    f"fluxgym left its token in {terminal_safe(str(self._old_file))}. Anybody who can read that file "
                    "can use it. This is said once; the file itself is left alone.",
                    markup=False,
                )
            yield Static("")
            yield Input(password=True, id="token", placeholder="hf_...", compact=True)
            yield Static("", id="told", markup=False)
            with Horizontal(classes="dialog-buttons"):
                yield Button("Log in", id="login", variant="primary")
                if self._old_file is not None:
                    yield Button("Use fluxgym's", id="old")
                yield Button("Leave it", id="leave")

    def on_mount(self) -> None:
        self.query_one("#token").focus()

    def on_button_pressed(self, event: Button.Pressed) -> None:
        """Check the token, or leave."""
        if event.button.id == "leave":
            self.dismiss(None)
        elif event.button.id == "old" and self._old_file is not None:
            self._login(self._old_file)
        else:
            self._take()

    @on(Input.Submitted)
    def _take(self) -> None:
        field = self.query_one("#token", Input)
        token = Token(field.value)
        field.value = ""
        if not token:
            self._tell("✗ There is no token in the field.")
            return
        self._login(token)

    def _login(self, given: Token | Path) -> None:
        self._tell("Hugging Face is being asked ...")
        self.query_one("#login", Button).disabled = True
        self._ask(given)

    @work(thread=True, exclusive=True, exit_on_error=False)
    def _ask(self, given: Token | Path) -> None:
        """Log in with a token, or with the one in a file."""
        try:
            self.post_message(_Answered(login(read_token_file(given) if isinstance(given, Path) else given)))
        except FluxgymError as error:
            self.post_message(_Answered(None, error))

    def on__answered(self, message: _Answered) -> None:
        """Hand the account back, or tell what is wrong with the token."""
        if message.error is None:
            self.dismiss(message.account)
            return
        self.query_one("#login", Button).disabled = False
        self._tell(f"✗ {terminal_safe(str(message.error), keep=chr(10))}")
        self.query_one("#token").focus()

    def _tell(self, words: str) -> None:
        told = self.query_one("#told", Static)
        told.update(words)
        told.set_class(words.startswith("✗"), "-wrong")


class ChooseRunScreen(Dialog[Path]):
    """Answers with the folder of a run."""

    def __init__(self, runs: tuple[RunSummary, ...]) -> None:
        super().__init__()
        self._runs = runs

    def compose(self) -> ComposeResult:
        with Vertical(classes="dialog wide"):
            yield Static("Publish a LoRA of which run?", classes="dialog-title")
            yield LineList(help_title="The runs")
            yield Static("enter takes it · esc closes", classes="muted")

    def on_mount(self) -> None:
        listed = self.query_one(LineList)
        listed.show(len(self._runs), self._row, heading=Content(f"  {'run':<36}{'state':<16}steps"))
        listed.focus()

    def _row(self, number: int, width: int) -> Content:
        run = self._runs[number]
        name = Content(terminal_safe(run.name)).truncate(35, ellipsis=True, pad=True)
        state = f"{STATE_GLYPHS[run.state]} {run.state}"
        return Content.assemble(name, " ", (f"{state:<15} ", STATE_COLOURS[run.state]), f"{run.step:,}").truncate(width)

    def on_line_list_chosen(self, message: LineList.Chosen) -> None:
        """Hand it back."""
        self.dismiss(self._runs[message.row].path)


class ChooseCheckpointScreen(Dialog[str]):
    """Answers with the name of a LoRA file."""

    def __init__(self, files: RunFiles, current: Path | None, picked: Path | None) -> None:
        super().__init__()
        self._rows: list[tuple[Checkpoint, int]] = [
            (one, len(files.samples_of(one).pictures)) for one in files.checkpoints
        ]
        self._current, self._picked = current, picked

    def compose(self) -> ComposeResult:
        with Vertical(classes="dialog wide"):
            yield Static("Publish which LoRA file?", classes="dialog-title")
            yield LineList(help_title="The LoRA files")
            yield Static("enter takes it · esc closes", classes="muted")

    def on_mount(self) -> None:
        listed = self.query_one(LineList)
        paths = [one.path for one, _ in self._rows]
        cursor = paths.index(self._current) if self._current in paths else None
        listed.show(
            len(self._rows),
            self._row,
            heading=Content(f"  {'LoRA file':<36}{'trained for':<23}samples"),
            cursor=cursor,
        )
        listed.focus()

    def _row(self, number: int, width: int) -> Content:
        one, samples = self._rows[number]
        name = Content(terminal_safe(one.path.name)).truncate(35, ellipsis=True, pad=True)
        picked = "  picked" if one.path == self._picked else ""
        return Content.assemble(
            name, f" {one.words or 'not known':<23}{samples or 'none':<7}",
            (picked, MUTED),
        ).truncate(width)  # fmt: skip

    def on_line_list_chosen(self, message: LineList.Chosen) -> None:
        """Hand it back."""
        self.dismiss(self._rows[message.row][0].path.name)


class DryRunScreen(Dialog[Path]):
    """Answers with the folder that what would go up is written to."""

    def __init__(self, proposed: Path) -> None:
        super().__init__()
        self._proposed = proposed

    def compose(self) -> ComposeResult:
        with Vertical(classes="dialog"):
            yield Static("Write what would go up", classes="dialog-title")
            yield Static("Nothing is uploaded. The folder must be new or empty.", markup=False)
            yield Static("")
            yield Input(str(self._proposed), id="folder", compact=True)
            with Horizontal(classes="dialog-buttons"):
                yield Button("Write", id="write", variant="primary")
                yield Button("Leave it", id="leave")

    def on_mount(self) -> None:
        self.query_one("#folder").focus()

    def on_button_pressed(self, event: Button.Pressed) -> None:
        """Hand the folder back, or nothing."""
        if event.button.id == "leave":
            self.dismiss(None)
        else:
            self._take()

    @on(Input.Submitted)
    def _take(self) -> None:
        text = self.query_one("#folder", Input).value.strip()
        if text:
            self.dismiss(self._proposed.parent / Path(text).expanduser())
