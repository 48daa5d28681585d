"""Noise levels are drawn, mixed and weighed as sd-scripts does it."""

import json
import math
from typing import Any

import pytest
import torch

from fluxgym_tui.base.errors import FluxgymError
from fluxgym_tui.trainer import flow
from fluxgym_tui.trainer.flow import FlowBatch, FlowSettings
from tests.trainer.parity import PARITY, flag, relative, section, tiny_flux, vectors

pytestmark = pytest.mark.usefixtures("one_thread")

STATISTICS: dict[str, dict[str, Any]] = json.loads((PARITY / "timestep_stats.json").read_text(encoding="utf-8"))
DRAWN = 40_000


def settings_of(argv: list[str]) -> FlowSettings:
    return FlowSettings(
        timestep_sampling=flag(argv, "timestep_sampling", "sigma"),
        sigmoid_scale=float(flag(argv, "sigmoid_scale", "1.0")),
        discrete_flow_shift=float(flag(argv, "discrete_flow_shift", "3.0")),
        weighting_scheme=flag(argv, "weighting_scheme", "uniform"),
    )


def draw(settings: FlowSettings, *, count: int = DRAWN, tokens: int = 16, seed: int = 3) -> torch.Tensor:
    return flow.draw_sigmas(count, settings=settings, tokens=tokens, generator=torch.Generator().manual_seed(seed))


@pytest.mark.parametrize("name", STATISTICS)
def test_drawn_levels_have_sd_scripts_distribution(name: str) -> None:
    expected = STATISTICS[name]
    height, width = expected["latent_hw"]
    sigmas = draw(settings_of(expected["argv"]), tokens=height // 2 * (width // 2))
    # Twice 4 standard errors of a quantile: of ours and of the reference's own drawing.
    for level, quantile in expected["t_quantiles"].items():
        share = float((1000 * sigmas <= quantile * (1 + 1e-6)).float().mean())
        below = float((1000 * sigmas < quantile * (1 - 1e-6)).float().mean())
        room = 8 * math.sqrt(float(level) * (1 - float(level)) / min(DRAWN, expected["n"]))
        assert below - room <= float(level) <= share + room, (level, below, share)
    assert float(1000 * sigmas.mean()) == pytest.approx(
        expected["t_mean"], abs=8 * expected["t_std"] / math.sqrt(20_000)
    )
    assert float(sigmas.min()) >= 0
    assert float(sigmas.max()) <= 1


def test_sigma_draws_only_entries_of_the_schedule() -> None:
    settings = FlowSettings(timestep_sampling="sigma", discrete_flow_shift=3.0)
    entries = flow.shift_sigmas(torch.arange(1, 1001, dtype=torch.float64) / 1000, shift=3.0).float()
    assert torch.isin(draw(settings, count=2000), entries).all()


def test_a_seed_decides_the_levels() -> None:
    settings = FlowSettings(timestep_sampling="shift")
    assert torch.equal(draw(settings, count=4, seed=1), draw(settings, count=4, seed=1))
    assert not torch.equal(draw(settings, count=4, seed=1), draw(settings, count=4, seed=2))


def test_flux_shift_is_the_published_line() -> None:
    assert flow.flux_shift_mu(256) == pytest.approx(0.5)
    assert flow.flux_shift_mu(4096) == pytest.approx(1.15)
    sigma, mu = torch.tensor([0.3]), flow.flux_shift_mu(1024)
    published = math.exp(mu) / (math.exp(mu) + (1 / 0.3 - 1))
    assert float(flow.shift_sigmas(sigma, shift=math.exp(mu))) == pytest.approx(published, rel=1e-6)


def test_packing_and_positions_are_the_reference() -> None:
    forward = vectors("forward")
    assert torch.equal(flow.pack(forward["latents_unpacked"]), forward["img"])
    assert torch.equal(flow.unpack(forward["out"], height=16, width=12), forward["out_unpacked"])
    assert torch.equal(flow.image_ids(height=16, width=12, batch_size=2), forward["img_ids"])


@pytest.mark.parametrize(
    "name", ["A_shift_raw", "B_fluxshift_mask_gs35", "C_sigma_sigmascaled_default", "D_sigmoid_single_only_alpha4"]
)
def test_mixing_is_the_reference(name: str) -> None:
    step = section(vectors(f"traj_{name}"), "step00")
    latents = vectors("traj_A_shift_raw")["data.latents"][:2]
    assert relative(flow.mix(latents, noise=step["noise"], sigmas=step["sigmas"]), step["noisy_model_input"]) < 1e-6
    assert relative(step["noise"] - latents, step["target"]) < 1e-6


def batch(*, loss_weights: tuple[float, float] = (1.0, 1.0)) -> FlowBatch:
    data = section(vectors("traj_A_shift_raw"), "data")
    return FlowBatch(
        latents=data["latents"][:2],
        t5_out=data["t5_out"][:2],
        txt_ids=torch.zeros(2, 24, 3),
        l_pooled=data["l_pooled"][:2],
        t5_attn_mask=data["t5_attn_mask"][:2],
        loss_weights=torch.tensor(loss_weights),
    )


def losses(settings: FlowSettings, **more: Any) -> torch.Tensor:
    step = section(vectors("traj_A_shift_raw"), "step00")
    with torch.no_grad():
        return flow.flow_losses(
            tiny_flux(), batch=batch(**more), noise=step["noise"], sigmas=step["sigmas"], settings=settings
        )


def test_more_noise_goes_in_than_the_target_knows() -> None:
    settings = FlowSettings(ip_noise_gamma=0.1)
    noise = vectors("traj_A_shift_raw")["step00.noise"]
    more = flow.disturb(noise, settings=settings, generator=torch.Generator().manual_seed(1)) - noise
    assert float(more.std()) == pytest.approx(0.1, rel=0.05)
    assert float((more * noise).mean()) == pytest.approx(0.0, abs=0.02)
    assert flow.disturb(noise, settings=FlowSettings(), generator=torch.Generator()) is noise

    step = section(vectors("traj_A_shift_raw"), "step00")
    settings, model = FlowSettings(model_prediction_type="raw", guidance_scale=1.0), tiny_flux()
    with torch.no_grad():
        found = flow.flow_losses(
            model, batch=batch(), noise=noise, sigmas=step["sigmas"], settings=settings, mixed_noise=noise + more
        )
        noisy = flow.mix(batch().latents, noise=noise + more, sigmas=step["sigmas"])
        prediction = flow.predict(model, batch=batch(), noisy=noisy, sigmas=step["sigmas"], settings=settings)
    assert torch.allclose(found, (prediction - step["target"]).square().mean(dim=(1, 2, 3)))
    assert not torch.allclose(found, losses(settings))


def test_the_added_noise_may_be_of_random_strength() -> None:
    settings = FlowSettings(ip_noise_gamma=0.5, ip_noise_gamma_random_strength=True)
    generator, noise = torch.Generator().manual_seed(1), torch.zeros(1, 16, 16, 16)
    strengths = [float(flow.disturb(noise, settings=settings, generator=generator).std()) for _ in range(20)]
    assert 0 < min(strengths) < 0.2
    assert 0.3 < max(strengths) < 0.52
    with pytest.raises(FluxgymError, match="without --ip_noise_gamma"):
        FlowSettings(ip_noise_gamma_random_strength=True)


def test_pictures_weigh_what_they_are_given() -> None:
    settings = FlowSettings(model_prediction_type="raw")
    plain, weighed = losses(settings), losses(settings, loss_weights=(1.0, 0.25))
    assert torch.allclose(weighed, plain * torch.tensor([1.0, 0.25]))


def test_additive_and_l1_are_what_they_say() -> None:
    step = section(vectors("traj_A_shift_raw"), "step00")
    target = step["target"]
    raw = step["model_pred"]
    expected = (raw + step["noisy_model_input"] - target).square().mean(dim=(1, 2, 3))
    assert torch.allclose(
        losses(FlowSettings(model_prediction_type="additive", guidance_scale=1.0)), expected, rtol=1e-4
    )
    expected = (raw - target).abs().mean(dim=(1, 2, 3))
    found = losses(FlowSettings(model_prediction_type="raw", loss_type="l1", guidance_scale=1.0))
    assert torch.allclose(found, expected, rtol=1e-4)


# What sd-scripts' own functions make of these differences at sigma 0.763005, huber_c 0.2 and huber_scale 1.5.
DIFFERENCES = (-2.0, -0.3, 0.01, 0.7)
HUBER = [
    ("huber", "constant", torch.float32, (1.03342497, 0.0745584369, 9.99748736e-05, 0.276946396)),
    ("huber", "constant", torch.bfloat16, (1.03342497, 0.0745584369, 9.99748736e-05, 0.276946396)),
    ("huber", "exponential", torch.float32, (1.41315246, 0.0814139992, 0.000100000798, 0.340135872)),
    ("huber", "exponential", torch.bfloat16, (1.4135592, 0.0816169456, 0.000340174302, 0.340314656)),
    ("smooth_l1", "constant", torch.float32, (3.44474983, 0.248528123, 0.000333249569, 0.923154593)),
    ("smooth_l1", "exponential", torch.float32, (3.21673536, 0.185321331, 0.000227630138, 0.77424562)),
    ("smooth_l1", "exponential", torch.bfloat16, (3.21663237, 0.185723901, 0.000774085522, 0.774404883)),
]


@pytest.mark.parametrize(("loss_type", "schedule", "dtype", "expected"), HUBER)
def test_huber_is_sd_scripts_own(
    loss_type: str, schedule: str, dtype: torch.dtype, expected: tuple[float, ...]
) -> None:
    settings = FlowSettings(loss_type=loss_type, huber_schedule=schedule, huber_c=0.2, huber_scale=1.5)
    difference = torch.tensor([DIFFERENCES, DIFFERENCES]).view(2, 1, 2, 2)
    found = flow.errors(difference, sigmas=torch.tensor([0.25, 0.763005]), settings=settings, dtype=dtype)
    assert found.dtype == torch.float32
    assert found[1].flatten().tolist() == pytest.approx(expected, rel=2e-4)
    assert torch.equal(found[0], found[1]) is (schedule == "constant")


def test_huber_is_what_is_trained() -> None:
    step = section(vectors("traj_A_shift_raw"), "step00")
    difference = (step["model_pred"] - step["target"]).double()
    expected = (2 * 0.1 * ((difference.square() + 0.1**2).sqrt() - 0.1)).mean(dim=(1, 2, 3)).float()
    settings = FlowSettings(
        model_prediction_type="raw", loss_type="huber", huber_schedule="constant", guidance_scale=1.0
    )
    assert torch.allclose(losses(settings), expected, rtol=1e-4)


@pytest.mark.parametrize(
    ("more", "words"),
    [
        ({}, "--huber_schedule snr"),  # sd-scripts' default, at which it stops too
        ({"huber_schedule": "other"}, "--huber_schedule other"),
        ({"huber_schedule": "constant", "huber_c": 0.0}, "--huber_c 0.0"),
        ({"huber_schedule": "exponential", "huber_scale": -1.0}, "--huber_scale -1.0"),
    ],
)
@pytest.mark.parametrize("loss_type", ["huber", "smooth_l1"])
def test_huber_without_a_bound_is_refused(loss_type: str, more: dict[str, Any], words: str) -> None:
    with pytest.raises(FluxgymError, match=words):
        FlowSettings(loss_type=loss_type, **more)


@pytest.mark.parametrize(
    ("prediction", "scheme", "expected"),
    [
        ("raw", "cosmap", 1.0),
        ("sigma_scaled", "uniform", 1.0),
        ("sigma_scaled", "sigma_sqrt", 16.0),
        ("sigma_scaled", "cosmap", 2 / (math.pi * 0.625)),
    ],
)
def test_weights(prediction: str, scheme: str, expected: float) -> None:
    settings = FlowSettings(model_prediction_type=prediction, weighting_scheme=scheme)
    assert float(flow.weigh(torch.tensor([0.25]), settings=settings)) == pytest.approx(expected)


@pytest.mark.parametrize("name", ["timestep_sampling", "weighting_scheme", "model_prediction_type", "loss_type"])
def test_unknown_words_are_refused_by_flag(name: str) -> None:
    with pytest.raises(FluxgymError, match=f"--{name} other"):
        FlowSettings(**{name: "other"})  # type: ignore[arg-type]
