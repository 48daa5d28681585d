"""sd-scripts' log: every recorded run read right, cut anywhere, and quickly."""

import itertools
import math
import re
import time

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fluxgym_tui.backends.kohya.log import KohyaLog
from fluxgym_tui.base.events import (
    CheckpointEvent,
    EpochEvent,
    PhaseEvent,
    ProblemEvent,
    ProgressEvent,
    RunEvent,
    StepEvent,
    WarningEvent,
)
from tests.backends.kohya.recorded import NAMES, recorded


def read(*chunks: bytes) -> list[RunEvent]:
    parser = KohyaLog()
    events = [event for chunk in chunks for event in parser.feed(chunk)]
    return events + parser.close()


def steps(events: list[RunEvent]) -> list[StepEvent]:
    return [event for event in events if isinstance(event, StepEvent)]


def phases(events: list[RunEvent]) -> list[str]:
    return [event.name for event in events if isinstance(event, PhaseEvent)]


def checkpoints(events: list[RunEvent]) -> list[tuple[str, int | None, int | None]]:
    return [
        (event.path.rsplit("/", 1)[-1], event.step, event.epoch)
        for event in events
        if isinstance(event, CheckpointEvent)
    ]


def problems(events: list[RunEvent]) -> list[ProblemEvent]:
    return [event for event in events if isinstance(event, ProblemEvent)]


def last_redraws(name: str) -> dict[int, str]:
    """What the bar showed last of each step before it went on, found without the parser."""
    shown: dict[int, str] = {}
    for found in re.finditer(rb"steps: +\d+%\|[^|]*\| (\d+)/\d+ \[[^\]]*?avr_loss=([^\],]+)\]", recorded(name)):
        step, mean = int(found[1]), found[2].decode()
        # The first redraw of a step still has the mean of the one before; the second is its own.
        shown.setdefault(step, "")
        shown[step] = mean
    return shown


@pytest.mark.parametrize(
    ("name", "total", "last"),
    [
        ("ok_pipe", 24, 24),
        ("ok_pty", 24, 24),
        ("ok_pipe_buffered_stdout", 24, 24),
        ("ok_debug_loglevel_pipe", 12, 12),
        ("ok_caption_changed_stale_te_cache_pipe", 12, 12),
        ("fluxgym16g_fp8_highvram_pipe", 12, 12),
        ("state_save_pipe", 36, 36),
        ("state_resume_pipe", 48, 24),
        ("ok_bucket_val_unetonly_fp32_ga2_pipe", 8, 8),
        ("fail_oom_simulated_pipe", 24, 11),
        ("fail_oom_simulated_pty", 24, 11),
        ("int_sigint_pipe", 4800, 1),
        ("int_sigterm_parent_only_pipe", 4800, 41),
    ],
)
def test_each_step_gives_one_event_with_the_mean_after_it(name: str, total: int, last: int) -> None:
    seen = steps(read(recorded(name)))
    assert [event.step for event in seen] == list(range(1, last + 1))
    assert {event.total for event in seen} == {total}
    if "ga2" not in name:  # there the bar is redrawn for each half of a step
        means = last_redraws(name)
        assert [event.avg_loss for event in seen[:-1]] == [float(means[event.step]) for event in seen[:-1]]
    assert all(event.loss is None and event.lr is None and event.time == 0 for event in seen)


def test_with_accumulation_the_mean_is_that_of_the_whole_step() -> None:
    seen = steps(read(recorded("ok_bucket_val_unetonly_fp32_ga2_pipe")))
    assert [event.avg_loss for event in seen] == [2.18, 2.16, 2.17, 2.17, 2.16, 2.15, 2.13, 2.14]


def test_a_run_is_told_from_its_first_line_to_its_last() -> None:
    events = read(recorded("ok_pipe"))
    assert phases(events) == [
        *("prepare", "load", "cache_latents", "cache_text", "train"),
        *("sample", "train", "sample", "train", "save", "train"),
        *("sample", "train", "sample", "train", "save"),
    ]
    assert [(event.epoch, event.epochs) for event in events if isinstance(event, EpochEvent)] == [(1, 2), (2, 2)]
    assert {event.epoch for event in steps(events)[:12]} == {1}
    assert {event.epoch for event in steps(events)[12:]} == {2}
    assert checkpoints(events) == [("lbtk-lora-000001.safetensors", 12, 1), ("lbtk-lora.safetensors", 24, 2)]
    details = [event.detail for event in events if isinstance(event, PhaseEvent) and event.name == "sample"]
    assert details == ["step 6", "step 12", "step 18", "step 24"]
    assert not [event for event in events if isinstance(event, (WarningEvent, ProblemEvent))]


def test_a_terminals_log_says_the_same_as_a_pipes() -> None:
    def told(name: str) -> list[tuple[str, object]]:
        events = read(recorded(name))
        return [
            (event.kind, (event.step, event.avg_loss) if isinstance(event, StepEvent) else None)
            for event in events
            if not isinstance(event, ProgressEvent)
        ]

    assert told("ok_pty") == told("ok_pipe")


def test_caching_is_progress_and_so_are_sample_pictures() -> None:
    events = [event for event in read(recorded("ok_pipe")) if isinstance(event, ProgressEvent)]
    latents = [(event.done, event.total) for event in events if event.phase == "cache_latents"]
    assert latents == [(done, 6) for done in range(7)]
    text = [event.done for event in events if event.phase == "cache_text"]
    assert text == [0, 2, 4, 6]
    assert [event.done for event in events if event.phase == "sample"] == [1, 2, 3] * 4


def test_a_checkpoint_is_told_after_it_was_written() -> None:
    log = recorded("ok_pipe")
    before, after = log.split(b"saving checkpoint: /vol/lab/run/ok_pipe/lbtk-lora-000001.safetensors\n")
    parser = KohyaLog()
    assert checkpoints(parser.feed(before)) == []
    parser.feed(b"saving checkpoint: /x/lbtk-lora-000001.safetensors\n")
    assert checkpoints(parser.close()) == []  # it ended while writing: nobody knows what is there
    assert checkpoints(read(before, b"saving checkpoint: /x/lbtk-lora-000001.safetensors\n", after))[0][0] == (
        "lbtk-lora-000001.safetensors"
    )


def test_checkpoints_by_steps_and_epochs_with_states_between() -> None:
    names = [name for name, _, _ in checkpoints(read(recorded("state_save_pipe")))]
    assert names == [
        "lbtk-lora-step00000005.safetensors",
        "lbtk-lora-step00000010.safetensors",
        "lbtk-lora-000001.safetensors",
        "lbtk-lora-step00000015.safetensors",
        "lbtk-lora-step00000020.safetensors",
        "lbtk-lora-000002.safetensors",
        "lbtk-lora-step00000025.safetensors",
        "lbtk-lora-step00000030.safetensors",
        "lbtk-lora-step00000035.safetensors",
        "lbtk-lora.safetensors",
    ]


def test_a_resumed_run_ends_half_way_of_its_bar() -> None:
    events = read(recorded("state_resume_pipe"))
    assert [(event.epoch, event.epochs) for event in events if isinstance(event, EpochEvent)] == [(3, 4), (4, 4)]
    assert checkpoints(events) == [("lbtk-lora-000003.safetensors", 12, 3), ("lbtk-lora.safetensors", 24, 4)]
    assert problems(events) == []


def test_prints_that_come_late_invent_no_step() -> None:
    events = read(recorded("ok_pipe_buffered_stdout"))
    assert checkpoints(events) == [("lbtk-lora-000001.safetensors", None, 1), ("lbtk-lora.safetensors", 24, 2)]


@pytest.mark.parametrize(
    ("name", "code", "said"),
    [
        ("fail_adamw8bit_no_bnb_pipe", "bitsandbytes_missing", "bitsandbytes"),
        ("fail_bad_choice_pipe", "bad_flag", "argument --timestep_sampling: invalid choice: 'fluxshift'"),
        ("fail_bad_flag_pipe", "bad_flag", "unrecognized arguments: --not_a_real_flag 1"),
        ("fail_bucket_steps32_pipe", "bucket_steps", "bucket_reso_steps is 32; FLUX needs a multiple of 64"),
        ("fail_empty_caption_pipe", "empty_caption", "the caption file /vol/lab/data/badcap/astronaut.txt is empty"),
        ("fail_empty_dataset_pipe", "no_pictures", "found no picture"),
        ("fail_missing_image_dir_pipe", "no_pictures", "found no picture"),
        ("fail_missing_model_pipe", "file_missing", "not there: /vol/lab/models/tiny/nope.safetensors"),
        ("fail_missing_model_pty", "file_missing", "not there: /vol/lab/models/tiny/nope.safetensors"),
        ("fail_offline_tokenizer_pipe", "tokenizer_missing", "tokenizers"),
        ("fail_oom_simulated_pipe", "out_of_memory", "the GPU ran out of memory"),
        ("fail_oom_simulated_pty", "out_of_memory", "the GPU ran out of memory"),
        ("fail_toml_syntax_pipe", "dataset_toml", "Empty value is invalid (line 14 column 1 char 224)"),
        ("fail_toml_unknown_key_pipe", "dataset_toml", "@ data['datasets'][0]['subsets'][0]['num_repeat']"),
        ("fail_truncated_image_pipe", "broken_picture", "/vol/lab/data/badimg/astronaut.png is broken"),
        ("fail_uncached_nobucket_nonsquare_pipe", "not_cropped", "not of the dataset's resolution"),
        ("fluxgym12g_splitmode_pipe", "too_many_blocks", "at most 0 double blocks and 0 single blocks"),
    ],
)
def test_a_failure_gives_one_problem_with_cause_place_and_mend(name: str, code: str, said: str) -> None:
    (problem,) = problems(read(recorded(name)))
    assert problem.code == code
    assert said in problem.title
    assert problem.fix
    assert problem.log_offset is not None
    line = recorded(name)[problem.log_offset :].split(b"\n")[0].decode("utf-8")
    # accelerate's own traceback stands last; the one that is named is the trainer's.
    assert line.startswith(("Traceback", "flux_train_network.py: error:")) or "ERROR" in line
    assert b"accelerate_cli.py" not in recorded(name)[problem.log_offset :].split(b"\nTraceback")[0]


@pytest.mark.parametrize("name", [name for name in NAMES if not name.startswith(("fail", "fluxgym12g"))])
def test_no_problem_where_there_was_none(name: str) -> None:
    assert problems(read(recorded(name))) == []


def test_warnings_worth_telling_are_told_once_with_their_place() -> None:
    for name, codes in {
        "fail_missing_image_dir_pipe": ["folder_missing", "subset_ignored"],
        "fluxgym12g_splitmode_pipe": ["split_mode"],
    }.items():
        warnings = [event for event in read(recorded(name)) if isinstance(event, WarningEvent)]
        assert [event.code for event in warnings] == codes
        for event in warnings:
            assert event.log_offset is not None
            assert b"WARNING" in recorded(name)[event.log_offset :].split(b"\n")[0]
    record = b"2026-11-22 21:42:54 WARNING  something odd                 train_util.py:1\nnext\n"
    assert len([event for event in read(record * 5) if isinstance(event, WarningEvent)]) == 1


@pytest.mark.parametrize(
    "message",
    [
        "min_bucket_reso and max_bucket_reso are ignored if bucket_no_upscale is set, because",
        "steps from the state is ignored because initial_step is specified / initial_stepが指定されているため",
    ],
)
def test_warnings_that_ask_nothing_are_left_out(message: str) -> None:
    record = f"2026-11-22 21:42:54 WARNING  {message}  train_network.py:1236\nnext\n"
    assert read(record.encode()) == [PhaseEvent(time=0, name="prepare")]


def bar(step: int, total: int, mean: str | None, *, rest: str = "00:01<00:05,  3.53it/s") -> bytes:
    inner = rest if mean is None else f"{rest}, avr_loss={mean}"
    return f"\rsteps: {100 * step // total:3d}%|█▉        | {step}/{total} [{inner}]".encode()


def test_a_step_is_told_while_the_bar_still_stands_without_an_end() -> None:
    parser = KohyaLog()
    parser.feed(bar(1, 9, None))
    told = parser.feed(bar(1, 9, "2.5"))
    assert [(event.step, event.avg_loss) for event in steps(told)] == [(1, 2.5)]


def test_a_loss_that_is_not_a_number_is_told_at_once_and_once() -> None:
    events = read(*(bar(step, 5, mean) for step in range(1, 6) for mean in ("nan" if step > 2 else "1.0",) * 2))
    warnings = [event for event in events if isinstance(event, WarningEvent)]
    assert [event.code for event in warnings] == ["loss_not_a_number"]
    assert "step 3" in warnings[0].title
    third = steps(events)[2].avg_loss
    assert third is not None
    assert math.isnan(third)


def test_slow_and_long_runs_are_read() -> None:
    events = read(
        bar(1, 4800, "2.13", rest="00:01<1:24:04,  1.05s/it"), bar(2, 4800, "2", rest="1 day, 3:02:01<?, ?it/s")
    )
    assert [(event.step, event.avg_loss) for event in steps(events)] == [(1, 2.13), (2, 2.0)]


def test_a_mean_that_is_of_the_step_before_is_not_taken_for_the_last_steps() -> None:
    events = read(bar(1, 9, "2.5"), bar(1, 9, "2.5"), bar(2, 9, "2.5"))
    assert [(event.step, event.avg_loss) for event in steps(events)] == [(1, 2.5), (2, None)]


def test_a_traceback_that_was_caught_is_no_problem() -> None:
    trace = b'\nTraceback (most recent call last):\n  File "a.py", line 1, in f\nValueError: harmless\n'
    assert problems(read(bar(1, 9, "2"), bar(1, 9, "2"), trace, bar(2, 9, "2"), bar(2, 9, "2"))) == []
    (problem,) = problems(read(bar(1, 9, "2"), bar(1, 9, "2"), trace))
    assert problem.code == "kohya_error"
    assert "ValueError: harmless" in problem.title
    assert "a.py" in str(problem.detail)


@pytest.mark.parametrize("name", NAMES)
def test_where_the_log_is_cut_changes_nothing(name: str) -> None:
    log = recorded(name)
    whole = read(log)
    for size in (1, 7, 4096) if len(log) < 20_000 else (61, 4096):
        assert read(*(log[start : start + size] for start in range(0, len(log), size))) == whole


@settings(max_examples=30, deadline=None)
@given(st.lists(st.integers(0, 41_049), max_size=12))
def test_any_cuts_change_nothing(cuts: list[int]) -> None:
    log = recorded("ok_bucket_val_unetonly_fp32_ga2_pipe")
    places = [0, *sorted(cuts), len(log)]
    assert read(*(log[start:end] for start, end in itertools.pairwise(places))) == read(log)


@settings(max_examples=60, deadline=None)
@given(st.binary(max_size=400), st.integers(0, 400))
def test_no_bytes_break_it(noise: bytes, cut: int) -> None:
    log = recorded("fail_oom_simulated_pty")
    read(log[:9000] + noise[:cut], noise[cut:] + log[9000:])
    read(noise)


def test_a_line_without_an_end_is_not_kept_for_ever() -> None:
    parser = KohyaLog()
    for _ in range(5):
        parser.feed(b"x" * 700_000)
    assert len(parser._tail) <= 1 << 20


def test_250_000_redraws_are_read_in_a_second() -> None:
    count = 40_000
    log = b"".join(bar(step, count, f"{2 + step % 100 / 100:.3g}") * 2 for step in range(1, count + 1))
    best = math.inf
    for _ in range(3):  # the fastest of three: others use this machine too
        parser = KohyaLog()
        start = time.process_time()
        told = sum(len(parser.feed(log[at : at + 65536])) for at in range(0, len(log), 65536)) + len(parser.close())
        best = min(best, time.process_time() - start)
    assert told >= count
    assert 2 * count / best >= 250_000
