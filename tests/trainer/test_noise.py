"""Noise that is moved or made coarser is what sd-scripts' formulas make of it."""

import torch

from fluxgym_tui.trainer.flow import FlowSettings
from fluxgym_tui.trainer.noise import draw_noise

LATENTS = torch.randn(2, 16, 12, 20, generator=torch.Generator().manual_seed(9))


def drawn(seed: int = 1, latents: torch.Tensor = LATENTS, **settings: float | bool) -> torch.Tensor:
    flow = FlowSettings(**settings)  # type: ignore[arg-type]
    return draw_noise(latents, settings=flow, generator=torch.Generator().manual_seed(seed))


def test_plain_noise_is_what_the_generator_draws() -> None:
    assert torch.equal(drawn(), torch.randn(LATENTS.shape, generator=torch.Generator().manual_seed(1)))


def test_an_offset_moves_each_channel_as_a_whole() -> None:
    generator = torch.Generator().manual_seed(1)
    plain = torch.randn(LATENTS.shape, generator=generator)
    directions = torch.randn(2, 16, 1, 1, generator=generator)
    moved = drawn(noise_offset=0.25)
    torch.testing.assert_close(moved, plain + 0.25 * directions)
    scaled = drawn(noise_offset=0.25, adaptive_noise_scale=0.5)
    strengths = 0.25 + 0.5 * LATENTS.mean(dim=(2, 3), keepdim=True).abs()
    torch.testing.assert_close(scaled, plain + strengths * directions)
    assert torch.equal(drawn(noise_offset=0.01, adaptive_noise_scale=-99.0), plain)  # never below nothing


def test_a_random_strength_is_between_nothing_and_the_offset() -> None:
    strengths = []
    for seed in range(20):
        plain, moved = drawn(seed), drawn(seed, noise_offset=0.5, noise_offset_random_strength=True)
        generator = torch.Generator().manual_seed(seed)
        torch.randn(LATENTS.shape, generator=generator)
        torch.rand(1, generator=generator)
        directions = torch.randn(2, 16, 1, 1, generator=generator)
        strengths.append(float(((moved - plain) / directions).mean()))
    assert 0 < min(strengths) < 0.2 < max(strengths) < 0.5


def test_coarser_layers_leave_unit_variance_and_larger_patches() -> None:
    large = torch.zeros(4, 16, 32, 32)
    plain, coarse = drawn(latents=large), drawn(latents=large, multires_noise_iterations=6)
    assert abs(float(coarse.std()) - 1) < 1e-4

    def neighbours(noise: torch.Tensor) -> float:
        return float((noise[..., 1:] * noise[..., :-1]).mean())

    assert neighbours(coarse) > neighbours(plain) + 0.01
    stronger = drawn(latents=large, multires_noise_iterations=6, multires_noise_discount=0.8)
    assert neighbours(stronger) > neighbours(coarse)
