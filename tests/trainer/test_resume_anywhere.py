"""A training may stop after any step: one step from every state leads to the very next state, bit for bit.

So by induction any number of stops, anywhere, ends where a training ends that never stopped.
"""

import io
import json
import signal
from itertools import pairwise
from pathlib import Path

import pytest
import torch

from fluxgym_tui.base.events import StepEvent
from fluxgym_tui.trainer.flags import parse
from fluxgym_tui.trainer.loop import train
from fluxgym_tui.trainer.report import Reporter
from fluxgym_tui.trainer.state import TrainState, read_state
from fluxgym_tui.trainer.stopping import Stopped, StopRequest
from tests.trainer.trainer_options import CACHED_TEXT, QUICK, arguments_for, drawn_dataset, train_here

EVERY_STEP = ("--save_every_n_steps", "1", "--save_state", "--max_train_epochs", "3")
EVERYTHING = (
    "--gradient_accumulation_steps", "2", "--shuffle_caption", "--caption_dropout_rate", "0.3",
    "--caption_tag_dropout_rate", "0.2", "--token_warmup_step", "0.7", "--network_dropout", "0.2",
    "--network_args", "rank_dropout=0.2", "module_dropout=0.2", "loraplus_lr_ratio=4",
    "--text_encoder_lr", "1e-3", "--lr_scheduler", "cosine_with_restarts", "--lr_scheduler_num_cycles", "2",
    "--lr_warmup_steps", "1", "--scale_weight_norms", "0.01", "--noise_offset", "0.1", "--noise_offset_random_strength",
    "--multires_noise_iterations", "3", "--ip_noise_gamma", "0.1", "--validation_split", "0.25",
    "--validate_every_n_steps", "2",
)  # fmt: skip
PLAIN = (
    "--gradient_checkpointing",
    "--gradient_accumulation_steps",
    "2",
    "--lr_scheduler",
    "inverse_sqrt",
    "--lr_warmup_steps",
    "2",
)
SCHEDULE_FREE = ("--optimizer_type", "RAdamScheduleFree", "--gradient_accumulation_steps", "3")


class InterruptedAtOnce(Reporter):
    """A reporter in whose process SIGINT arrives when the first step is done."""

    def step(self, event: StepEvent, *, first: int) -> None:
        super().step(event, first=first)
        if event.step == first:
            signal.raise_signal(signal.SIGINT)


def same(one: TrainState, other: TrainState) -> bool:
    facts = [(state.step, state.epoch, state.seed, state.losses, json.dumps(state.numbers)) for state in (one, other)]
    tensors = one.tensors.keys() == other.tensors.keys()
    return facts[0] == facts[1] and tensors and all(
        torch.equal(tensor, other.tensors[name]) for name, tensor in one.tensors.items()
    )  # fmt: skip


@pytest.mark.usefixtures("signals", "one_thread")
@pytest.mark.parametrize("kind", ["everything", "plain", "schedule-free"])
def test_every_state_leads_to_the_next(kind: str, tmp_path: Path) -> None:
    toml = drawn_dataset(tmp_path, pictures=4)
    for number in range(4):
        (tmp_path / "photos" / f"{number}.txt").write_text(f"red, square, {number}, small", encoding="utf-8")
    flags = {"everything": EVERYTHING, "plain": PLAIN, "schedule-free": SCHEDULE_FREE}[kind]
    given = arguments_for(toml, *QUICK, *EVERY_STEP, *flags, output_dir=tmp_path / "whole")
    if kind == "everything":
        given = [word for word in given if word not in (CACHED_TEXT, "--network_train_unet_only")]
    train_here(parse(given), tmp_path / "whole")
    states = sorted((tmp_path / "whole").glob("last-step*-state"))
    assert len(states) >= 6

    parts = tmp_path / "parts"
    for before, after in pairwise(states):
        resumed = [str(parts) if word == str(tmp_path / "whole") else word for word in given]
        options = parse([*resumed, "--resume", str(before)])
        stop = StopRequest()
        stop.listen()
        if after is states[-1]:
            train(options, report=Reporter(out=io.StringIO()), stop=stop)
        else:
            with pytest.raises(Stopped):
                train(options, report=InterruptedAtOnce(out=io.StringIO()), stop=stop)
        assert same(read_state(parts / after.name), read_state(after)), f"{before.name} does not lead to {after.name}"
