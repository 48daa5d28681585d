"""The question how to go on with a run: from its state or newest LoRA, to the planned end or some epochs further."""

from dataclasses import dataclass

from textual import on
from textual.app import ComposeResult
from textual.containers import Horizontal, Vertical
from textual.content import Content
from textual.widgets import Button, Input, Static

from fluxgym_tui.backends.resume import ResumePoint
from fluxgym_tui.base.text import count, terminal_safe
from fluxgym_tui.runs.resume import Prospects
from fluxgym_tui.runs.state import RunSummary
from fluxgym_tui.ui.screens.dialog import Dialog
from fluxgym_tui.ui.theme import MUTED

_MORE = "4"  # what is offered to a run that is complete


@dataclass(frozen=True, slots=True)
class Wish:
    """How to go on: `more_epochs` beyond the plan, None for none; from the newest LoRA instead of a state."""

    more_epochs: int | None
    weights: bool


class ResumeScreen(Dialog[Wish]):
    """Answers with a `Wish`; a way that is not open says why."""

    def __init__(self, summary: RunSummary, found: Prospects) -> None:
        super().__init__()
        self._summary, self._found = summary, found

    def compose(self) -> ComposeResult:
        summary, found = self._summary, self._found
        with Vertical(classes="dialog"):
            yield Static(f"Go on with {terminal_safe(summary.name)}?", classes="dialog-title", markup=False)
            yield Static(
                f"It {'has ' if found.finished else 'was ' if summary.state in ('stopped', 'interrupted') else ''}"
                f"{summary.state} at step {summary.step:,}; planned were {count(found.length.steps, 'step')}, "
                f"{count(found.length.epochs, 'epoch')}.",
                markup=False,
            )
            yield Static("")
            yield Static("Epochs more than planned (empty: none)", markup=False)
            yield Input(_MORE if found.finished else "", id="more", type="integer", compact=True)
            yield Static("", id="length")
            yield Static(self._way("From its state", found.state, found.why_no_state))
            yield Static(self._way("From its newest LoRA", found.weights, found.why_no_weights))
            with Horizontal(classes="dialog-buttons"):
                yield Button("From the state", id="state", disabled=found.state is None)
                yield Button("From the LoRA", id="weights", disabled=found.weights is None)
                yield Button("Leave it", id="leave")

    def on_mount(self) -> None:
        self._tell_length()
        if self._nothing:
            wanted = "#leave"
        elif self._found.finished:
            wanted = "#more"
        else:
            wanted = "#state" if self._found.state is not None else "#weights"
        self.query_one(wanted).focus()

    @property
    def _nothing(self) -> bool:
        """Whether there is nothing to go on from."""
        return self._found.state is None and self._found.weights is None

    def _way(self, words: str, point: ResumePoint | None, why_not: str) -> Content:
        if point is None:
            return Content.styled(f"{words}: not possible, {terminal_safe(why_not)}", MUTED)
        fresh = "; the optimiser begins afresh" if point.kind == "weights" else ""
        return Content(f"{words}: {terminal_safe(point.path.name)}, step {point.step:,}{fresh}")

    @property
    def _more(self) -> int | None:
        """Epochs more; None where none are asked for. Raises ValueError where it is no such number."""
        text = self.query_one("#more", Input).value.strip()
        more = int(text) if text else None
        if more is not None and more < 0:
            raise ValueError(text)
        return more

    @on(Input.Changed)
    def _tell_length(self) -> None:
        found = self._found
        line = self.query_one("#length", Static)
        problem = ""
        try:
            more = self._more
        except ValueError:
            more, problem = None, "That is no number of epochs."
        length = found.length if more is None else found.length.longer(more)
        if self._nothing:
            problem = "Nothing was saved to go on from; n on Runs begins a new training like it."
        elif not problem and found.finished and not more:
            problem = "It is complete; say how many epochs more."
        for name, point in (("state", found.state), ("weights", found.weights)):
            done = point is not None and point.step >= length.steps
            self.query_one(f"#{name}", Button).disabled = bool(problem) or point is None or done
        words = f"It would end at step {length.steps:,}, epoch {length.epochs}."
        line.update(Content.styled(f"✗ {problem}", "$error") if problem else Content(words))

    @on(Input.Submitted)
    def _submitted(self) -> None:
        self.focus_next()

    def on_button_pressed(self, event: Button.Pressed) -> None:
        """Hand back what is wanted."""
        if event.button.id == "leave":
            self.dismiss(None)
            return
        self.dismiss(Wish(self._more, event.button.id == "weights"))
