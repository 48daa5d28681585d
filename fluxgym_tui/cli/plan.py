"""`plan SPEC|DIR|dataset.toml`: buckets, crops and steps of a training, before it is started."""

import argparse
import re
from dataclasses import replace

from fluxgym_tui.base.errors import ExitCode, FluxgymError
from fluxgym_tui.checks.by_hand import HAND_CODES
from fluxgym_tui.checks.preflight import preflight
from fluxgym_tui.checks.spec_plan import plan_spec
from fluxgym_tui.checks.toml_plan import plan_of_dataset_toml
from fluxgym_tui.cli.findings import finding_lines
from fluxgym_tui.cli.output import Column, Output
from fluxgym_tui.cli.parser import CommandParser, add_json, add_workspace, whole_number
from fluxgym_tui.cli.specs import add_spec_source, given_options, hand_edits_of, spec_of
from fluxgym_tui.cli.workspaces import workspace_of
from fluxgym_tui.config.models import find_model, load_models
from fluxgym_tui.config.settings_flags import effective_flags
from fluxgym_tui.hub.find import model_state
from fluxgym_tui.plan.planning import PlannedImage, TrainPlan
from fluxgym_tui.plan.words import checkpoints_words, length_words, samples_words

# Options that a dataset.toml is planned with, too; the other settings are a spec's alone.
_FOR_TOML = frozenset(
    {"--max-train-epochs", "--max-train-steps", "--gradient-accumulation-steps", "--resolution", "--batch-size"}
)


def configure(parser: CommandParser) -> None:
    """Set the options of `plan`."""
    parser.show(
        description="Show what a training will be: the buckets, what each picture loses, the steps and how they are\n"
        "counted. A spec's settings are mended where FLUX needs it, and it is said; kohya's dataset.toml\n"
        "is taken as sd-scripts takes it. The exit code is 3 where nothing would train.",
        example="fluxgym-tui plan hrld.yaml --images\n"
        "fluxgym-tui plan photos/ --resolution 768,1024\n"
        "fluxgym-tui plan dataset.toml --max_train_epochs 16",
    )
    add_spec_source(parser, what="a spec (YAML), a folder of pictures, or kohya's dataset.toml")
    parser.add_argument("--images", action="store_true", help="list every picture: its bucket and what is cut off")
    kohya = parser.add_argument_group("for a dataset.toml only", "Besides these: " + ", ".join(sorted(_FOR_TOML)) + ".")
    kohya.add_argument("--num-processes", type=whole_number(), metavar="N", help="processes that train together")
    kohya.add_argument("--enable-bucket", action="store_true", help="for datasets that do not say it themselves")
    kohya.add_argument("--bucket-no-upscale", action="store_true", help="for datasets that do not say it themselves")
    add_workspace(parser)
    add_json(parser)


def run(args: argparse.Namespace, out: Output) -> ExitCode:
    """Print the plan."""
    plan = _toml_plan(args) if args.source.suffix.lower() == ".toml" else _spec_plan(args)
    if args.json:
        out.json(plan.to_json())
    else:
        _show(plan, out, images=args.images)
    return ExitCode.OK if plan.trains else ExitCode.FINDINGS


def _spec_plan(args: argparse.Namespace) -> TrainPlan:
    toml_only = {
        "--num-processes": args.num_processes,
        "--enable-bucket": args.enable_bucket,
        "--bucket-no-upscale": args.bucket_no_upscale,
    }
    for name, value in toml_only.items():
        if value:
            raise FluxgymError(
                f"{name} is for a dataset.toml; {args.source} is none", hint="See: fluxgym-tui plan --help"
            )
    spec, edits = spec_of(args), hand_edits_of(args)
    if edits:
        ready = preflight(spec, workspace=workspace_of(args), by_hand=edits)
        told = [finding for finding in ready.findings if finding.code in HAND_CODES]
        return replace(ready.plan.plan, findings=(*told, *ready.plan.plan.findings))
    root = workspace_of(args).root
    found = model_state(find_model(spec.base_model, load_models(workspace=root)), root).found.get("transformer")
    # Lengths, saves and samples are the same for every backend and every recipe.
    flags = effective_flags(spec, backend="builtin", vram="cpu")
    return plan_spec(spec, flags=flags, transformer=None if found is None else found.path).plan


def _toml_plan(args: argparse.Namespace) -> TrainPlan:
    for name in given_options(args):
        if name not in _FOR_TOML:
            raise FluxgymError(
                f"{name} has no meaning for a dataset.toml", hint="Change the file itself, or plan a spec."
            )
    given = vars(args)
    fallback: dict[str, object] = {
        "resolution": _text(given["dataset.resolution"]),
        "train_batch_size": _number(given["dataset.batch_size"], "--batch-size"),
        "enable_bucket": args.enable_bucket or None,
        "bucket_no_upscale": args.bucket_no_upscale or None,
    }
    return plan_of_dataset_toml(
        args.source,
        fallback={name: value for name, value in fallback.items() if value is not None},
        max_train_epochs=_number(given["training.max_train_epochs"], "--max-train-epochs"),
        max_train_steps=_number(given["training.max_train_steps"], "--max-train-steps"),
        gradient_accumulation_steps=_number(
            given["training.gradient_accumulation_steps"], "--gradient-accumulation-steps"
        )
        or 1,
        num_processes=args.num_processes or 1,
    )


def _number(text: str | None, name: str) -> int | None:
    """A whole number as sd-scripts' own parser takes it."""
    if text is None:
        return None
    try:
        return int(text)
    except ValueError:
        raise FluxgymError(f"{name} takes a whole number, not {text!r}", hint="As in: 16") from None


def _text(resolution: str | None) -> str | None:
    """`768,1024` or `768`, checked; the form of sd-scripts' own option."""
    if resolution is not None and not re.fullmatch(r"[1-9]\d*(,[1-9]\d*)?", resolution):
        raise FluxgymError(f"--resolution takes W,H or one number, not {resolution!r}", hint="As in: 768,1024")
    return resolution


def _show(plan: TrainPlan, out: Output, *, images: bool) -> None:
    several = len({bucket.dataset for bucket in plan.buckets}) > 1
    right = [Column(title, "right") for title in ("pictures", "with repeats", "batches an epoch")]
    out.table(
        [*(["dataset"] if several else []), Column("bucket", "right"), *right],
        [
            (
                *([bucket.dataset + 1] if several else []),
                f"{bucket.size[0]}x{bucket.size[1]}",
                f"{bucket.images:,}",
                f"{bucket.repeated:,}",
                f"{bucket.batches:,}",
            )
            for bucket in plan.buckets
        ],
    )
    if images and plan.images:
        out.line()
        titles = ("size", "resized to", "bucket", "lost")
        out.table(
            ["picture", *(Column(title, "right") for title in titles)], [_image_row(image) for image in plan.images]
        )
    if plan.buckets:
        out.line()
    out.line(length_words(plan))
    if plan.trains:
        out.line(samples_words(plan))
        out.line(checkpoints_words(plan))
    if plan.findings:
        out.line()
        out.lines(finding_lines(plan.findings))


def _image_row(planned: PlannedImage) -> tuple[str | None, ...]:
    size = f"{planned.image.width}x{planned.image.height}"
    if planned.fit is None:
        return planned.image.name, size, None, "none", None
    resized, bucket = planned.fit.resized, planned.fit.bucket
    return (
        planned.image.name,
        size,
        None if resized == planned.image.size else f"{resized[0]}x{resized[1]}",
        f"{bucket[0]}x{bucket[1]}",
        f"{planned.fit.lost:.1%}",
    )
