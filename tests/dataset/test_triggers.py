"""Captions that lack the trigger."""

from pathlib import Path

from fluxgym_tui.dataset.scan import scan
from fluxgym_tui.dataset.triggers import add_trigger, has_trigger, missing_trigger, without_trigger
from tests.dataset.picture_files import save


def test_where_the_trigger_is_missing(tmp_path: Path) -> None:
    save(tmp_path / "a.png", caption="A photo of HRLD  person in a park")
    save(tmp_path / "b.png", caption="a man in a park\nhrld person below")
    save(tmp_path / "c.png")
    images = scan(tmp_path).images
    assert [image.path.name for image in without_trigger(images, trigger="hrld person")] == ["b.png"]
    finding = missing_trigger(images, trigger="hrld person")
    assert finding is not None
    assert finding.code == "no_trigger"
    assert finding.detail == f"1 caption without “hrld person”: {tmp_path / 'b.txt'}"
    assert add_trigger(tmp_path / "b.txt", trigger="hrld person")
    assert (tmp_path / "b.txt").read_text(encoding="utf-8") == "hrld person, a man in a park\nhrld person below\n"
    assert not add_trigger(tmp_path / "b.txt", trigger="hrld person")
    assert missing_trigger(scan(tmp_path).images, trigger="hrld person") is None
    (tmp_path / "c.txt").write_text("  \n", encoding="utf-8")
    add_trigger(tmp_path / "c.txt", trigger="hrld person")
    assert (tmp_path / "c.txt").read_text(encoding="utf-8") == "hrld person\n"
    assert has_trigger("über Straße", "ÜBER STRASSE")
