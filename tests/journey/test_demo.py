"""The demo is worth its name: long enough, in batches, and what it trains is learnt."""

import json
from pathlib import Path

from fluxgym_tui.cli.demo import LEAST_FALL
from fluxgym_tui.config.resources import bundled
from fluxgym_tui.config.specfile import load_spec
from fluxgym_tui.runs.verify import verify_lora
from tests.journey.commands import cli

DEMO = "examples/demo.yaml"


def test_the_demo_is_a_real_training(tmp_path: Path) -> None:
    planned = cli("plan", bundled(DEMO), "--json", workspace=tmp_path, check=True)
    steps = json.loads(planned.stdout)["steps"]
    assert steps["total"] >= 200
    assert load_spec(bundled(DEMO)).dataset.batch_size >= 4


def test_a_fifth_of_the_demo_learns_enough(tmp_path: Path) -> None:
    """On one thread, as the backend has it for so small a model."""
    done = cli("train", bundled(DEMO), "--epochs", 4, "--set", "samples.at_first=false", "--json", workspace=tmp_path)
    assert done.returncode == 0, done.stderr
    *events, last = [json.loads(line) for line in done.stdout.splitlines()]
    probes = {event["when"]: event["loss"] for event in events if event["kind"] == "probe"}
    assert probes["after"] < (1 - LEAST_FALL) * probes["before"]
    assert verify_lora(Path(last["lora"])).good  # whole, and every number in it finite
