"""The built-in trainer as a backend: `python -m fluxgym_tui.trainer` with sd-scripts' flags."""

import importlib.util
import sys
from collections.abc import Sequence
from pathlib import Path

from fluxgym_tui import __version__
from fluxgym_tui.backends.base import TrainCommand, TrainJob, flag_arguments
from fluxgym_tui.base.errors import ExitCode, FluxgymError
from fluxgym_tui.base.findings import Finding, Severity
from fluxgym_tui.base.modelfiles import read_model_file
from fluxgym_tui.trainer import flags

_SMALLEST_SHARED_WIDTH = 512  # hidden size from which a layer is worth more than one thread
NEEDED_MODULES = ("torch", "safetensors", "transformers", "tokenizers", "numpy")


class BuiltinBackend:
    """Our own trainer, in the Python that runs now."""

    name = "builtin"

    def __init__(self, *, threads: int | None = None) -> None:
        """`threads` is how many threads compute; None leaves it to the trainer, which knows of no container's quota."""
        self._threads = threads

    def available(self) -> str | None:
        """None where the packages that train are installed, else which are not and the command that adds them."""
        missing = [module for module in NEEDED_MODULES if importlib.util.find_spec(module) is None]
        if not missing:
            return None
        return f"{', '.join(missing)} not installed; pip install 'fluxgym-tui[train]' adds what training needs"

    def version(self) -> str | None:
        """The version of fluxgym-tui, of which the trainer is a part."""
        return __version__

    def check(self, job: TrainJob) -> list[Finding]:
        """A finding for each flag that the trainer does not take and for each model file that is not there."""
        findings = [
            Finding(
                code="flag_refused",
                severity=Severity.ERROR,
                title=f"{problem.flag}: {problem.message}",
                fix=problem.fix,
            )
            for problem in flags.check(_arguments(job), complete=True)
        ]
        findings += [
            Finding(
                code="model_missing",
                severity=Severity.ERROR,
                title=f"There is no {path.name}",
                detail=f"--{flag} {path}",
                fix="Put the file there; `fluxgym-tui models` says where each one belongs and comes from.",
                path=str(path),
            )
            for flag, path in _model_paths(job)
            if path is not None and not path.is_file()
        ]
        return findings

    def command(self, job: TrainJob) -> TrainCommand:
        """`python -m fluxgym_tui.trainer` with the job's flags.

        Raises:
            FluxgymError: training is not installed, or the trainer does not take one of the flags.
        """
        if (reason := self.available()) is not None:
            raise FluxgymError(f"The built-in trainer cannot run: {reason}", code=ExitCode.MISSING_EXTRA)
        flags.parse(_arguments(job))
        return self.would_run(job)

    def would_run(self, job: TrainJob) -> TrainCommand:
        """That command, not checked."""
        # Python's own safe path: a file of the user's named like a module of ours must not be imported from the folder.
        argv = (sys.executable, "-P", "-m", "fluxgym_tui.trainer", *_arguments(job))
        env = {"PYTHONUNBUFFERED": "1"}
        if self._threads is not None:
            env["OMP_NUM_THREADS"] = str(1 if _is_tiny(job.models.transformer) else self._threads)
        return TrainCommand(argv=argv, env=env, cwd=job.output_dir, log_format="builtin")


def flag_notes() -> dict[str, str]:
    """Every option that the built-in trainer knows, its own too, each with what there is to say about it."""
    return flags.notes()


def flag_choices() -> dict[str, tuple[str, ...]]:
    """Options of which the built-in trainer takes one of a few words, each with them."""
    return flags.choices()


def refused_flags() -> dict[str, str]:
    """Options of sd-scripts that the built-in trainer does not take, each with the reason."""
    return flags.refusals()


def _is_tiny(transformer: Path) -> bool:
    """Whether the model's layers are so small that threads would wait for each other longer than they compute.

    On a busy machine that wait is a time slice at every layer: the bundled tiny base takes 0.1 s a step on one thread,
    and was seen to take 10 s on two.
    """
    try:
        hidden_size = read_model_file(transformer).facts.get("hidden_size")
    except FluxgymError:
        return False  # missing or broken: the trainer says so in its own words
    return hidden_size is not None and int(hidden_size) < _SMALLEST_SHARED_WIDTH


def _model_paths(job: TrainJob) -> tuple[tuple[str, Path | None], ...]:
    models = job.models
    return (
        ("pretrained_model_name_or_path", models.transformer),
        ("clip_l", models.clip_l),
        ("t5xxl", models.t5xxl),
        ("ae", models.ae),
    )


def _arguments(job: TrainJob) -> Sequence[str]:
    paths: dict[str, Path | None] = dict(_model_paths(job)) | {
        "tokenizer_cache_dir": job.models.tokenizer_cache_dir,
        "dataset_config": job.dataset_config,
        "sample_prompts": job.sample_prompts,
        "output_dir": job.output_dir,
    }
    arguments = flag_arguments({name: str(path) for name, path in paths.items() if path is not None})
    arguments += flag_arguments({"output_name": job.output_name})
    return (*arguments, *flag_arguments(job.flags), *job.extra_args)
