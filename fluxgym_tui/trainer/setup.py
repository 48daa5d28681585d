"""What a training will do, settled before anything large is loaded: pictures, steps, settings, device."""

import os
import secrets
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import nn
from torch.optim import Optimizer
from torch.optim.lr_scheduler import LambdaLR

from fluxgym_tui.base.errors import FluxgymError
from fluxgym_tui.base.flux1 import check_model_file
from fluxgym_tui.base.modelfiles import ModelFile, read_model_file
from fluxgym_tui.base.prompts import SamplePrompt, parse_prompt, prompt_lines
from fluxgym_tui.plan.steps import Round, StepCounts, checkpoint_rounds, count_steps, sample_rounds
from fluxgym_tui.trainer.data import TrainingData, load_training_data
from fluxgym_tui.trainer.flow import FlowSettings
from fluxgym_tui.trainer.metadata import thumbnail_url
from fluxgym_tui.trainer.network_args import NetworkArguments, read_network_arguments
from fluxgym_tui.trainer.optim import ScheduleSettings, build_optimizer, build_schedule, check_schedule
from fluxgym_tui.trainer.options import TrainerOptions
from fluxgym_tui.trainer.state import TrainState, read_state

DEFAULT_OUTPUT_NAME = "last"
T5_TOKENS_DEV = 512
T5_TOKENS_SCHNELL = 256


@dataclass(frozen=True, slots=True, kw_only=True)
class Setup:
    """A training, settled. `checkpoints` and `samples` are by step; the last LoRA comes on top of `checkpoints`."""

    options: TrainerOptions
    output_name: str
    seed: int
    device: torch.device
    blocks_to_swap: int
    dtype: torch.dtype
    data: TrainingData
    counts: StepCounts
    checkpoints: tuple[Round, ...]
    samples: tuple[Round, ...]
    prompts: tuple[SamplePrompt, ...]
    flow: FlowSettings
    t5_tokens: int
    network_args: dict[str, str]
    resumed: TrainState | None

    @property
    def first_step(self) -> int:
        """The number of the step that this process makes first."""
        return 1 if self.resumed is None else self.resumed.step + 1


def settle(options: TrainerOptions) -> Setup:
    """Read the dataset, prompts and model files' headers that `options` name, and settle the rest.

    Raises:
        FluxgymError: something of it cannot be used; nothing was loaded or written.
    """
    transformer = _model_files(options)
    thumbnail_url(options.metadata_thumbnail)
    _check_lora(options.network_weights, "network_weights")
    for path in options.base_weights:
        _check_lora(path, "base_weights")
    resumed = None if options.resume is None else read_state(options.resume)
    seed = _seed(options, resumed)
    data = load_training_data(options, seed=seed)
    counts = count_steps(
        len(data.batches(epoch=1)),
        max_train_epochs=options.max_train_epochs,
        max_train_steps=options.max_train_steps,
        gradient_accumulation_steps=options.gradient_accumulation_steps,
    )
    if resumed is not None:
        _check_resumed(options, resumed, counts)
    network_args = network_arguments(options.network_args)
    arguments = read_network_arguments(network_args)
    arguments.check_blocks(double=transformer.facts["double_blocks"], single=transformer.facts["single_blocks"])
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    # What the optimiser or schedule would refuse is refused before an hour of caching, not after it.
    build_optimization(
        [{"params": [nn.Parameter(torch.zeros(1))], "lr": rate} for rate in _rates(options, arguments)],
        options,
        total_steps=counts.total,
    )
    prompts = _prompts(options)
    rounds = sample_rounds(
        counts,
        sample_every_n_steps=options.sample_every_n_steps,
        sample_every_n_epochs=options.sample_every_n_epochs,
        sample_at_first=options.sample_at_first,
    )
    return Setup(
        options=options,
        output_name=options.output_name or DEFAULT_OUTPUT_NAME,
        seed=seed,
        device=device,
        blocks_to_swap=swaps(options, device=device),
        dtype=torch.bfloat16 if options.mixed_precision == "bf16" else torch.float32,
        data=data,
        counts=counts,
        checkpoints=tuple(
            checkpoint_rounds(
                counts,
                save_every_n_epochs=save_every_n_epochs(options, counts),
                save_every_n_steps=options.save_every_n_steps,
            )
        ),
        samples=tuple(rounds) if prompts else (),
        prompts=tuple(prompts) if rounds else (),
        flow=FlowSettings(
            timestep_sampling=options.timestep_sampling,
            sigmoid_scale=options.sigmoid_scale,
            discrete_flow_shift=options.discrete_flow_shift,
            weighting_scheme=options.weighting_scheme,
            logit_mean=options.logit_mean,
            logit_std=options.logit_std,
            mode_scale=options.mode_scale,
            model_prediction_type=options.model_prediction_type,
            loss_type=options.loss_type,
            huber_schedule=options.huber_schedule,
            huber_c=options.huber_c,
            huber_scale=options.huber_scale,
            noise_offset=options.noise_offset,
            noise_offset_random_strength=options.noise_offset_random_strength,
            adaptive_noise_scale=options.adaptive_noise_scale,
            multires_noise_iterations=options.multires_noise_iterations,
            multires_noise_discount=options.multires_noise_discount,
            ip_noise_gamma=options.ip_noise_gamma,
            ip_noise_gamma_random_strength=options.ip_noise_gamma_random_strength,
            guidance_scale=options.guidance_scale,
            apply_t5_attn_mask=options.apply_t5_attn_mask,
        ),
        network_args=network_args,
        resumed=resumed,
        t5_tokens=options.t5xxl_max_token_length
        or (T5_TOKENS_DEV if transformer.facts.get("guidance", True) else T5_TOKENS_SCHNELL),
    )


def swaps(options: TrainerOptions, *, device: torch.device) -> int:
    """How many blocks are swapped: none where there is no device beside the CPU to swap them to."""
    return 0 if device.type == "cpu" else options.blocks_to_swap or 0


def _seed(options: TrainerOptions, resumed: TrainState | None) -> int:
    if resumed is None:
        return secrets.randbelow(2**32) if options.seed is None else options.seed
    if options.seed not in (None, resumed.seed):
        raise FluxgymError(
            f"{options.resume} was trained with seed {resumed.seed}, not {options.seed}.",
            hint=f"Give --seed {resumed.seed}, or none: pictures then come in the order they would have come in.",
        )
    return resumed.seed


def _check_resumed(options: TrainerOptions, resumed: TrainState, counts: StepCounts) -> None:
    if resumed.batches_per_epoch != counts.batches_per_epoch:
        raise FluxgymError(
            f"{options.resume} is of a training with {resumed.batches_per_epoch} batches an epoch;"
            f" the dataset now makes {counts.batches_per_epoch}.",
            hint="Bring the dataset back as it was, or go on from the LoRA with --network_weights.",
        )
    if resumed.step >= counts.total:
        raise FluxgymError(
            f"{options.resume} has made {resumed.step} steps, and the training is {counts.total} long.",
            hint="Raise max_train_epochs or max_train_steps to train on.",
        )


def save_every_n_epochs(options: TrainerOptions, counts: StepCounts) -> int | None:
    """After how many epochs a checkpoint comes; sd-scripts' save_n_epoch_ratio is how many come in all."""
    if options.save_n_epoch_ratio is None:
        return options.save_every_n_epochs
    return counts.epochs // options.save_n_epoch_ratio or 1


def transformer_learning_rate(options: TrainerOptions) -> float:
    """The learning rate of the transformer's adapters."""
    return options.learning_rate if options.unet_lr is None else options.unet_lr


def clip_learning_rate(options: TrainerOptions) -> float:
    """The learning rate of CLIP-L's adapters."""
    return options.text_encoder_lr[0] if options.text_encoder_lr else options.learning_rate


def _rates(options: TrainerOptions, arguments: NetworkArguments) -> list[float]:
    """The rates that the groups of parameters will have. FluxgymError where an argument is for what does not learn."""
    rates = []
    if not options.network_train_text_encoder_only:
        rates += [transformer_learning_rate(options) * ratio for ratio in (1.0, arguments.loraplus_ratio) if ratio]
    if options.trains_clip:
        ratios = (1.0, arguments.loraplus_text_encoder_ratio)
        rates += [clip_learning_rate(options) * ratio for ratio in ratios if ratio]
    elif arguments.loraplus_text_encoder_ratio not in (None, arguments.loraplus_ratio):
        raise FluxgymError(
            "network_args loraplus_text_encoder_lr_ratio has no effect: CLIP-L is not trained.",
            hint="Leave it out, or train CLIP-L by leaving out --network_train_unet_only.",
        )
    if not any(rates):
        raise FluxgymError(
            "Nothing would learn: every learning rate is 0.", hint="Give --learning_rate 8e-4, or leave the others out."
        )
    return [rate for rate in rates if rate]


def build_optimization(
    groups: list[dict[str, Any]], options: TrainerOptions, *, total_steps: int
) -> tuple[Optimizer, LambdaLR]:
    """The optimiser and the schedule that `options` name, for `groups`. FluxgymError on what is not honoured."""
    # As in sd-scripts the optimiser's own rate is this one, whatever the groups have.
    learning_rate = options.learning_rate
    check_schedule(options.optimizer_type, lr_scheduler=options.lr_scheduler, lr_warmup_steps=options.lr_warmup_steps)
    optimizer = build_optimizer(
        groups,
        optimizer_type=options.optimizer_type,
        learning_rate=learning_rate,
        optimizer_args=options.optimizer_args,
    )
    settings = ScheduleSettings(
        lr_scheduler=options.lr_scheduler,
        lr_warmup_steps=options.lr_warmup_steps,
        lr_scheduler_num_cycles=options.lr_scheduler_num_cycles,
        lr_scheduler_power=options.lr_scheduler_power,
        lr_decay_steps=options.lr_decay_steps,
        lr_scheduler_timescale=options.lr_scheduler_timescale,
        lr_scheduler_min_lr_ratio=options.lr_scheduler_min_lr_ratio,
        lr_scheduler_args=options.lr_scheduler_args,
    )
    return optimizer, build_schedule(optimizer, settings=settings, total_steps=total_steps, learning_rate=learning_rate)


def network_arguments(pairs: Sequence[str]) -> dict[str, str]:
    """`--network_args` as a mapping; FluxgymError where one is not written as `key=value`."""
    arguments = {}
    for pair in pairs:
        key, equals, value = pair.partition("=")
        if not equals:
            raise FluxgymError(f"--network_args {pair!r} has no value.", hint="Write it as train_blocks=single.")
        arguments[key.strip()] = value.strip()
    return arguments


def make_folder(folder: Path, *, flag: str) -> None:
    """Make the folder that `flag` names; FluxgymError where it cannot be written, now and not at the first save."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder):
            pass
    except OSError as error:
        raise FluxgymError(
            f"--{flag} {folder} cannot be written: {error.strerror}",
            hint="Give a folder of yours on a disk with room.",
        ) from error


def use_all_cores() -> None:
    """Compute on every core this process may use, unless OMP_NUM_THREADS says otherwise."""
    if "OMP_NUM_THREADS" not in os.environ:
        ours = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
        torch.set_num_threads(ours or 1)


def _model_files(options: TrainerOptions) -> ModelFile:
    """The transformer's file; all four are looked at, since an hour of caching may lie before the first is loaded."""
    check_model_file("clip_l", options.clip_l)
    check_model_file("t5xxl", options.t5xxl)
    check_model_file("ae", options.ae)
    return check_model_file("pretrained_model_name_or_path", options.pretrained_model_name_or_path)


def _check_lora(path: Path | None, flag: str) -> None:
    """FluxgymError where the LoRA that `flag` names is none of sd-scripts' layout."""
    found = None if path is None else read_model_file(path)
    if found is None or found.kind == "flux-lora":
        return
    hint = "Give a LoRA whose keys begin with lora_unet_, as this trainer and sd-scripts write them."
    if found.kind == "flux-lora-diffusers":
        hint += " diffusers splits layers that are one there; sd-scripts' networks/convert_flux_lora.py joins them."
    raise FluxgymError(f"--{flag} {path} cannot be gone on from: {found.title}.", hint=hint)


def _prompts(options: TrainerOptions) -> list[SamplePrompt]:
    if options.sample_prompts is None:
        return []
    path: Path = options.sample_prompts
    if path.suffix.lower() in (".json", ".toml"):
        raise FluxgymError(
            f"--sample_prompts {path}: only text is read.", hint="Write one prompt a line into a .txt file."
        )
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise FluxgymError(
            f"--sample_prompts {path} cannot be read: {error}", hint="Check the path; the file is UTF-8 text."
        ) from error
    prompts = [parse_prompt(line) for line in prompt_lines(text)]
    for prompt in prompts:
        if prompt.seed is not None and prompt.seed >= 2**64:
            raise FluxgymError(
                f"{path}: the seed of {prompt.text!r} is too large: {prompt.seed}.",
                hint="Give --d a number below 2^64.",
            )
    return prompts
