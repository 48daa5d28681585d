"""The training, from beginning to end."""

import time
from contextlib import closing
from pathlib import Path
from typing import Literal

from fluxgym_tui.trainer.conditioning import TextSource, load_text_source
from fluxgym_tui.trainer.encode import fill_caches
from fluxgym_tui.trainer.flux import Flux, load_flux
from fluxgym_tui.trainer.learner import Learner
from fluxgym_tui.trainer.leftovers import remove_leftovers
from fluxgym_tui.trainer.lora import DEFAULT_DIM
from fluxgym_tui.trainer.merge import merge_base_weights
from fluxgym_tui.trainer.metadata import TrainingFacts
from fluxgym_tui.trainer.options import TrainerOptions
from fluxgym_tui.trainer.outputs import CheckpointWriter, dataset_facts
from fluxgym_tui.trainer.probe import probe_loss, probed_pictures
from fluxgym_tui.trainer.report import Reporter
from fluxgym_tui.trainer.sampler import Sampler
from fluxgym_tui.trainer.setup import Setup, make_folder, settle, transformer_learning_rate
from fluxgym_tui.trainer.steps import Rounds, make_steps
from fluxgym_tui.trainer.stopping import StopRequest
from fluxgym_tui.trainer.trackers import check_tracking, start_tracking
from fluxgym_tui.trainer.validation import Validator


def train(options: TrainerOptions, *, report: Reporter, stop: StopRequest) -> Path:
    """Train as `options` say; the path of the last LoRA.

    Raises:
        FluxgymError: something cannot be used, or the training failed; what was saved before stays.
        Stopped: `stop` asked for it.
    """
    started = time.time()
    report.phase("prepare")
    check_tracking(options)
    setup = settle(options)
    make_folder(options.output_dir, flag="output_dir")
    if options.logging_dir is not None:
        make_folder(options.logging_dir, flag="logging_dir")
    remove_leftovers(options.output_dir, setup.output_name)
    _announce(setup, report)
    conditionings = fill_caches(setup, report=report, stop=stop)

    report.phase("load", options.pretrained_model_name_or_path.name)
    model = load_flux(
        options.pretrained_model_name_or_path,
        dtype=setup.dtype,
        device=setup.device,
        fp8_base=options.stores_fp8,
        blocks_to_swap=setup.blocks_to_swap,
    )
    model.gradient_checkpointing = options.gradient_checkpointing
    _tell_swap(model, setup.blocks_to_swap, report)
    texts = load_text_source(setup)
    merge_base_weights(
        model,
        options.base_weights,
        multipliers=options.base_weights_multiplier,
        clip=None if texts.clip is None else texts.clip.model,
        report=report,
    )
    learner = Learner(setup, model, texts)
    facts = _facts(setup, learner, model, started=started)
    stop.check()

    with closing(start_tracking(options, report=report)) as tracking:
        learner.measures_norms = tracking.on
        writer = CheckpointWriter(setup, learner, facts=facts, report=report)
        validator = Validator(setup, model, texts, tracking=tracking, report=report, stop=stop)
        sampler = Sampler(
            setup, model, conditionings=conditionings, texts=texts, tracking=tracking, report=report, stop=stop
        )
        if setup.resumed is None:
            _probe("before", setup, model, texts, report)
            sampler.make_rounds(step=0, learner=learner)
        rounds = Rounds(writer=writer, sampler=sampler, validator=validator, tracking=tracking)
        make_steps(setup, learner, rounds=rounds, report=report, stop=stop)
        path = writer.save_last()
        sampler.make_rounds(step=setup.counts.total, learner=learner)  # only now: whatever happens, the LoRA is there
        with learner.averaged():
            _probe("after", setup, model, texts, report)
    report.say(f"finished: {path}")
    return path


def _announce(setup: Setup, report: Reporter) -> None:
    """What will be trained, in sd-scripts' words, and what of the input does not do what it says."""
    counts = setup.counts
    report.say(f"seed {setup.seed}, {setup.device.type}, mixed precision {setup.options.mixed_precision}")
    report.say(f"num train images * repeats: {sum(picture.repeats for picture in setup.data.pictures)}")
    if setup.data.kept_back:
        report.say(f"num validation images: {len(setup.data.kept_back)}")
    report.say(f"num batches per epoch: {counts.batches_per_epoch}")
    report.say(f"num epochs: {counts.epochs}")
    report.say(f"gradient accumulation steps: {setup.options.gradient_accumulation_steps}")
    report.say(f"total optimization steps: {counts.total}")
    if setup.options.blocks_to_swap and not setup.blocks_to_swap:
        report.warning(
            "blocks_to_swap_on_cpu",
            f"--blocks_to_swap {setup.options.blocks_to_swap} has no effect: there is no GPU to bring blocks to.",
            detail="On the CPU the base's weights are the file's own pages, which need not all be in memory.",
        )
    if setup.resumed is not None:
        report.say(f"resumed from {setup.options.resume} after step {setup.resumed.step}")
    if (
        setup.options.optimizer_type == "Prodigy" and transformer_learning_rate(setup.options) <= 0.1
    ):  # sd-scripts' bound
        report.warning(
            "prodigy_learning_rate",
            "Prodigy finds its rate by itself and multiplies it by the learning rate, which is very low.",
            fix="Give --learning_rate 1.",
        )
    for finding in setup.data.findings:
        report.warning(finding.code, finding.title, detail=finding.detail, fix=finding.fix)
    for prompt in setup.prompts:
        for problem in prompt.problems:
            report.warning(
                f"prompt_{problem.code}", f"In the sample prompt {prompt.text!r}, {problem.part} does nothing."
            )
    if not setup.samples and setup.options.sample_prompts is not None:
        report.warning("samples_never_due", "There are no samples to come: give sample_every_n_steps or _epochs.")
    if not setup.prompts and setup.options.sample_prompts is None and _wants_samples(setup.options):
        report.warning("samples_without_prompts", "There are no samples to come: give sample_prompts.")


def _tell_swap(model: Flux, blocks_to_swap: int, report: Reporter) -> None:
    if model.swap is None:
        return
    blocks = model.geometry.depth + model.geometry.depth_single_blocks
    report.say(f"blocks that wait in the CPU's memory: {len(model.swap)} of {blocks}")
    if len(model.swap) < 2 * blocks_to_swap - blocks_to_swap // 2:  # of them half are double, the others by two single
        report.warning(
            "fewer_blocks_swapped",
            f"This model has too few blocks for --blocks_to_swap {blocks_to_swap}: all but two of a kind are swapped.",
        )


def _wants_samples(options: TrainerOptions) -> bool:
    return bool(options.sample_every_n_steps or options.sample_every_n_epochs or options.sample_at_first)


def _facts(setup: Setup, learner: Learner, model: Flux, *, started: float) -> TrainingFacts:
    return TrainingFacts(
        session_id=setup.seed,
        started_at=started,
        batches_per_epoch=setup.counts.batches_per_epoch,
        epochs=setup.counts.epochs,
        total_steps=setup.counts.total,
        network_dim=None if setup.options.dim_from_weights else setup.options.network_dim or DEFAULT_DIM,
        network_args=setup.network_args,
        optimizer=learner.optimizer,
        guidance_embed=model.geometry.guidance_embed,
        validation_images=len(setup.data.kept_back),
        datasets=dataset_facts(setup.data.sets),
    )


def _probe(when: Literal["before", "after"], setup: Setup, model: Flux, texts: TextSource, report: Reporter) -> None:
    if not setup.options.fluxgym_probe:
        return
    pictures = probed_pictures(setup.data.pictures)
    loss = probe_loss(model, pictures, settings=setup.flow, texts=texts)
    step = 0 if when == "before" else setup.counts.total
    report.probe(when, loss=loss, step=step, pictures=len(pictures))
