"""What is to be captioned, and how: the job that the captioner's process reads from its standard input."""

import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Final, Literal, get_args

from fluxgym_tui.base.errors import FluxgymError
from fluxgym_tui.base.text import one_line

Method = Literal["florence", "endpoint", "command"]
METHODS: tuple[str, ...] = get_args(Method)
Existing = Literal["keep", "fill", "replace"]
EXISTING: tuple[str, ...] = get_args(Existing)
Style = Literal["short", "detailed", "long"]
STYLES: tuple[str, ...] = get_args(Style)

FLORENCE_MODELS: Final = {
    "base": "florence-community/Florence-2-base",
    "large": "florence-community/Florence-2-large",
}
# What a vision model is asked; `{trigger}` stands for the trigger words.
PROMPTS: Final[dict[str, str]] = {
    "short": "Describe this picture in one short sentence. Answer with the sentence alone.",
    "detailed": "Describe this picture in one or two sentences: who or what is seen, what it does, clothing, place, "
    "light and framing. Only what can be seen, no opening phrase, no opinion. Answer with the description alone.",
    "long": "Describe this picture in one paragraph of at most 120 words: subject, pose, clothing, objects, place, "
    "light, colours, camera angle and framing. Only what can be seen, no opening phrase, no opinion. Answer with the "
    "paragraph alone.",
}
KEY_VARIABLE: Final = "FLUXGYM_ENDPOINT_KEY"  # how the key of an endpoint reaches the process: never by its arguments


@dataclass(frozen=True, slots=True, kw_only=True)
class CaptionJob:
    """A job. Times in seconds; `model` is a Florence-2 by name or folder, or the endpoint's name of a model.

    `existing` says what becomes of captions that are there: `keep` leaves every picture with a caption file alone,
    `fill` also writes where the file says nothing but the trigger, `replace` writes all. `journal` is the file that
    undo and going on later need. `batch_size` 0 means what fits the device.
    """

    folder: Path
    journal: Path
    method: Method = "florence"
    recursive: bool = True
    trigger: str = ""
    existing: Existing = "keep"
    style: Style = "detailed"
    prompt: str = ""
    model: str = ""
    url: str = ""
    command: str = ""
    concurrency: int = 4
    timeout_s: float = 120.0
    retries: int = 4
    batch_size: int = 0
    device: str = "auto"
    only: tuple[Path, ...] | None = None

    def question(self) -> str:
        """What an endpoint or a program is asked: the user's prompt, else the style's."""
        return (self.prompt or PROMPTS[self.style]).replace("{trigger}", self.trigger)

    def to_text(self) -> str:
        """The job as one JSON document, ASCII so that any file name survives."""
        return json.dumps(asdict(self), default=str)

    @staticmethod
    def from_text(text: str) -> "CaptionJob":
        """The job in `text`, as `to_text` wrote it."""
        data: dict[str, Any] = json.loads(text)
        only = data.pop("only")
        return CaptionJob(
            **{**data, "folder": Path(data["folder"]), "journal": Path(data["journal"])},
            only=None if only is None else tuple(map(Path, only)),
        )

    def recipe(self) -> dict[str, Any]:
        """What decides the captions that come out: two jobs of one recipe can go on with each other's work."""
        kept = ("method", "trigger", "style", "prompt", "model", "url", "command")
        return {name: value for name, value in asdict(self).items() if name in kept}


def check(job: CaptionJob) -> None:
    """Refuse a job that lacks what its method needs.

    Raises:
        FluxgymError: it says what is missing.
    """
    if job.method == "endpoint" and not job.url:
        raise FluxgymError(
            "captions by an endpoint need its address",
            hint="--url http://127.0.0.1:8000/v1 (vLLM), http://127.0.0.1:11434/v1 (Ollama), http://127.0.0.1:8080/v1 "
            "(llama.cpp), http://127.0.0.1:1234/v1 (LM Studio), or --endpoint NAME of your settings.yaml.",
        )
    if job.method == "command" and not job.command.strip():
        raise FluxgymError(
            "captions by a command need the command",
            hint="--command 'my-captioner {picture}': it gets a picture's path and prints the caption.",
        )
    if any("\ud800" <= letter <= "\udfff" for letter in job.trigger):  # bytes of an argument that is no UTF-8
        raise FluxgymError(f"the trigger {one_line(job.trigger)!r} is no UTF-8", hint="Captions are written as UTF-8.")
    if job.method == "florence" and job.prompt:
        raise FluxgymError(
            "Florence-2 takes no prompt of yours: it knows three lengths",
            hint="--style short, detailed or long; or --with endpoint, which takes --prompt.",
        )
