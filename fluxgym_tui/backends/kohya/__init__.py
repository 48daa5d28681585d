"""sd-scripts as a backend: `accelerate launch flux_train_network.py` with fluxgym's flags."""

from collections.abc import Iterator
from difflib import get_close_matches
from pathlib import Path

from fluxgym_tui.backends.base import TrainCommand, TrainJob, flag_arguments
from fluxgym_tui.backends.kohya.checkout import Checkout, expected_checkout, missing_reason
from fluxgym_tui.backends.kohya.options import options_of
from fluxgym_tui.backends.kohya.refused import refused_files, refused_options
from fluxgym_tui.base.errors import ExitCode, FluxgymError
from fluxgym_tui.base.findings import Finding, Severity
from fluxgym_tui.config.sd_flags import FLAG_KINDS, FlagValue

_ACCELERATE = Path(__file__).with_name("accelerate.yaml")
_ENVIRONMENT = {
    "PYTHONUNBUFFERED": "1",  # else prints, and with them epochs and checkpoints, come late
    "PYTHONIOENCODING": "utf-8",
    "COLUMNS": "200",  # off a terminal rich wraps its records at 80
    "TQDM_NCOLS": "120",  # and bars would fill those columns; a bar that finds no room loses its end
    "TOKENIZERS_PARALLELISM": "false",  # says so at every fork otherwise
}


class KohyaBackend:
    """The real sd-scripts, in the checkout given; without one it can only say so."""

    name = "kohya"

    def __init__(self, checkout: Checkout | None, *, threads: int = 1) -> None:
        """`threads` is what accelerate lets one process use of the processor."""
        self._checkout = checkout
        self._threads = threads

    def available(self) -> str | None:
        """None where checkout and accelerate are there, else what is not and what adds it."""
        return missing_reason(self._checkout)

    def version(self) -> str | None:
        """The commit that is checked out."""
        return None if self._checkout is None else self._checkout.commit()

    def check(self, job: TrainJob) -> list[Finding]:
        """What sd-scripts would stop at, or do silently, found before it starts."""
        return [*self._unknown_options(job), *refused_options(_all_flags(job)), *refused_files(job)]

    def command(self, job: TrainJob) -> TrainCommand:
        """`accelerate launch flux_train_network.py` with the job's flags.

        Raises:
            FluxgymError: sd-scripts or accelerate is not here.
        """
        if (reason := self.available()) is not None:
            raise FluxgymError(f"kohya cannot train: {reason}", code=ExitCode.MISSING_EXTRA)
        return self.would_run(job)

    def would_run(self, job: TrainJob) -> TrainCommand:
        """That command; a checkout or accelerate that is not here is named by where it belongs."""
        checkout = self._checkout or expected_checkout()
        precision = str(job.flags.get("mixed_precision", "no"))
        argv = (
            str(checkout.accelerate or "accelerate"),
            "launch",
            *("--config_file", str(_ACCELERATE)),
            *("--mixed_precision", precision),
            *("--num_processes", "1", "--num_machines", "1", "--dynamo_backend", "no"),
            *("--num_cpu_threads_per_process", str(self._threads)),
            str(checkout.script),
            *_arguments(job),
        )
        return TrainCommand(argv=argv, env=dict(_ENVIRONMENT), cwd=job.output_dir, log_format="kohya")

    def _unknown_options(self, job: TrainJob) -> Iterator[Finding]:
        """What the checkout's own parser would not take; by the recorded table where it cannot be found."""
        known = options_of(self._checkout) if self._checkout else {}
        names = set(known) or set(FLAG_KINDS)
        for name, value in job.flags.items():
            if name not in names:
                near = get_close_matches(name, sorted(names), n=1)
                yield Finding(
                    code="flag_refused",
                    severity=Severity.ERROR,
                    title=f"--{name}: sd-scripts has no such option",
                    fix=f"Did you mean {near[0]}?" if near else "Take it out of flags.",
                )
            elif name in known and (why := known[name].refusal(value)) is not None:
                yield Finding(
                    code="flag_value",
                    severity=Severity.ERROR,
                    title=f"--{name} {why}",
                    fix=f"`fluxgym-tui flags {name}` says what it takes.",
                )


def _arguments(job: TrainJob) -> list[str]:
    """sd-scripts' own arguments, in fluxgym's order: models, settings, then dataset and output."""
    models = job.models
    first: dict[str, Path | None] = {
        "pretrained_model_name_or_path": models.transformer,
        "clip_l": models.clip_l,
        "t5xxl": models.t5xxl,
        "ae": models.ae,
        "tokenizer_cache_dir": models.tokenizer_cache_dir,
        "sample_prompts": job.sample_prompts,
    }
    last = {"dataset_config": job.dataset_config, "output_dir": job.output_dir}
    return [
        *flag_arguments({name: str(path) for name, path in first.items() if path is not None}),
        *flag_arguments(job.flags),
        *flag_arguments({name: str(path) for name, path in last.items()}),
        *flag_arguments({"output_name": job.output_name}),
        *flag_arguments(_tracker_flags(job)),
        *job.extra_args,
    ]


def _tracker_flags(job: TrainJob) -> dict[str, FlagValue]:
    """A tracker that tells each step's own loss, which the log does not, where the spec has none of its own."""
    said = _all_flags(job)
    if "logging_dir" in said or said.get("log_with") == "wandb":
        return {}
    own: dict[str, FlagValue] = {
        "log_with": "tensorboard",
        "logging_dir": str(job.output_dir / "logs"),
        "log_prefix": f"{job.output_name}-",
    }
    return {name: value for name, value in own.items() if name not in said}


def _all_flags(job: TrainJob) -> dict[str, FlagValue]:
    """The options of the command by name, those among the extra arguments too."""
    if not job.extra_args:
        return dict(job.flags)
    # Brings pydantic, which a supervisor does without.
    from fluxgym_tui.config.flag_rules import extra_flags

    return {**job.flags, **{name: value for _, name, value in extra_flags(job.extra_args)}}
