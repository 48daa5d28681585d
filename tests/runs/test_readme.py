"""The README beside a run."""

import os

from fluxgym_tui.base.events import EndEvent
from fluxgym_tui.base.files import read_json, write_json
from fluxgym_tui.runs.readme import readme_text
from tests.runs.fake_runs import FakeRun

_END = EndEvent(time=9.0, outcome="failed", exit_code=1, reason="it broke")


def _with_facts(fake: FakeRun) -> None:
    write_json(fake.run.manifest, {**read_json(fake.run.manifest), "base_model": "tiny-flux", "pictures": 2})


def test_a_run_that_ended_without_a_lora_says_so(fake: FakeRun) -> None:
    _with_facts(fake)
    assert "No LoRA" not in readme_text(fake.run)
    assert "No LoRA was saved." in readme_text(fake.run, end=_END)
    (fake.run.output_dir / "hrld-000001.safetensors").write_bytes(b"\0" * 2048)
    text = readme_text(fake.run, end=_END)
    assert "- `hrld-000001.safetensors` (2" in text
    assert "No LoRA" not in text


def test_samples_stand_in_the_order_they_were_made_and_those_left_out_are_counted(fake: FakeRun) -> None:
    _with_facts(fake)
    fake.run.samples.mkdir()
    names = ["hrld_e000000_00.png", *(f"hrld_{step:06d}_00.png" for step in range(10, 130, 10))]
    for second, name in enumerate(names):
        path = fake.run.samples / name
        path.touch()
        os.utime(path, (second, second))
    shown = [line for line in readme_text(fake.run).splitlines() if line.startswith("![")]
    assert shown == [f"![{name}](sample/{name})" for name in names[1:]]
    assert "The newest 12 of 13; the others lie in `sample/`." in readme_text(fake.run)
    (fake.run.samples / names[-1]).unlink()
    assert f"![{names[0]}]" in readme_text(fake.run)
    assert "The newest" not in readme_text(fake.run)
