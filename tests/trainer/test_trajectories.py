"""Trained again from the same start, we end where sd-scripts ended."""

import math

import pytest
import torch

from tests.trainer.parity import replay, section, vectors

pytestmark = pytest.mark.usefixtures("one_thread")

FLOAT32 = (
    "A_shift_raw",
    "A2_shift_raw_gradckpt",
    "B_fluxshift_mask_gs35",
    "C_sigma_sigmascaled_default",
    "C2_sigma_logitnormal_cosmap",
    "D_sigmoid_single_only_alpha4",
    "G_overfit_fixed_noise",
    "H_overfit_adafactor",
)


def norm(tensors: dict[str, torch.Tensor]) -> float:
    """The common norm of all weights, alphas left out."""
    weights = [value.double() for key, value in tensors.items() if not key.endswith("alpha")]
    return math.sqrt(sum(float(weight.square().sum()) for weight in weights))


@pytest.mark.parametrize("name", FLOAT32)
def test_float32_trajectories_are_sd_scripts_own(name: str) -> None:
    trained = replay(name)
    assert trained.losses == pytest.approx(trained.expected_losses, rel=1e-5)
    assert trained.norms == pytest.approx(trained.expected_norms, rel=1e-4)
    final = trained.network.lora_state()
    assert final.keys() == trained.expected_final.keys()
    assert norm(final) == pytest.approx(norm(trained.expected_final), rel=1e-5)
    for key, expected in trained.expected_final.items():
        assert final[key].shape == expected.shape
        difference = (final[key].double() - expected.double()).norm() / expected.double().norm()
        assert float(difference) < 1e-4, key


def test_bf16_stays_close() -> None:
    trained = replay("E_shift_raw_bf16")
    assert trained.losses == pytest.approx(trained.expected_losses, rel=1e-2)
    assert norm(trained.network.lora_state()) == pytest.approx(norm(trained.expected_final), rel=1e-2)


def test_the_overfitting_ones_learn() -> None:
    losses = replay("G_overfit_fixed_noise").losses
    assert losses[-1] < 0.8 * losses[0]


def test_gradients_of_the_first_steps() -> None:
    trained = replay("A_shift_raw", steps=2)
    for step, found in enumerate(trained.first_gradients):
        expected = section(vectors("traj_A_shift_raw"), f"grad{step}")
        for key, gradient in found.items():
            if key not in expected:  # a fresh adapter's up is zero, and with it the gradient of its down
                assert step == 0
                assert torch.count_nonzero(gradient) == 0
            else:
                assert float((gradient - expected[key]).norm() / expected[key].norm()) < 1e-5, key
