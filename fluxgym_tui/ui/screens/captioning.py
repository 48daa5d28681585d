"""Windows of automatic captions: what makes them and for which pictures; and how far they are."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Final, Literal

from textual import on
from textual.app import ComposeResult
from textual.containers import Horizontal, Vertical
from textual.content import Content
from textual.widgets import Button, Input, Label, Select, Static

from fluxgym_tui.base.errors import FluxgymError
from fluxgym_tui.base.text import count, terminal_safe
from fluxgym_tui.captioner.job import EXISTING, METHODS, STYLES, CaptionJob, check
from fluxgym_tui.config.settings import EndpointSettings
from fluxgym_tui.ui.captioning import KEY_VARIABLE, Captioning, CaptionProgress, CaptionWish, key_of
from fluxgym_tui.ui.screens.dialog import Dialog
from fluxgym_tui.ui.theme import MUTED
from fluxgym_tui.ui.widgets.form import Choice
from fluxgym_tui.ui.widgets.line_list import LineList

_MAKERS: Final = {
    "florence": "Florence-2, on this machine",
    "endpoint": "an endpoint (vLLM, Ollama, ...)",
    "command": "a program of yours",
}
_KEPT: Final = {
    "keep": "stay where there are some",
    "fill": "are filled in where they say nothing",
    "replace": "are all replaced",
}
_FIELDS: Final = {
    "model": ("florence", "endpoint"),
    "url": ("endpoint",),
    "command": ("command",),
    "prompt": ("endpoint", "command"),
}
_LABELS: Final = {"model": "model", "url": "address", "command": "program", "prompt": "question"}
_HINTS: Final = {
    "model": "",
    "url": "http://127.0.0.1:8000/v1",
    "command": "my-captioner {picture}",
    "prompt": "its own; {trigger} stands for the trigger",
}
_STYLES: Final = {"short": "a short sentence", "detailed": "one or two sentences", "long": "a paragraph"}

CaptionAnswer = CaptionJob | Literal["undo"]


def jobs_for(template: CaptionJob, folders: Mapping[Path, Sequence[Path] | None], journals: Path) -> list[CaptionJob]:
    """`template` for each of `folders`, with its chosen pictures, or all of them where it has None."""
    from fluxgym_tui.captioner.journal import new_journal

    return [
        replace(
            template, folder=folder, journal=new_journal(journals, folder), only=None if only is None else tuple(only)
        )
        for folder, only in folders.items()
    ]


class AutoCaptionScreen(Dialog[CaptionAnswer]):
    """Answers with a job whose folder is still to be named, or with the wish to take the last one back."""

    DEFAULT_CSS = """
    AutoCaptionScreen .row { height: 1; }
    AutoCaptionScreen .row Label { width: 12; color: $foreground 60%; }
    AutoCaptionScreen .row Input, AutoCaptionScreen .row Select { width: 1fr; }
    AutoCaptionScreen #told { margin-top: 1; height: auto; }
    """

    def __init__(
        self,
        wish: CaptionWish,
        *,
        of: str,
        trigger: str,
        endpoints: Mapping[str, EndpointSettings],
        undoable: bool,
    ) -> None:
        """`of` says which pictures; `endpoints` are those of the settings; `undoable`: an earlier job can be undone."""
        super().__init__()
        self._wish, self._of, self._trigger, self._endpoints = wish, of, trigger, endpoints
        self._undoable = undoable

    def compose(self) -> ComposeResult:
        makers = [(words, name) for name, words in _MAKERS.items()]
        makers += [(f"endpoint {terminal_safe(name)}", f"@{name}") for name in self._endpoints]
        known = {value for _, value in makers}
        with Vertical(classes="dialog wide short"):
            yield Static(f"Caption by a model: {terminal_safe(self._of)}", classes="dialog-title", markup=False)
            with Horizontal(classes="row"):
                yield Label("made by")
                maker = self._wish.maker if self._wish.maker in known else METHODS[0]
                yield Choice(makers, value=maker, allow_blank=False, compact=True, id="maker")
            for name, label in _LABELS.items():
                with Horizontal(classes="row", id=f"row-{name}"):
                    yield Label(label)
                    yield Input(getattr(self._wish, name), placeholder=_HINTS[name], compact=True, id=name)
            for name, label, words in (("style", "length", _STYLES), ("existing", "captions", _KEPT)):
                with Horizontal(classes="row", id=f"row-{name}"):
                    yield Label(label)
                    choices = [(words[value], value) for value in (STYLES if name == "style" else EXISTING)]
                    yield Choice(choices, value=getattr(self._wish, name), allow_blank=False, compact=True, id=name)
            yield Static("", id="told", markup=False)
            with Horizontal(classes="dialog-buttons"):
                yield Button("Caption", id="start", variant="primary")
                yield Button("Undo the last job", id="undo", disabled=not self._undoable)
                yield Button("Cancel", id="cancel")

    def on_mount(self) -> None:
        self._fit()
        self.query_one("#maker").focus()

    def _method(self) -> str:
        return "endpoint" if self._wish.maker.startswith("@") else self._wish.maker

    @property
    def endpoint(self) -> EndpointSettings | None:
        """The endpoint of the settings that is chosen, if one is."""
        return self._endpoints.get(self._wish.maker[1:]) if self._wish.maker.startswith("@") else None

    @on(Select.Changed)
    def _chosen(self, event: Select.Changed) -> None:
        if event.select.id is not None and isinstance(event.value, str):
            setattr(self._wish, event.select.id, event.value)
            self._fit()

    @on(Input.Changed)
    def _typed(self, event: Input.Changed) -> None:
        if event.input.id is not None:
            setattr(self._wish, event.input.id, event.value)
            self._tell()

    def _fit(self) -> None:
        """Show the fields that this maker reads."""
        named = self.endpoint is not None
        for name, methods in _FIELDS.items():
            self.query_one(f"#row-{name}").display = self._method() in methods and not (name == "url" and named)
        florence = self._method() == "florence"
        hint = "base; or large, a repository, a folder" if florence else "the one it has"
        self.query_one("#model", Input).placeholder = hint
        self.query_one("#row-style").display = self._method() != "command" and not (
            self._method() == "endpoint" and self._wish.prompt
        )
        self._tell()

    def _tell(self) -> None:
        """What speaks against starting, else what will be done."""
        try:
            check(self.job())
            told = f"Each begins with {terminal_safe(self._trigger)!r}." if self._trigger else "No trigger is set."
            if self._method() == "endpoint":
                own = self.endpoint
                where = "settings.yaml" if own is not None and own.api_key else KEY_VARIABLE
                told += f" Key: from {where}." if key_of(own) else f" No key is sent ({KEY_VARIABLE} is not set)."
            blocked = False
        except FluxgymError as error:
            told, blocked = f"{error.message}. {error.hint or ''}", True
        self.query_one("#told", Static).update(Content(told))
        self.query_one("#start", Button).disabled = blocked

    def job(self) -> CaptionJob:
        """The job as chosen; its folder and journal are the caller's to name."""
        wish, own = self._wish, self.endpoint
        method = self._method()
        reads = {name: getattr(wish, name).strip() for name, methods in _FIELDS.items() if method in methods}
        if own is not None:
            reads["url"] = own.url
            reads["model"] = reads["model"] or own.model
        return CaptionJob(
            folder=Path(),
            journal=Path(),
            method=method,  # type: ignore[arg-type]  # the choices are the methods
            trigger=self._trigger,
            style=wish.style,  # type: ignore[arg-type]
            existing=wish.existing,  # type: ignore[arg-type]
            **reads,
        )

    @on(Input.Submitted)
    def _submitted(self) -> None:
        self.focus_next()

    @on(Button.Pressed)
    def _pressed(self, event: Button.Pressed) -> None:
        answers: dict[str, CaptionAnswer] = {"undo": "undo"}
        self.dismiss(self.job() if event.button.id == "start" else answers.get(event.button.id or ""))


class CaptionProgressScreen(Dialog[None]):
    """How far the captions are, and which pictures stay without one; closing it lets them go on."""

    DEFAULT_CSS = """
    CaptionProgressScreen #line { height: auto; }
    CaptionProgressScreen LineList { margin-top: 1; }
    """

    def __init__(self, captioning: Captioning) -> None:
        super().__init__()
        self._captioning = captioning
        self._shown = 0

    def compose(self) -> ComposeResult:
        with Vertical(classes="dialog wide"):
            yield Static("Captions by a model", classes="dialog-title", markup=False)
            yield Static("", id="line", markup=False)
            yield LineList(help_title="Pictures without a caption")
            with Horizontal(classes="dialog-buttons"):
                yield Button("Let it go on", id="close", variant="primary")
                yield Button("Cancel the job", id="stop")

    def on_mount(self) -> None:
        self._captioning.changed.subscribe(self, self._tell)
        if self._captioning.progress is not None:
            self._tell(self._captioning.progress)
        self.query_one("#close").focus()

    def _tell(self, progress: CaptionProgress) -> None:
        told = progress.line() + (f"\n{progress.fix}" if progress.fix else "")
        self.query_one("#line", Static).update(Content(terminal_safe(told, keep="\n")))
        if progress.ended is not None:
            self.query_one("#close", Button).label = "Close"
            self.query_one("#stop", Button).disabled = True
        if self._shown != len(progress.failures) or not self._shown:
            self._shown = len(progress.failures)
            heading = Content(f"  {count(self._shown, 'picture')} without a caption" if self._shown else "")
            self.query_one(LineList).show(self._shown, self._row, heading=heading)

    def _row(self, number: int, width: int) -> Content:
        progress = self._captioning.progress
        assert progress is not None
        file, reason = progress.failures[number]
        name = Content(terminal_safe(Path(file).name)).truncate(24, ellipsis=True, pad=True)
        return Content.assemble(name.stylize(MUTED), " ", terminal_safe(reason)).truncate(width, ellipsis=True)

    @on(Button.Pressed)
    def _pressed(self, event: Button.Pressed) -> None:
        if event.button.id == "stop":
            self._captioning.cancel()
            event.button.disabled = True
        else:
            self.dismiss(None)
