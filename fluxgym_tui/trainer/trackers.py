"""The training's numbers for TensorBoard and Weights & Biases, under the names that sd-scripts gives them."""

import importlib
import os
import time
import tomllib
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, Protocol

from fluxgym_tui.base.errors import ExitCode, FluxgymError
from fluxgym_tui.trainer.learner import Learned, NormFacts
from fluxgym_tui.trainer.options import TrainerOptions
from fluxgym_tui.trainer.report import Reporter
from fluxgym_tui.trainer.tfevents import ScalarFile

DEFAULT_NAME = "network_train"


class Tracker(Protocol):
    """Somewhere that numbers are kept."""

    def log(self, values: Mapping[str, float], *, x: int, step: int, epoch: int) -> None:
        """`values` at `x`, where the training has come to `step` of `epoch`."""

    def sample(self, path: Path, *, prompt_index: int, prompt: str) -> None:
        """A sample picture."""

    def close(self) -> None:
        """No more comes."""


class TensorBoardTracker:
    """Scalars by `x` in an event file."""

    def __init__(self, folder: Path) -> None:
        self._file = ScalarFile(folder)

    def log(self, values: Mapping[str, float], *, x: int, step: int, epoch: int) -> None:
        """A record at `x`; the event file knows no other clock."""
        del step, epoch
        self._file.write(values, step=x)

    def sample(self, path: Path, *, prompt_index: int, prompt: str) -> None:
        """As in sd-scripts TensorBoard gets no pictures."""

    def close(self) -> None:
        """Close the file."""
        self._file.close()


class WandbTracker:
    """A run of Weights & Biases, which is logged in by its own means (`wandb login`, or WANDB_API_KEY)."""

    def __init__(self, *, project: str, folder: Path | None, settings: Mapping[str, Any]) -> None:
        self._wandb = import_wandb()
        if folder is not None:
            folder.mkdir(parents=True, exist_ok=True)
            os.environ["WANDB_DIR"] = str(folder)
        try:
            self._run = self._wandb.init(project=project, **settings)
        except self._wandb.Error as error:
            raise FluxgymError(
                f"Weights & Biases does not begin a run: {str(error).strip().splitlines()[0]}",
                hint="Log in with `wandb login`, or set WANDB_MODE=offline and `wandb sync` later.",
                code=ExitCode.FAILED,
            ) from error
        for name in ("epoch", "val_step", "global_step"):
            self._run.define_metric(name, hidden=True)

    def log(self, values: Mapping[str, float], *, x: int, step: int, epoch: int) -> None:
        """`values` with the step and the epoch beside them."""
        del x
        self._run.log({**values, "global_step": step, "epoch": epoch})

    def sample(self, path: Path, *, prompt_index: int, prompt: str) -> None:
        """The picture, shown with the next numbers."""
        self._run.log({f"sample_{prompt_index}": self._wandb.Image(str(path), caption=prompt)}, commit=False)

    def close(self) -> None:
        """End the run."""
        self._run.finish()


def import_wandb() -> Any:
    """The package wandb; FluxgymError where it is not installed."""
    try:
        return importlib.import_module("wandb")
    except ImportError as error:
        raise FluxgymError(
            "--log_with wandb needs the package wandb, which is not installed.",
            hint="pip install wandb, then `wandb login`; or --log_with tensorboard, which needs no package.",
            code=ExitCode.MISSING_EXTRA,
        ) from error


def check_tracking(options: TrainerOptions) -> None:
    """FluxgymError where what `options` ask for cannot be had; nothing is written."""
    if wants_wandb(options):
        import_wandb()
    wandb_settings(options)


def wants_wandb(options: TrainerOptions) -> bool:
    """Whether numbers go to Weights & Biases."""
    return options.log_with in ("wandb", "all")


def wandb_settings(options: TrainerOptions) -> dict[str, Any]:
    """What `wandb.init` is given: the run's name, or the table `wandb` of log_tracker_config, as in sd-scripts."""
    if options.log_tracker_config is None:
        return {} if options.wandb_run_name is None else {"name": options.wandb_run_name}
    path = options.log_tracker_config
    try:
        tables = tomllib.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise FluxgymError(
            f"--log_tracker_config {path} cannot be read: {error}", hint="Give a TOML file with a table [wandb]."
        ) from error
    if set(tables) != {"wandb"} or not isinstance(tables["wandb"], dict):
        raise FluxgymError(
            f"--log_tracker_config {path} has {', '.join(tables) or 'nothing'}: only [wandb] has settings.",
            hint="Write them under [wandb].",
        )
    return dict(tables["wandb"])


class Tracking:
    """All trackers of a training; none is no effort. One that fails is told of and left out from then on."""

    def __init__(self, trackers: Iterable[Tracker], *, report: Reporter, unet_only: bool) -> None:
        self._trackers = list(trackers)
        self._report = report
        self._unet_only = unet_only

    @property
    def on(self) -> bool:
        """Whether anybody wants numbers."""
        return bool(self._trackers)

    def step(self, learned: Learned, *, step: int, epoch: int) -> None:
        """What a step came to."""
        if self._trackers:
            self._log(step_values(learned, unet_only=self._unet_only), x=step, step=step, epoch=epoch)

    def epoch(self, average: float, *, step: int, epoch: int) -> None:
        """The mean loss of an epoch that is over."""
        self._log({"loss/epoch_average": average}, x=epoch, step=step, epoch=epoch)

    def validation(self, loss: float, *, average: float, step: int, epoch: int, of_epoch: bool) -> None:
        """The loss of the pictures kept back, and how far it is above the training's own."""
        kind = "epoch" if of_epoch else "step"
        values = {f"loss/validation/{kind}_average": loss, f"loss/validation/{kind}_divergence": loss - average}
        self._log(values, x=epoch if of_epoch else step, step=step, epoch=epoch)

    def sample(self, path: Path, *, prompt_index: int, prompt: str) -> None:
        """A sample picture was made."""
        for tracker in self._trackers:
            tracker.sample(path, prompt_index=prompt_index, prompt=prompt)

    def close(self) -> None:
        """The training is over."""
        for tracker in self._trackers:
            tracker.close()

    def _log(self, values: Mapping[str, float], *, x: int, step: int, epoch: int) -> None:
        for tracker in list(self._trackers):
            try:
                tracker.log(values, x=x, step=step, epoch=epoch)
            except OSError as error:
                self._trackers.remove(tracker)
                tracker.close()
                self._report.warning(
                    "tracking_lost",
                    f"The tracker's file cannot be written, and gets no more: {error.strerror}.",
                    fix="Make room; the training goes on, and its events have the same numbers.",
                )


def start_tracking(options: TrainerOptions, *, report: Reporter) -> Tracking:
    """The trackers that `options` ask for, begun."""
    folder = None
    if options.logging_dir is not None:
        started = time.strftime("%Y%m%d%H%M%S", time.localtime())
        folder = options.logging_dir / f"{options.log_prefix or ''}{started}"
    name = options.log_tracker_name or DEFAULT_NAME
    trackers: list[Tracker] = []
    if options.log_with in ("tensorboard", "all") or (options.log_with is None and folder is not None):
        assert folder is not None  # the flags' rules demand it
        trackers.append(TensorBoardTracker(folder / name))
    if wants_wandb(options):
        trackers.append(WandbTracker(project=name, folder=folder, settings=wandb_settings(options)))
    return Tracking(trackers, report=report, unet_only=options.network_train_unet_only)


def step_values(learned: Learned, *, unet_only: bool) -> dict[str, float]:
    """A step's numbers by sd-scripts' names, among them the ones that it writes twice."""
    values = {"loss/current": learned.loss, "loss/average": learned.avg_loss, **_norm_values(learned.norms)}
    rates = list(learned.rates.items())
    for name, rate in rates:
        values[f"lr/{name}"] = rate
        if name in learned.adapted_rates:
            values[f"lr/d*lr/{name}"] = learned.adapted_rates[name]
    first = 0
    if not unet_only:
        values["lr/textencoder"] = rates[0][1]
        first = 1
    for number, (name, rate) in enumerate(rates[first:], start=first):
        values[f"lr/group{number}"] = rate
        if name in learned.adapted_rates:
            values[f"lr/d*lr/group{number}"] = learned.adapted_rates[name]
    return values


def _norm_values(norms: NormFacts) -> dict[str, float]:
    named = {
        "max_norm/keys_scaled": norms.shrunk,
        "max_norm/max_key_norm": norms.largest,
        "norm/avg_key_norm": norms.average,
        "norm/avg_grad_norm": norms.gradient,
    }
    return {name: value for name, value in named.items() if value is not None}
