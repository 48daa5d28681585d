"""The options of a checkout: asked of its parser, kept, read in its sources; a spec's flags held against them."""

import json
import stat
import sys
from pathlib import Path
from typing import Any

import pytest

from fluxgym_tui.backends.kohya import options
from fluxgym_tui.backends.kohya.checkout import Checkout
from fluxgym_tui.backends.kohya.options import (
    ParserOption,
    ask,
    cache_folder,
    options_in_sources,
    options_of,
    scripts_digest,
)
from fluxgym_tui.backends.kohya.source_options import source_options
from fluxgym_tui.config.sd_flags import CHOICES, FLAG_KINDS
from tests.backends.kohya.fake_checkout import RECORDED, write_checkout

OWN = {"else_branch", "with_dash_es", "brand_new"}


@pytest.fixture
def checkout(tmp_path: Path) -> Checkout:
    """A checkout with an environment of its own whose Python is this one."""
    root = tmp_path / "sd scripts"
    write_checkout(root)
    (root / ".venv/bin").mkdir(parents=True)
    _program(root / ".venv/bin/python", f'exec "{sys.executable}" "$@"')
    _program(root / ".venv/bin/accelerate", "exit 0")
    return Checkout(root)


def _program(path: Path, line: str) -> None:
    path.write_text(f"#!/bin/sh\n{line}\n", encoding="utf-8")
    path.chmod(path.stat().st_mode | stat.S_IXUSR)


def test_the_parser_that_is_asked_is_the_checkouts(checkout: Checkout) -> None:
    asked = ask(checkout)
    assert asked is not None
    assert {option["name"] for option in asked} == set(RECORDED) | OWN


def test_the_sources_say_what_the_parser_says(checkout: Checkout) -> None:
    assert source_options(checkout.root) == ask(checkout)


@pytest.mark.parametrize("how", ["asked", "read"])
def test_every_recorded_option_has_its_type_default_and_choices(checkout: Checkout, how: str) -> None:
    if how == "read":
        (checkout.root / ".venv/bin/python").write_text("#!/bin/sh\nexit 1\n", encoding="utf-8")
    known = options_of(checkout)
    assert set(known) == set(RECORDED) | OWN
    for name, flag in RECORDED.items():
        option = known[name]
        assert option.kind == FLAG_KINDS[name]
        assert option.default == flag["default"]
        assert option.help == f"what {name} does"
        shown = None if flag["choices"] is None else tuple(str(one) for one in flag["choices"] if one is not None)
        assert option.choices == shown
        assert CHOICES.get(name) == option.choices
    assert known["brand_new"].default == 3
    assert known["brand_new"].help == "new here now"


def test_the_answer_is_kept_until_the_scripts_change(checkout: Checkout, monkeypatch: pytest.MonkeyPatch) -> None:
    known = options_of(checkout)
    (kept,) = cache_folder().iterdir()
    assert kept.name == f"{scripts_digest(checkout)}.json"

    def nobody(_: Checkout) -> list[dict[str, Any]]:
        raise AssertionError("it was asked again")

    with monkeypatch.context() as patch:
        patch.setattr(options, "ask", nobody)
        assert options_of(checkout) == known
    path = checkout.root / "library/options.py"
    path.write_text(path.read_text(encoding="utf-8").replace("--else_branch", "--newer"), encoding="utf-8")
    assert "newer" in options_of(checkout)
    assert "else_branch" not in options_of(checkout)


def test_a_spoilt_answer_is_asked_for_again(checkout: Checkout) -> None:
    known = options_of(checkout)
    (kept,) = cache_folder().iterdir()
    for text in ("", "[]x", '[{"name": 1}]', "null"):
        kept.write_text(text, encoding="utf-8")
        options._kept.cache_clear()
        assert options_of(checkout) == known
        assert json.loads(kept.read_text(encoding="utf-8"))


def test_what_is_no_checkout_has_no_options(tmp_path: Path) -> None:
    assert source_options(tmp_path) == []
    (tmp_path / "flux_train_network.py").write_text("def broken(:\n", encoding="utf-8")
    assert source_options(tmp_path) == []
    (tmp_path / "flux_train_network.py").write_text(
        "def setup_parser():\n    return setup_parser()\n", encoding="utf-8"
    )
    assert source_options(tmp_path) == []


@pytest.mark.parametrize(
    ("kind", "value", "said"),
    [
        ("switch", True, None),
        ("switch", "yes", "is a switch"),
        ("whole", 3, None),
        ("whole", 3.5, "does not take 3.5"),
        ("whole", True, "needs a value"),
        ("whole", (1, 2), "takes one value"),
        ("number", "1e-4", None),
        ("number", "much", "does not take much"),
        ("whole_or_number", 0.1, None),
        ("text", "anything", None),
        ("texts", ("a=1", "b=2"), None),
        ("numbers", (1.0, 2.0), None),
        ("numbers", ("x",), "does not take x"),
    ],
)
def test_a_value_of_another_kind_is_refused(kind: str, value: object, said: str | None) -> None:
    why = ParserOption(name="x", kind=kind).refusal(value)
    assert why is None if said is None else said in str(why)


def test_a_value_that_is_no_choice_is_refused_with_the_choices() -> None:
    option = ParserOption(name="x", kind="text", choices=("a", "b"))
    assert option.refusal("a") is None
    assert option.refusal("c") == "is one of a, b, not c"


def test_sources_are_read_in_a_process_of_their_own_once_for_each_version(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_checkout(tmp_path / "sd")
    found = options_in_sources(Checkout(tmp_path / "sd"))
    assert found["brand_new"] == ParserOption(name="brand_new", kind="whole", default=3, help="new here now")
    monkeypatch.setattr("subprocess.run", None)
    assert options_in_sources(Checkout(tmp_path / "sd")) == found
