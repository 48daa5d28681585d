"""The seam: how flags become arguments."""

from hypothesis import given
from hypothesis import strategies as st

from fluxgym_tui.backends.base import argument_text, flag_arguments
from fluxgym_tui.config.sd_flags import FlagValue


def test_switches_lists_and_numbers_become_arguments() -> None:
    flags: dict[str, FlagValue] = {
        "sdpa": True,
        "highvram": False,
        "seed": 42,
        "learning_rate": 8e-4,
        "optimizer_args": ("eps=1e-8", "betas=0.9,0.99"),
        "output_name": "-odd",
    }
    assert flag_arguments(flags) == [
        "--sdpa", "--seed", "42", "--learning_rate", "0.0008",
        "--optimizer_args", "eps=1e-8", "betas=0.9,0.99", "--output_name=-odd",
    ]  # fmt: skip


@given(st.floats(allow_nan=False, allow_infinity=False))
def test_a_number_survives_its_text(value: float) -> None:
    assert float(argument_text(value)) == value
