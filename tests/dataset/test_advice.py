"""What is told of pictures before they are staged."""

from pathlib import Path

from fluxgym_tui.dataset.advice import staging_advice
from fluxgym_tui.dataset.scan import scan
from tests.dataset.picture_files import encoded, gradient, save


def test_advice_before_staging(tmp_path: Path) -> None:
    save(tmp_path / "plain.png", caption="hrld person")
    assert staging_advice(scan(tmp_path).images, trigger="hrld person", resize=20) == []
    save(tmp_path / "turned.jpg", orientation=6, caption="somebody else")
    (tmp_path / "cmyk.jpg").write_bytes(encoded(gradient(40, 30, "CMYK"), "JPEG"))
    images = scan(tmp_path).images
    told = staging_advice(images, trigger="hrld person")
    assert [finding.code for finding in told] == ["no_trigger", "turned_upright", "colours_converted"]
    assert [finding.code for finding in staging_advice(images, trigger=None)] == ["turned_upright", "colours_converted"]
    assert told[1].detail == f"1 picture: {tmp_path / 'turned.jpg'}"
