"""`caption DIR`: captions made by Florence-2, an endpoint or any program."""

import argparse
import asyncio
import os
import shlex
import signal
from contextlib import suppress
from pathlib import Path
from typing import Any, Final

from fluxgym_tui.base.errors import ExitCode, FluxgymError
from fluxgym_tui.base.text import count, human_time
from fluxgym_tui.captioner.job import EXISTING, METHODS, STYLES, CaptionJob, check
from fluxgym_tui.captioner.journal import new_journal, undo
from fluxgym_tui.captioner.process import CaptionProcess
from fluxgym_tui.captioner.work import select
from fluxgym_tui.cli.diagnostics import narrate
from fluxgym_tui.cli.output import Output
from fluxgym_tui.cli.parser import CommandParser, add_json, add_workspace, nearest, whole_number
from fluxgym_tui.cli.workspaces import workspace_of, workspace_option
from fluxgym_tui.config.settings import EndpointSettings, load_settings, settings_path

_OUTCOMES: Final = {"finished": ExitCode.OK, "stopped": ExitCode.STOPPED, "failed": ExitCode.FAILED}
_KEY_VARIABLE: Final = "OPENAI_API_KEY"
# Options and what they are where nobody gives them: those that only some methods have a use for, and the others.
_OF_METHOD: Final[dict[str, dict[str, Any]]] = {
    "florence": {"model": "", "batch_size": 0, "device": "auto"},
    "endpoint": {"model": "", "url": "", "prompt": "", "concurrency": 4, "timeout": 120, "retries": 4},
    "command": {"command": "", "prompt": "", "concurrency": 4, "timeout": 120},
}
_OF_EACH: Final[dict[str, Any]] = {
    "method": "florence", "trigger": "", "existing": "keep", "style": "detailed", "endpoint": None,
    "api_key_env": _KEY_VARIABLE, "flat": False, "dry_run": False,
}  # fmt: skip


def configure(parser: CommandParser) -> None:
    """Set the options of `caption`."""
    parser.show(
        description="Write captions beside the pictures of a folder, as UTF-8 .txt files. A picture with a caption is\n"
        "left alone unless you say otherwise, one bad picture never stops the rest, Ctrl+C finishes what\n"
        "is under way, and the same command again goes on. --undo puts back what the last job changed.",
        example="fluxgym-tui caption photos/ --trigger 'hrld person'\n"
        "fluxgym-tui caption photos/ --with endpoint --url http://127.0.0.1:8000/v1 --model Qwen3-VL\n"
        "fluxgym-tui caption photos/ --with command --command 'my-captioner --long {picture}'\n"
        "fluxgym-tui caption photos/ --undo",
    )
    parser.add_argument("folder", type=Path, metavar="DIR", help="the folder of pictures")
    parser.add_argument("--with", dest="method", choices=METHODS, default="florence", help="what makes the captions")
    parser.add_argument("--trigger", default="", metavar="WORDS", help="put first in every caption, and never twice")
    parser.add_argument(
        "--existing",
        choices=EXISTING,
        default="keep",
        help="pictures with a caption file: keep it; fill it where it says nothing but the trigger; replace it",
    )
    parser.add_argument("--style", choices=STYLES, default="detailed", help="how much is said")
    parser.add_argument(
        "--prompt", default="", metavar="TEXT", help="ask this instead; {trigger} stands for the trigger"
    )
    parser.add_argument(
        "--model", default="", metavar="NAME", help="florence: base, large, a repository or folder; else the endpoint's"
    )
    parser.add_argument("--url", default="", metavar="URL", help="an OpenAI-compatible endpoint, http://HOST:PORT/v1")
    parser.add_argument("--endpoint", metavar="NAME", help="an endpoint of your settings.yaml, with its key")
    parser.add_argument(
        "--api-key-env",
        default=_KEY_VARIABLE,
        metavar="NAME",
        help=f"the variable that holds the endpoint's key (default: {_KEY_VARIABLE})",
    )
    parser.add_argument(
        "--command",
        default="",
        metavar="PROGRAM",
        help="a program that prints a caption; {picture} stands for the picture, else it comes last",
    )
    parser.add_argument("--concurrency", type=whole_number(), default=4, metavar="N", help="pictures asked at once")
    parser.add_argument("--timeout", type=whole_number(), default=120, metavar="SECONDS", help="for one picture")
    parser.add_argument("--retries", type=whole_number(0), default=4, metavar="N", help="an endpoint is asked again")
    parser.add_argument(
        "--batch-size", type=whole_number(0), default=0, metavar="N", help="florence: pictures at once (0: what fits)"
    )
    parser.add_argument("--device", choices=("auto", "cuda", "cpu"), default="auto", help="where Florence-2 computes")
    parser.add_argument("--flat", action="store_true", help="leave out the folders inside it")
    parser.add_argument("--dry-run", action="store_true", help="say which pictures would be captioned; write nothing")
    parser.add_argument("--undo", action="store_true", help="put back the captions that the last job here changed")
    add_workspace(parser)
    add_json(parser, lines=True)


def run(args: argparse.Namespace, out: Output) -> ExitCode:
    """Caption the folder, or take it back."""
    journals = workspace_of(args).root / "captions"
    if args.undo:
        _refuse_beside_undo(args)
        return _undo(args, journals, out)
    endpoint = _endpoint(args)
    job = CaptionJob(
        folder=args.folder.absolute(),
        journal=new_journal(journals, args.folder),
        method=args.method,
        recursive=not args.flat,
        trigger=args.trigger,
        existing=args.existing,
        style=args.style,
        prompt=args.prompt,
        model=args.model or endpoint.model,
        url=args.url or endpoint.url,
        command=args.command,
        concurrency=args.concurrency,
        timeout_s=float(args.timeout),
        retries=args.retries,
        batch_size=args.batch_size,
        device=args.device,
    )
    check(job)
    _refuse_unused(args)
    if args.dry_run:
        return _dry_run(job, args, out)
    key = _key(args, endpoint) if job.method == "endpoint" else None
    return asyncio.run(_Watch(args, out).follow(job, key))


def _endpoint(args: argparse.Namespace) -> EndpointSettings:
    """The endpoint of the settings that `--endpoint` names; an empty one where it is not given."""
    if args.endpoint is None:
        return EndpointSettings(url="")
    if args.method != "endpoint":
        raise FluxgymError("--endpoint goes with --with endpoint", hint="Add --with endpoint.")
    if args.url:
        raise FluxgymError("--endpoint and --url both name an address", hint="Leave one of them out.")
    path = settings_path()
    known = load_settings(path).endpoints
    if args.endpoint not in known:
        near = nearest(args.endpoint, known)
        hint = f"Did you mean {near}?" if near else f"There: endpoints: {{{args.endpoint}: {{url: http://...}}}}"
        raise FluxgymError(f"{path} has no endpoint {args.endpoint!r}", hint=hint, code=ExitCode.NOT_FOUND)
    return known[args.endpoint]


def _key(args: argparse.Namespace, endpoint: EndpointSettings) -> str | None:
    """The endpoint's secret: of the settings, else of the variable."""
    named = args.api_key_env != _KEY_VARIABLE
    if named and endpoint.api_key:
        raise FluxgymError(
            f"--api-key-env and the api_key of endpoint {args.endpoint} both name a key",
            hint="Leave one of them out.",
        )
    key = endpoint.api_key or os.environ.get(args.api_key_env)
    if named and not key:
        raise FluxgymError(f"there is no variable {args.api_key_env}, or it is empty", hint="Export it, then again.")
    return key


def _refuse_beside_undo(args: argparse.Namespace) -> None:
    """Refuse what `--undo` has no use for: it takes back the last job whole, and at once."""
    usual = {name: value for options in _OF_METHOD.values() for name, value in options.items()} | _OF_EACH
    for name, value in usual.items():
        if getattr(args, name) != value:
            option = {"method": "--with"}.get(name, "--" + name.replace("_", "-"))
            raise FluxgymError(f"{option} does not go with --undo", hint="It takes back the last job in the folder.")


def _refuse_unused(args: argparse.Namespace) -> None:
    """Refuse options that the chosen method would ignore."""
    others = {name: usual for options in _OF_METHOD.values() for name, usual in options.items()}
    if args.prompt and args.style != _OF_EACH["style"]:
        raise FluxgymError("--prompt and --style both say what is asked", hint="Leave one of them out.")
    if args.api_key_env != _KEY_VARIABLE and args.method != "endpoint":
        raise FluxgymError("--api-key-env goes with --with endpoint", hint="Leave it out.")
    for name, usual in others.items():
        if name not in _OF_METHOD[args.method] and getattr(args, name) != usual:
            option = "--" + name.replace("_", "-")
            fitting = " or ".join(f"--with {method}" for method, options in _OF_METHOD.items() if name in options)
            raise FluxgymError(f"{option} goes with {fitting}", hint=f"It would do nothing with --with {args.method}.")


def _undo(args: argparse.Namespace, journals: Path, out: Output) -> ExitCode:
    back, kept = undo(journals, args.folder)
    if args.json:
        out.json_line({"kind": "undo", "restored": back, "kept": [str(path) for path in kept]})
        return ExitCode.OK
    for path in kept:
        narrate(f"{path}: changed since, and left as it is")
    out.line(f"{count(back, 'caption')} as before")
    return ExitCode.OK


def _dry_run(job: CaptionJob, args: argparse.Namespace, out: Output) -> ExitCode:
    chosen = select(job)
    if args.json:
        for item in chosen.todo:
            out.json_line({"kind": "picture", "path": item.image.file, "outcome": "would_caption"})
        for image, reason in chosen.kept:
            out.json_line({"kind": "picture", "path": image.file, "outcome": "kept", "reason": reason})
        for image, reason in chosen.failed:
            out.json_line({"kind": "picture", "path": image.file, "outcome": "failed", "reason": reason})
        return ExitCode.OK
    rows = [(os.path.relpath(item.image.file, job.folder), "would be captioned") for item in chosen.todo]
    rows += [(os.path.relpath(image.file, job.folder), f"stays: {reason}") for image, reason in chosen.kept]
    rows += [(os.path.relpath(image.file, job.folder), f"cannot be: {reason}") for image, reason in chosen.failed]
    out.table(["picture", "what"], sorted(rows))
    out.line(f"{count(len(chosen.todo), 'picture')} to caption, {len(chosen.kept):,} left as they are")
    return ExitCode.OK


class _Watch:
    """Follows a captioner's process and prints what it tells."""

    def __init__(self, args: argparse.Namespace, out: Output) -> None:
        self._folder: Path = args.folder.absolute()
        self._json: bool = args.json
        self._where = workspace_option(args)
        self._out = out
        self._left_s: list[float] = []

    async def follow(self, job: CaptionJob, key: str | None) -> ExitCode:
        """Start the job and watch it to its end. Ctrl+C cancels in good order, a second one at once."""
        process = await CaptionProcess.start(job, key=key)
        loop = asyncio.get_running_loop()
        presses = 0

        def pressed() -> None:
            nonlocal presses
            presses += 1
            if presses == 1:
                narrate("finishing what is under way; Ctrl+C again ends at once")
                process.cancel()
            else:
                process.kill()

        with suppress(NotImplementedError):
            loop.add_signal_handler(signal.SIGINT, pressed)
            loop.add_signal_handler(signal.SIGTERM, process.cancel)
        last: dict[str, Any] = {}
        try:
            async for event in process.events():
                last = event
                if self._json:
                    self._out.json_line(event)
                else:
                    self._show(event)
        except BaseException:
            process.cancel()
            raise
        if presses:
            return ExitCode.INTERRUPTED
        if last.get("outcome") == "failed" and not self._json:
            code = ExitCode(last.get("code", ExitCode.FAILED))
            raise FluxgymError(str(last["reason"]), hint=last.get("fix"), code=code)
        if last.get("failed"):
            return ExitCode.FAILED
        return ExitCode(last["code"]) if last.get("code") else _OUTCOMES[last["outcome"]]

    def _show(self, event: dict[str, Any]) -> None:
        kind = event.get("kind")
        if kind == "start":
            left = f", {event['kept']:,} left as they are" if event["kept"] else ""
            self._out.line(f"{count(event['total'], 'picture')} to caption{left}")
        elif kind == "phase" and event["name"] == "load":
            self._ready(event["detail"])
        elif kind == "picture" and event["outcome"] != "kept":
            self._picture(event)
        elif kind == "picture" and "done" in event:
            self._out.line(f"{self._name(event)}: left as it is: {event['reason']}")
        elif kind == "end" and event["outcome"] != "failed":
            self._end(event)

    def _ready(self, detail: str | None) -> None:
        if detail is not None and not self._out.live(f"getting ready: {detail} ..."):
            narrate(detail)
        elif detail is None:
            self._out.live("getting ready ...")

    def _picture(self, event: dict[str, Any]) -> None:
        if event["outcome"] == "written":
            self._out.line(f"{self._name(event)}: {event['caption']}")
        else:
            self._out.flush()
            narrate(f"{self._name(event)}: no caption: {event['reason']}")
        self._left_s = [*self._left_s[-19:], event["seconds"]]
        left_s = sum(self._left_s) / len(self._left_s) * (event["total"] - event["done"])
        self._out.live(f"{event['done']:,} of {event['total']:,}, about {human_time(left_s)} left")

    def _end(self, event: dict[str, Any]) -> None:
        failed = f", {event['failed']:,} without (see above)" if event["failed"] else ""
        self._out.line(f"{count(event['written'], 'caption')} written{failed}")
        if event["outcome"] == "stopped":
            self._out.line("stopped; the same command goes on where it ended")
        if event["written"]:
            self._out.line(
                f"fluxgym-tui caption {shlex.quote(str(self._folder))} --undo{self._where}   takes them back"
            )

    def _name(self, event: dict[str, Any]) -> str:
        return os.path.relpath(event["path"], self._folder)
