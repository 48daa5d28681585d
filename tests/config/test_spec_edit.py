"""A spec saved by the app: what changed is changed, and comments stay."""

from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fluxgym_tui.base.errors import FluxgymError
from fluxgym_tui.config.spec import TrainSpec
from fluxgym_tui.config.spec_edit import update_spec_text
from fluxgym_tui.config.specfile import change_spec, dump_spec, parse_spec
from tests.config.test_specfile import specs

FOLDER = Path("/specs")
WRITTEN = """\
# My first LoRA.
name: Hrld Person   # as on the model card
dataset:
  # taken in May
  path: photos
  resolution: [768, 1024]   # portraits
  subsets:
    # the dog
    - path: dog
      num_repeats: 3
# not too hot
training:
  learning_rate: 8e-4 # was 1e-3
  seed: 7
samples:
  prompts:
    - hrld on a bike
    # - hrld at sea
    - hrld in a hat
  every_n_steps: 100
flags: {lr_scheduler: cosine, save_state: true}
# the end
"""


def parse(text: str) -> TrainSpec:
    return parse_spec(text, folder=FOLDER, origin="s.yaml")


def updated(text: str, **changes: Any) -> str:
    """`text` after the changes, whose keys have two underscores for the dot; it must say what was asked."""
    wanted = change_spec(parse(text), {key.replace("__", "."): value for key, value in changes.items()})
    result = update_spec_text(text, wanted, folder=FOLDER, origin="s.yaml")
    assert parse(result) == wanted
    return result


def test_nothing_changed_changes_nothing() -> None:
    assert updated(WRITTEN) == WRITTEN


@pytest.mark.parametrize(
    ("changes", "before", "after"),
    [
        ({"training__learning_rate": 1e-4}, "learning_rate: 8e-4 # was 1e-3", "learning_rate: 0.0001 # was 1e-3"),
        ({"name": "Other: one"}, "name: Hrld Person   # as", 'name: "Other: one"   # as'),
        ({"dataset__resolution": 512}, "resolution: [768, 1024]   # portraits", "resolution: 512   # portraits"),
        ({"training__network_dim": 16}, "  seed: 7\n", "  seed: 7\n  network_dim: 16\n"),
        ({"training__lr_scheduler": "linear"}, "{lr_scheduler: cosine, save", "{lr_scheduler: linear, save"),
        ({"trigger": "hrld"}, "save_state: true}\n", "save_state: true}\ntrigger: hrld\n"),
        ({"after__publish": True}, "# the end\n", "# the end\nafter:\n  publish: true\n"),
        ({"dataset__path": Path("/new")}, "  path: photos\n", "  path: /new\n"),
        ({"samples__every_n_steps": 0}, "every_n_steps: 100", "every_n_steps: 0"),
    ],
)
def test_one_change_changes_one_place(changes: dict[str, Any], before: str, after: str) -> None:
    assert before in WRITTEN
    assert updated(WRITTEN, **changes) == WRITTEN.replace(before, after)


def test_a_list_over_lines_is_written_anew_and_its_neighbours_stay() -> None:
    text = updated(WRITTEN, samples__prompts=["hrld"])
    assert "  prompts: [hrld]\n  every_n_steps: 100\n" in text
    assert text.count("#") == WRITTEN.count("#") - 1  # the prompt that was commented out stood inside the list


def test_a_key_that_says_nothing_any_more_goes() -> None:
    fewer = parse(WRITTEN).model_copy(update={"flags": {}})
    result = update_spec_text(WRITTEN, fewer, folder=FOLDER, origin="s.yaml")
    assert "flags: {lr_scheduler: cosine}\n# the end\n" in result
    named = "name: x\ntrigger: t # say it\ndataset: {path: a}\n"
    without = update_spec_text(named, parse(named).model_copy(update={"trigger": None}), folder=FOLDER, origin="s.yaml")
    assert without == "name: x\ndataset: {path: a}\n"


def test_no_spec_is_not_overwritten() -> None:
    with pytest.raises(FluxgymError, match=r"s\.yaml:1:1"):
        update_spec_text("- a\n", parse(WRITTEN), folder=FOLDER, origin="s.yaml")


@settings(max_examples=25, deadline=None)
@given(specs(), specs(), st.booleans())
def test_any_spec_becomes_any_other(old: TrainSpec, new: TrainSpec, comments: bool) -> None:
    text = "# mine\n" + dump_spec(old, comments=comments) + "# last\n"
    result = update_spec_text(text, new, folder=FOLDER, origin="s.yaml")
    assert parse(result) == new
    assert result.startswith("# mine\n")
    assert result.count("\n# last\n") == 1
