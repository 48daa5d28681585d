"""A spec that is put together from another program's settings, and the notes on what came out otherwise."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from fluxgym_tui.base.errors import FluxgymError
from fluxgym_tui.base.findings import Finding, Severity
from fluxgym_tui.base.prompts import prompt_lines
from fluxgym_tui.config.flag_rules import FIXED_IN_DATASET, SECRETS
from fluxgym_tui.config.importers.base_models import model_key, model_of_file, other_files
from fluxgym_tui.config.importers.datasets import Pictures, pictures_of_folders, pictures_of_toml
from fluxgym_tui.config.importers.recipes import completed, nearest_recipe, said_training
from fluxgym_tui.config.models import ModelEntry, find_model, load_models
from fluxgym_tui.config.presets import wants_small_t5
from fluxgym_tui.config.sd_flags import FlagValue
from fluxgym_tui.config.spec import TrainSpec, output_name
from fluxgym_tui.config.specfile import build_spec
from fluxgym_tui.config.values import read_whole

# sd-scripts' own values of a dataset's settings, and the option of each where it has another name.
_SD_DATASET: dict[str, object] = {
    "resolution": 512,
    "batch_size": 1,
    "enable_bucket": False,
    "bucket_no_upscale": False,
    "min_bucket_reso": 256,
    "max_bucket_reso": 1024,
    "bucket_reso_steps": 64,
}
_OPTION_OF = {"batch_size": "train_batch_size"}
# Other ways to say what the dataset has said by now.
_DONE_BY_DATASET = ("train_data_dir", "reg_data_dir", "dataset_config", "dataset_repeats", "in_json")
_MODEL_FILES = ("clip_l", "t5xxl", "ae")
# Where the trainer's files go and how its options are read: a run settles that itself.
_OF_THE_RUN = ("output_dir", "config_file", "output_config", "tokenizer_cache_dir", "dataset_class")
_TRACKER = ("logging_dir", "log_with", "log_prefix", "log_tracker_name", "log_tracker_config", "log_config")
_SPLIT_MODE_SWAPS = 18  # what sd-scripts makes of --split_mode


class Draft:
    """What an imported training asks for. The importers fill it; `spec` settles and checks it.

    `options` are sd-scripts' options as its command line would have had them; `dataset` and `samples` are groups of the
    spec and come before what the options say of the same.
    """

    def __init__(self, origin: Path, *, workspace: Path) -> None:
        self.origin = origin
        self.workspace = workspace
        self.name: str | None = None
        self.trigger: str | None = None
        self.base_model: str | None = None
        self.backend = "auto"
        self.vram: str | None = None
        self.dataset: dict[str, object] = {}
        self.samples: dict[str, object] = {}
        self.options: dict[str, FlagValue] = {}
        self.extra_args: list[str] = []
        self.notes: list[Finding] = []
        self._models = load_models(workspace=workspace)

    def warn(self, code: str, title: str, fix: str | None = None) -> None:
        """Note something that will not be as it was there."""
        self.notes.append(Finding(code=code, severity=Severity.WARNING, title=title, fix=fix))

    def tell(self, code: str, title: str, fix: str | None = None) -> None:
        """Note something that is kept in another way, or is good to know."""
        self.notes.append(Finding(code=code, severity=Severity.ADVICE, title=title, fix=fix))

    def take_pictures(self, pictures: Pictures) -> None:
        """Take trigger, dataset and further options of `pictures`."""
        self.trigger = pictures.trigger
        self.dataset = dict(pictures.dataset)
        self.options |= pictures.flags
        self.notes += pictures.findings

    def find_pictures(self) -> None:
        """Take the pictures that the options name: by a dataset.toml, or by folders with repeats in their names.

        Raises:
            FluxgymError: the dataset.toml is none that sd-scripts takes.
        """
        config, folder = self.options.pop("dataset_config", None), self.options.pop("train_data_dir", None)
        regular = self.options.pop("reg_data_dir", None)
        if config and (path := self._path(config)).is_file():
            self.take_pictures(pictures_of_toml(path, options=self.options))
            return
        if config:
            self.warn("no_dataset_config", f"there is no {config}, which names the pictures", "Set dataset.path.")
        if folder:
            self.take_pictures(
                pictures_of_folders(
                    self._path(folder),
                    self._path(regular) if regular else None,
                    resolution=_pair(self.options.get("resolution", 512)),
                )
            )

    def prompts_from(self, path: Path) -> None:
        """Take the sample prompts in the file at `path`, one a line."""
        try:
            self.samples["prompts"] = prompt_lines(path.read_text(encoding="utf-8-sig", errors="replace"))
        except OSError as error:
            self.warn(
                "no_prompts", f"cannot read the sample prompts in {path}: {error.strerror}", "Set samples.prompts."
            )

    def spec(self) -> TrainSpec:
        """The spec, checked as one from a file is.

        Raises:
            FluxgymError: a value does not fit; the message names the key.
        """
        options = self._without_the_runs_own(dict(self.options))
        unet_only = options.pop("network_train_unet_only", False) is True
        files = {role: self._path(options.pop(role)) for role in _MODEL_FILES if role in options}
        base_model = self._base_model(options)
        dataset = self._dataset(options)
        samples = self._samples(options)
        name = self.name or str(options.pop("output_name", "")) or self.origin.stem
        options.pop("output_name", None)
        flags = completed(options)
        self._say_defaults(options)
        width, height = _pair(dataset["resolution"])
        small_t5 = "t5xxl" in files and "fp8" in files["t5xxl"].name
        vram = self.vram or nearest_recipe(flags, pixels=width * height, small_t5=small_t5)
        self._compare_files(files, base_model, small_t5=wants_small_t5(vram, backend="kohya"))
        data: dict[str, Any] = {
            "name": name if output_name(name) else "imported",
            "base_model": base_model,
            "backend": self.backend,
            "dataset": dataset,
            **said_training(flags, vram=vram, pixels=width * height),
            "samples": samples,
            "extra_args": self.extra_args,
        }
        if self.trigger and self.trigger.strip():
            data["trigger"] = self.trigger.strip().splitlines()[0]  # of a caption, sd-scripts trains the first line
        data["training"]["train_clip_l"] = not unet_only
        entry = self._entry(base_model)
        # What models.yaml asks for with this model, and the training did without.
        without = {name for name, value in (entry.flags if entry else {}).items() if value is True} - flags.keys()
        data["flags"] |= dict.fromkeys(without, False)
        return build_spec(data, folder=self.origin.absolute().parent, origin=str(self.origin))

    def _without_the_runs_own(self, options: dict[str, FlagValue]) -> dict[str, FlagValue]:
        """`options` without those that a spec must not have, each noted where that changes anything."""
        for name in _OF_THE_RUN:
            if options.pop(name, None):
                self.tell("settled_by_run", f"{name} is left out: a run has its own place under outputs/")
        if options.get("log_with") not in ("wandb", "all"):
            given = [name for name in _TRACKER if options.pop(name, None)]
            if given:
                self.tell("settled_by_run", f"{', '.join(given)} left out: a run keeps its own record of the loss")
        for name in [name for name in SECRETS if name in options]:
            del options[name]
            self.warn("secret", f"{name} is left out: a spec is not secret", SECRETS[name])
        for name in [name for name in FIXED_IN_DATASET if name in options]:
            value = options.pop(name)
            if value not in (".txt", False) and name != "keep_tokens":
                self.warn("left_out", f"{name} = {value} is left out: {FIXED_IN_DATASET[name]}")
        if options.pop("split_mode", False):
            options.setdefault("blocks_to_swap", _SPLIT_MODE_SWAPS)
            self.tell("split_mode", f"split_mode is said as blocks_to_swap: {_SPLIT_MODE_SWAPS}, which it has become")
        if "max_train_epochs" in options and options.pop("max_train_steps", False):
            self.tell(
                "epochs_count", "max_train_steps is left out: sd-scripts counts max_train_epochs where both are set"
            )
        options.setdefault("network_module", "networks.lora_flux")
        return options

    def _base_model(self, options: dict[str, FlagValue]) -> str:
        path = options.pop("pretrained_model_name_or_path", None)
        options.pop("model_type", None)  # the entry in models.yaml says it
        if self.base_model is not None:
            key, found = model_key(self.base_model, self._models)
        elif path:
            key, found = model_of_file(self._path(path), self._models, workspace=self.workspace)
        else:
            key, found = "flux-dev", []
            self.warn("no_base_model", "it names no base model: flux-dev is taken", "Set base_model.")
        self.notes += found
        return key

    def _entry(self, base_model: str) -> ModelEntry | None:
        try:
            return find_model(base_model, self._models)
        except FluxgymError:
            return None  # the notes say so

    def _compare_files(self, files: Mapping[str, Path], base_model: str, *, small_t5: bool) -> None:
        entry = self._entry(base_model)
        if entry is not None:
            self.notes += other_files(files, entry, workspace=self.workspace, small_t5=small_t5)

    def _dataset(self, options: dict[str, FlagValue]) -> dict[str, object]:
        dataset: dict[str, object] = {}
        for key, value in _SD_DATASET.items():
            said = options.pop(_OPTION_OF.get(key, key), value)
            dataset[key] = self.dataset.get(key, said)
        dataset["resolution"] = list(_pair(dataset["resolution"]))
        for name in _DONE_BY_DATASET:
            options.pop(name, None)
        folder = self.workspace / "datasets" / output_name(self.name or str(options.get("output_name", "")))
        dataset = {"path": folder, **dataset, **{key: item for key, item in self.dataset.items() if key not in dataset}}
        path = Path(str(dataset["path"]))
        if not path.is_dir():
            self.warn("no_folder", f"there is no folder of pictures {path}", "Set dataset.path.")
        return dataset

    def _samples(self, options: dict[str, FlagValue]) -> dict[str, object]:
        file = options.pop("sample_prompts", None)
        if file and "prompts" not in self.samples:
            self.prompts_from(self._path(file))
        steps, epochs = options.pop("sample_every_n_steps", 0), options.pop("sample_every_n_epochs", 0)
        said = {"every_n_epochs": epochs} if epochs else {"every_n_steps": steps}
        return {**said, "at_first": options.pop("sample_at_first", False), **self.samples}

    def _say_defaults(self, options: Mapping[str, FlagValue]) -> None:
        """Note the settings that are fixed here and were left open there."""
        if "seed" not in options:
            self.tell("seed", "no seed was set, so each training drew its own; here it is 42")
        if not options.keys() & {"max_train_epochs", "max_train_steps"}:
            self.tell("length", "no length was set: 1600 steps, as sd-scripts has it")

    def _path(self, value: object) -> Path:
        """A path of the imported file; a relative one from its folder."""
        return self.origin.absolute().parent / Path(str(value)).expanduser()


def _pair(resolution: object) -> tuple[int, int]:
    """Width and height of `512`, `[768, 1024]` or `"768,1024"`; no height is a square.

    Raises:
        ValueError: there is a side that is no whole number.
    """
    sides = resolution if isinstance(resolution, (list, tuple)) else str(resolution).split(",")
    try:
        numbers = [read_whole(str(side)) for side in sides]
    except ValueError as error:
        raise ValueError(f"resolution {error}") from error
    return numbers[0], numbers[-1] or numbers[0]
