"""pyroVED's weights in our model: the same transform, encoder, decoder and loss. `python -m benchmarks.peers.pyroved_oracle`.

What differs by design is brought to the same value first, and nothing else is touched:
- scale: pyroVED samples at s = 1 + p_s z, we at s = exp(p_s z). Compared where both have the same s (`matching_latents`); the KL of the
  scale latent is that of each one's own z, and the same.
- σ: ours is softplus(·) + 1e-4. pyroVED is given the same floor.
- KL: pyroVED's default estimate takes it at the drawn z, ours is the closed form. Plain models are compared by both forms (pyro's
  TraceMeanField_ELBO has the closed one); joint models at the drawn z, because pyro enumerates classes in that form only.
- pyroVED's loss is a sum over the images of a batch, ours their mean.
- gradients: of models without scale (there s = exp(p_s z) has another derivative).
- images that are not square: pyroVED stretches both sides to [−1, 1], ours keeps pixels square. Compared on square ones.
"""

from __future__ import annotations

import platform
import sys
from dataclasses import dataclass
from importlib.metadata import version
from typing import Any

import torch
from torch import Tensor, nn

from benchmarks.peers.pyroved_models import Case, build_pyroved, floored, import_pyroved, matching_latents, ours_of, translated
from training.latent.coordinates import transform
from training.latent.mixture import MixtureBound, mixture_bound
from training.latent.model import InvariantVAE
from training.latent.objective import Bound, bound

CASES = (
    *(
        Case(f"{name}VAE", letters)
        for name, letters in {"": "", "r": "r", "t": "t", "s": "s", "tr": "rt", "rs": "rs", "ts": "ts", "trs": "rts"}.items()
    ),
    *(Case(f"joint {name}VAE", letters, classes=4) for name, letters in {"": "", "r": "r", "tr": "rt", "trs": "rts"}.items()),
)
# Transform, encoder and decoder absolute, losses relative.
TOLERANCE = 1e-5
# Relative to the greatest entry: those of class probabilities are small differences of terms of a thousand nats, in float32.
GRADIENT_TOLERANCE = 1e-4
IMAGES = 12
# Of the first weights, so that logits and σ leave the middle of their ranges.
_WEIGHTS_TIMES = 2.0
# Weights of the continuous and of the discrete KL: the plain bound, and one in which the KL, a few nats of a thousand, is seen as sharply.
BETAS = ((1.0, 1.0), (1000.0, 300.0))


@dataclass(frozen=True)
class Row:
    """One comparison: the greatest difference and whether it is within the tolerance."""

    case: str
    what: str
    difference: float

    @property
    def agrees(self) -> bool:
        """False for NaN too."""
        return self.difference <= (GRADIENT_TOLERANCE if self.what.startswith("gradient") else TOLERANCE)


def compare(case: Case, *, seed: int = 0) -> list[Row]:
    """All rows of one model, on random images in [0, 1] and latents from the prior."""
    theirs = floored(build_pyroved(case, seed=seed + 1))
    with torch.no_grad():
        for parameter in theirs.parameters():
            parameter.mul_(_WEIGHTS_TIMES)
    ours = ours_of(theirs, case)
    generator = torch.Generator().manual_seed(seed)
    images = torch.rand((IMAGES, case.side_px, case.side_px), generator=generator)
    latents = torch.randn((IMAGES, case.specification.latent_size), generator=generator)
    rows = {"encoder": _encoder(theirs, ours, images), "decoder": _decoder(theirs, ours, latents, case)}
    if case.letters:
        rows = {"transform": _transform(theirs, ours, latents, case)} | rows
    for betas in BETAS:
        rows |= {f"{name}, β {betas[0]:g}": value for name, value in _losses(theirs, ours, images, case, betas=betas, seed=seed).items()}
    return [Row(case.name, what, difference) for what, difference in rows.items()]


def _transform(theirs: Any, ours: InvariantVAE, latents: Tensor, case: Case) -> float:
    sampling = ours.split(matching_latents(latents, case))
    moved = transform(ours.grid, sampling.angle, sampling.shift, sampling.scale)
    return _greatest(moved - _their_coordinates(theirs, latents)[0])


def _their_coordinates(theirs: Any, latents: Tensor) -> tuple[Tensor, Tensor]:
    angle, shift, scale, content = theirs.split_latent(latents)
    if "t" in theirs.invariances:
        shift = (shift * theirs.t_prior).unsqueeze(1)
    grid = theirs.grid.expand(len(latents), *theirs.grid.shape)
    return import_pyroved().utils.transform_coordinates(grid, angle, shift, scale), content


@torch.no_grad()
def _encoder(theirs: Any, ours: InvariantVAE, images: Tensor) -> float:
    expected = theirs.encoder_z(images)
    if not ours.specification.is_mixture:
        found = ours.encode(images[..., None])
    else:
        posterior = ours.posterior(images[..., None])
        found = (posterior.mean[:, 0, 0], posterior.sd[:, 0, 0], torch.exp(posterior.log_q[:, :, 0]))
    return max(_greatest(own - other) for own, other in zip(found, expected, strict=True))


@torch.no_grad()
def _decoder(theirs: Any, ours: InvariantVAE, latents: Tensor, case: Case) -> float:
    one_hot = None
    if case.classes:
        one_hot = nn.functional.one_hot(torch.arange(len(latents)) % case.classes, case.classes).to(latents.dtype)
    if case.letters:
        coordinates, content = _their_coordinates(theirs, latents)
        expected = theirs.decoder(coordinates, content if one_hot is None else [content, one_hot])
    else:
        expected = theirs.decoder(latents if one_hot is None else [latents, one_hot])
    sampling = ours.split(matching_latents(latents, case), one_hot)
    return _greatest(ours.images(sampling).flatten() - expected.flatten())


def _losses(theirs: Any, ours: InvariantVAE, images: Tensor, case: Case, *, betas: tuple[float, float], seed: int) -> dict[str, float]:
    """Relative difference of each form of the loss and of its gradients, both sides with the same noise."""
    from pyro import infer  # noqa: PLC0415

    guide = theirs.guide
    shape = (IMAGES, ours.specification.latent_size)
    torch.manual_seed(seed)
    noise = torch.normal(torch.zeros(shape), torch.ones(shape))  # the first draw of pyroVED's guide after the same seed
    forms: dict[str, Any] = {"loss, KL in closed form": infer.TraceMeanField_ELBO(), "loss, KL at z": infer.Trace_ELBO()}
    if case.classes:
        guide = infer.config_enumerate(theirs.guide, "parallel", expand=True)
        forms = {"loss, KL at z": infer.TraceEnum_ELBO(max_plate_nesting=1, strict_enumeration_warning=False)}
    found = {}
    for name, form in forms.items():
        for model in (theirs, ours):
            model.zero_grad()
        torch.manual_seed(seed)
        expected = form.differentiable_loss(theirs.model, guide, images, scale_factor=list(betas) if case.classes else betas[0])
        own = _own_loss(ours, images, noise, case, betas, at_z=name.endswith("at z"))
        found[name] = abs(float((own - expected).detach())) / abs(float(expected.detach()))
        if "s" in case.letters:
            continue  # the same value, another derivative: d exp(p z)/dz is not d(1 + p z)/dz
        expected.backward()
        own.backward()
        given = {key: parameter.grad for key, parameter in theirs.named_parameters()}
        wanted = translated(given, case)
        own_gradients = {key: parameter.grad for key, parameter in ours.named_parameters()}
        greatest = max(_greatest(value) for value in wanted.values())
        # What pyroVED has not (zeros in the translation) has a gradient of its own.
        shared = [key for key in wanted if not key.startswith("decoder.of_class") or key == "decoder.of_class.0.weight"]
        found[name.replace("loss", "gradient")] = max(_greatest(own_gradients[key] - wanted[key]) for key in shared) / greatest
    return found


def _own_loss(ours: InvariantVAE, images: Tensor, noise: Tensor, case: Case, betas: tuple[float, float], *, at_z: bool) -> Tensor:
    """Our loss times the number of images; with `at_z`, its KL in closed form replaced by log q(z|x) − log p(z) at the drawn z."""
    continuous, discrete = betas
    values = images[..., None]
    mean, sd = _gaussian(ours, values)
    theirs_z = mean + sd * noise
    with torch.no_grad() if "s" in case.letters else torch.enable_grad():
        own_noise = (matching_latents(theirs_z, case) - mean) / sd if "s" in case.letters else noise
    parts: Bound | MixtureBound
    if case.classes:
        parts = mixture_bound(ours, values, own_noise)
        loss = parts.loss(continuous, continuous, discrete)
        closed = parts.pose + parts.content
    else:
        parts = bound(ours, values, own_noise)
        loss = parts.loss(continuous, continuous, len(ours.specification.pose_names))
        closed = parts.divergence.sum(dim=1)
    if at_z:
        drawn = 0.5 * (torch.square(theirs_z) - torch.square(noise)) - torch.log(sd)
        loss = loss + continuous * (drawn.sum(dim=1) - closed).mean()
    return loss * len(images)


def _gaussian(ours: InvariantVAE, values: Tensor) -> tuple[Tensor, Tensor]:
    if not ours.specification.is_mixture:
        return ours.encode(values)
    posterior = ours.posterior(values)
    return posterior.mean[:, 0, 0], posterior.sd[:, 0, 0]


def _greatest(difference: Tensor) -> float:
    return float(difference.detach().abs().max())


def table(rows: list[Row]) -> str:
    """One line for each model, the greatest difference of each quantity over the forms and weights of the loss."""
    columns = ("transform", "encoder", "decoder", "loss", "gradient")
    lines = ["| model | " + " | ".join(columns) + " | agrees |", "|---" * (len(columns) + 2) + "|"]
    for name in dict.fromkeys(row.case for row in rows):
        own = [row for row in rows if row.case == name]
        cells = []
        for column in columns:
            differences = [row.difference for row in own if row.what.startswith(column)]
            # NaN must be seen: max would pass over it.
            cells.append("" if not differences else f"{torch.tensor(differences).max():.1e}")
        lines.append(f"| {name} | " + " | ".join(cells) + f" | {'yes' if all(row.agrees for row in own) else 'NO'} |")
    return "\n".join(lines)


def main() -> int:
    torch.set_num_threads(1)
    import_pyroved()
    rows = [row for case in CASES for row in compare(case)]
    print(table(rows))
    packages = ", ".join(f"{name} {version(name)}" for name in ("pyroved", "pyro-ppl", "torch", "numpy"))
    side = CASES[0].side_px
    print(f"Python {platform.python_version()}, {packages}; {side} × {side} px; tolerance {TOLERANCE:g}, of gradients {GRADIENT_TOLERANCE:g}")
    apart = [row for row in rows if not row.agrees]
    for row in apart:
        print(f"NO: {row.case}, {row.what}: {row.difference:.3g}")
    print(f"{len(rows) - len(apart)} of {len(rows)} comparisons agree (loss and gradient each with β 1 and 1000, KL at the drawn z or closed)")
    return 1 if apart else 0


if __name__ == "__main__":
    sys.exit(main())
