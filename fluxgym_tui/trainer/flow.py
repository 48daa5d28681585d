"""The rectified-flow step on one page: noise, sigma, mixing, target, weighting and loss, as sd-scripts trains FLUX.

Shapes: B batch, h x w the latent's size (an eighth of the picture's), I = h/2 * w/2 packed image tokens, T text tokens.
sigma is 0 for the clean latent and 1 for noise. The formulas are those of sd-scripts' `flux_train_network.py`.
"""

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from fluxgym_tui.base.errors import FluxgymError
from fluxgym_tui.trainer.flux import Flux

TIMESTEP_SAMPLINGS = ("sigma", "uniform", "sigmoid", "shift", "flux_shift")
WEIGHTING_SCHEMES = ("uniform", "none", "sigma_sqrt", "logit_normal", "mode", "cosmap")
PREDICTION_TYPES = ("raw", "additive", "sigma_scaled")
LOSS_TYPES = ("l2", "l1", "huber", "smooth_l1")
HUBER_SCHEDULES = ("constant", "exponential")


@dataclass(frozen=True, kw_only=True)
class FlowSettings:
    """How noise levels are drawn and errors weighed: sd-scripts' flags and defaults. FluxgymError on other words."""

    timestep_sampling: str = "sigma"
    sigmoid_scale: float = 1.0
    discrete_flow_shift: float = 3.0
    weighting_scheme: str = "uniform"
    logit_mean: float = 0.0
    logit_std: float = 1.0
    mode_scale: float = 1.29
    model_prediction_type: str = "sigma_scaled"
    loss_type: str = "l2"
    huber_schedule: str = "snr"
    huber_c: float = 0.1
    huber_scale: float = 1.0
    noise_offset: float | None = None
    noise_offset_random_strength: bool = False
    adaptive_noise_scale: float | None = None
    multires_noise_iterations: int | None = None
    multires_noise_discount: float = 0.3
    ip_noise_gamma: float | None = None
    ip_noise_gamma_random_strength: bool = False
    guidance_scale: float = 3.5
    apply_t5_attn_mask: bool = False

    def __post_init__(self) -> None:
        for name, allowed in (
            ("timestep_sampling", TIMESTEP_SAMPLINGS),
            ("weighting_scheme", WEIGHTING_SCHEMES),
            ("model_prediction_type", PREDICTION_TYPES),
            ("loss_type", LOSS_TYPES),
        ):
            if getattr(self, name) not in allowed:
                raise FluxgymError(
                    f"--{name} {getattr(self, name)} is not honoured by the built-in trainer.",
                    hint=f"Use one of: {', '.join(allowed)}.",
                )
        if self.loss_type in ("huber", "smooth_l1"):
            self._check_huber()
        if self.ip_noise_gamma_random_strength and not self.ip_noise_gamma:
            raise FluxgymError(
                "--ip_noise_gamma_random_strength has no effect without --ip_noise_gamma.",
                hint="Give --ip_noise_gamma 0.1, or leave both out.",
            )

    def _check_huber(self) -> None:
        if self.huber_schedule not in HUBER_SCHEDULES:
            raise FluxgymError(
                f"--loss_type {self.loss_type} cannot be had with --huber_schedule {self.huber_schedule}: FLUX has no"
                " signal-to-noise schedule, and sd-scripts stops there too.",
                hint=f"Give --huber_schedule {' or '.join(HUBER_SCHEDULES)}.",
            )
        if not (self.huber_c > 0 and self.huber_scale > 0):
            raise FluxgymError(
                f"--huber_c {self.huber_c} and --huber_scale {self.huber_scale}: both must be above 0.",
                hint="0.1 and 1 are the defaults.",
            )


@dataclass(frozen=True, kw_only=True)
class FlowBatch:
    """What one step trains on: scaled latents (B, 16, h, w) and the text encoders' outputs.

    t5_out (B, T, context), txt_ids (B, T, 3), l_pooled (B, vec), t5_attn_mask (B, T), loss_weights (B,): mostly ones.
    masks (B, 1, h, w), 0 to 1: how much each place of the picture counts; None where all count fully.
    """

    latents: Tensor
    t5_out: Tensor
    txt_ids: Tensor
    l_pooled: Tensor
    t5_attn_mask: Tensor
    loss_weights: Tensor
    masks: Tensor | None = None


def pack(latents: Tensor) -> Tensor:
    """(B, c, h, w) -> (B, h/2 * w/2, 4c): each token is a 2 x 2 patch, channels first, then rows, then columns."""
    B, c, h, w = latents.shape
    return latents.view(B, c, h // 2, 2, w // 2, 2).permute(0, 2, 4, 1, 3, 5).reshape(B, h // 2 * (w // 2), 4 * c)


def unpack(tokens: Tensor, *, height: int, width: int) -> Tensor:
    """(B, h/2 * w/2, 4c) -> (B, c, h, w); `height` and `width` are the latent's h and w."""
    B, _, channels = tokens.shape
    patches = tokens.view(B, height // 2, width // 2, channels // 4, 2, 2)
    return patches.permute(0, 3, 1, 4, 2, 5).reshape(B, channels // 4, height, width)


def image_ids(*, height: int, width: int, batch_size: int = 1, device: str | torch.device = "cpu") -> Tensor:
    """Positions (0, row, column) of the packed tokens of a latent of `height` x `width`: (B, h/2 * w/2, 3), float32."""
    rows = torch.arange(height // 2, dtype=torch.float32, device=device)
    columns = torch.arange(width // 2, dtype=torch.float32, device=device)
    grid = torch.cartesian_prod(torch.zeros(1, device=device), rows, columns)
    return grid.expand(batch_size, -1, -1)


def flux_shift_mu(tokens: int) -> float:
    """FLUX's shift for a picture of so many packed tokens: a line through 0.5 at 256 tokens and 1.15 at 4096."""
    return 0.5 + (1.15 - 0.5) / (4096 - 256) * (tokens - 256)


def shift_sigmas(sigmas: Tensor, *, shift: float) -> Tensor:
    """Move noise levels towards 1: S s / (1 + (S - 1) s), which is the same as e^mu / (e^mu + 1/s - 1) at S = e^mu."""
    return shift * sigmas / (1 + (shift - 1) * sigmas)


def draw_sigmas(
    count: int, *, settings: FlowSettings, tokens: int, generator: torch.Generator, device: str | torch.device = "cpu"
) -> Tensor:
    """Draw one noise level a picture, (count,) float32 in 0..1, for pictures of `tokens` packed tokens.

    Drawn on the generator's device, so that a seed means the same on every machine, then moved to `device`.
    """
    kind = settings.timestep_sampling
    if kind == "sigma":
        sigmas = _from_schedule(_density(count, settings=settings, generator=generator), settings.discrete_flow_shift)
    elif kind == "uniform":
        sigmas = torch.rand(count, generator=generator, device=generator.device)
    else:
        normal = torch.randn(count, generator=generator, device=generator.device)
        sigmas = torch.sigmoid(settings.sigmoid_scale * normal)
        if kind == "shift":
            sigmas = shift_sigmas(sigmas, shift=settings.discrete_flow_shift)
        elif kind == "flux_shift":
            sigmas = shift_sigmas(sigmas, shift=math.exp(flux_shift_mu(tokens)))
    return sigmas.to(device)


def _density(count: int, *, settings: FlowSettings, generator: torch.Generator) -> Tensor:
    """Where in the schedule to train, (count,) in 0..1: weighting_scheme's density (Esser et al. 2024, section 3.1)."""
    if settings.weighting_scheme == "logit_normal":
        normal = torch.randn(count, generator=generator, device=generator.device)
        return torch.sigmoid(settings.logit_mean + settings.logit_std * normal)
    u = torch.rand(count, generator=generator, device=generator.device)
    if settings.weighting_scheme == "mode":
        return 1 - u - settings.mode_scale * (torch.cos(math.pi * u / 2) ** 2 - 1 + u)
    return u


def _from_schedule(u: Tensor, shift: float) -> Tensor:
    """The shifted schedule's entry at each `u`: 1000 levels from 1 down."""
    levels = torch.linspace(1, 0.001, 1000, dtype=torch.float64, device=u.device)
    return shift_sigmas(levels, shift=shift)[(u * 1000).long().clamp(0, 999)].float()


def mix(latents: Tensor, *, noise: Tensor, sigmas: Tensor) -> Tensor:
    """The noisy latent (1 - sigma) x0 + sigma noise, (B, c, h, w)."""
    sigma = sigmas.view(-1, 1, 1, 1)
    return (1 - sigma) * latents + sigma * noise


def disturb(noise: Tensor, *, settings: FlowSettings, generator: torch.Generator) -> Tensor:
    """The noise to mix in, (B, c, h, w): `noise` plus ip_noise_gamma times noise of its own; the target keeps `noise`.

    With ip_noise_gamma_random_strength gamma is drawn anew for each batch, from 0 to what is given (input perturbation,
    Ning et al. 2023).
    """
    if not settings.ip_noise_gamma:
        return noise
    more = torch.randn(noise.shape, generator=generator, device=generator.device).to(noise.device)
    gamma = settings.ip_noise_gamma
    if settings.ip_noise_gamma_random_strength:
        gamma *= float(torch.rand(1, generator=generator, device=generator.device))
    return noise + gamma * more


def predict(model: Flux, *, batch: FlowBatch, noisy: Tensor, sigmas: Tensor, settings: FlowSettings) -> Tensor:
    """Run the model on `noisy` (B, c, h, w) -> its velocity prediction (B, c, h, w)."""
    B, _, h, w = noisy.shape
    tokens = model(
        img=pack(noisy),
        img_ids=image_ids(height=h, width=w, batch_size=B, device=noisy.device),
        txt=batch.t5_out,
        txt_ids=batch.txt_ids,
        # sd-scripts hands the level over in the trained precision; in bf16 that rounds 763.005 to 764 of 1000.
        timesteps=(1000 * sigmas).to(model.dtype).float() / 1000,
        y=batch.l_pooled,
        guidance=torch.full((B,), settings.guidance_scale, device=noisy.device),
        txt_attention_mask=batch.t5_attn_mask if settings.apply_t5_attn_mask else None,
    )
    return unpack(tokens, height=h, width=w)


def weigh(sigmas: Tensor, *, settings: FlowSettings) -> Tensor:
    """The weight of each picture's error, (B,): as in sd-scripts, schemes weigh only `sigma_scaled` predictions."""
    if settings.model_prediction_type == "sigma_scaled" and settings.weighting_scheme == "sigma_sqrt":
        return sigmas**-2.0
    if settings.model_prediction_type == "sigma_scaled" and settings.weighting_scheme == "cosmap":
        return 2 / (math.pi * (1 - 2 * sigmas + 2 * sigmas**2))
    return torch.ones_like(sigmas)


def errors(difference: Tensor, *, sigmas: Tensor, settings: FlowSettings, dtype: torch.dtype) -> Tensor:
    """How wrong each value of `difference` (B, c, h, w) is, by loss_type; sigmas (B,), `dtype` that of training.

    huber and smooth_l1 are sd-scripts' own: 2 d (sqrt(x^2 + d^2) - d), and the same without the first d. d is
    huber_c huber_scale, or on the exponential schedule huber_c^sigma huber_scale, computed in `dtype` as there.
    """
    if settings.loss_type == "l2":
        return difference.square()
    if settings.loss_type == "l1":
        return difference.abs()
    if settings.huber_schedule == "exponential":
        bounds = torch.exp(math.log(settings.huber_c) / 1000 * (1000 * sigmas).to(dtype)) * settings.huber_scale
    else:
        bounds = torch.full_like(sigmas, settings.huber_c * settings.huber_scale)
    d = bounds.view(-1, 1, 1, 1)
    # d in its own precision stays there until it meets the float32 difference.
    error = 2 * (torch.sqrt(difference.square() + d**2) - d)
    return d * error if settings.loss_type == "huber" else error


def flow_losses(
    model: Flux,
    *,
    batch: FlowBatch,
    noise: Tensor,
    sigmas: Tensor,
    settings: FlowSettings,
    mixed_noise: Tensor | None = None,
) -> Tensor:
    """The weighed error of each picture, (B,) float32; the loss is their mean. noise (B, c, h, w), sigmas (B,).

    `mixed_noise` is what is mixed in where that is not `noise` itself: see `disturb`.
    """
    noisy = mix(batch.latents, noise=noise if mixed_noise is None else mixed_noise, sigmas=sigmas)
    prediction = predict(model, batch=batch, noisy=noisy, sigmas=sigmas, settings=settings).float()
    if settings.model_prediction_type == "additive":
        prediction = prediction + noisy
    elif settings.model_prediction_type == "sigma_scaled":
        prediction = noisy - sigmas.view(-1, 1, 1, 1) * prediction
    difference = prediction - (noise - batch.latents)
    error = errors(difference, sigmas=sigmas, settings=settings, dtype=model.dtype)
    if batch.masks is not None:
        error = error * batch.masks
    return error.mean(dim=(1, 2, 3)) * weigh(sigmas, settings=settings) * batch.loss_weights
