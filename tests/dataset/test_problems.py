"""The page about datasets names every finding."""

import re
from pathlib import Path

from fluxgym_tui.dataset.problems import PROBLEMS, problem

PAGE = Path(__file__).parents[2] / "docs" / "datasets.md"


def test_the_page_has_every_finding() -> None:
    rows = re.findall(r"^\| `(\w+)` \| (\w+) \| (.+?) \| (.+?) \|$", PAGE.read_text(encoding="utf-8"), re.MULTILINE)
    assert rows == [(code, severity.value, title, fix) for code, (severity, title, fix) in PROBLEMS.items()]


def test_a_finding_has_its_words() -> None:
    finding = problem("duplicate", path=Path("a.png"), detail="the same bytes as b.png")
    assert (finding.path, finding.detail) == ("a.png", "the same bytes as b.png")
    assert finding.fix
