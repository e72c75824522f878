"""One model twice: as pyroVED builds it, and as ours of the same structure holding pyroVED's weights."""

from __future__ import annotations

import sys
import types
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from training.latent.encoders import SD_FLOOR
from training.latent.model import InvariantVAE
from training.latent.specification import Invariance, ModelSpecification

LETTERS: dict[str, Invariance] = {"r": "rotation", "t": "translation", "s": "scale"}
# pyroVED's defaults, written out: hidden layers of encoder and decoder, p_t and p_s; its p_r is 1.
HIDDEN = (128, 128)
SHIFT_PRIOR = 0.1
SCALE_PRIOR = 0.1


@dataclass(frozen=True)
class Case:
    """One model: `letters` any of "r", "t", "s" in this order; `classes` K >= 2 of the joint model, 0: none."""

    name: str
    letters: str
    classes: int = 0
    side_px: int = 48
    content_size: int = 2

    @property
    def specification(self) -> ModelSpecification:
        """Our structure that holds pyroVED's weights without a rest.

        pyroVED's spatial decoder has a layer for coordinates and content, and `hidden` behind it: one layer more than its plain decoder.
        """
        first = HIDDEN[:1] if self.letters else ()
        return ModelSpecification(
            height_px=self.side_px,
            width_px=self.side_px,
            invariances=tuple(LETTERS[letter] for letter in self.letters),
            content_size=self.content_size,
            shift_prior_sd=SHIFT_PRIOR,
            scale_prior_log_sd=SCALE_PRIOR,
            encoder_widths=HIDDEN,
            decoder_widths=(*first, *HIDDEN),
            class_source="joint" if self.classes else "",
            class_names=tuple(f"class_{index + 1}" for index in range(self.classes)),
        )


def import_pyroved() -> Any:
    """The package. Its plots need torchvision, which has no build for the CPU build of torch; nothing here draws, so an empty one stands in."""
    if "torchvision" not in sys.modules:
        stand_in, of_images = types.ModuleType("torchvision"), types.ModuleType("torchvision.utils")
        of_images.make_grid = None  # type: ignore[attr-defined]
        sys.modules |= {"torchvision": stand_in, "torchvision.utils": of_images}
    try:
        import pyroved  # noqa: PLC0415
    except ModuleNotFoundError as error:
        raise SystemExit(f"{error}. This benchmark runs in an environment of its own; see benchmarks/peers/README.md.") from error
    return pyroved


def build_pyroved(case: Case, *, seed: int) -> nn.Module:
    """The iVAE, or jiVAE with classes, with its own first weights, on the CPU."""
    models = import_pyroved().models
    invariances = list(case.letters) or None
    hidden = {"hidden_dim_e": list(HIDDEN), "hidden_dim_d": list(HIDDEN)}
    priors = {"dx_prior": SHIFT_PRIOR, "sc_prior": SCALE_PRIOR, "device": "cpu"}
    side = (case.side_px, case.side_px)
    if case.classes:
        return models.jiVAE(side, case.content_size, case.classes, invariances, **hidden, seed=seed, **priors)  # type: ignore[no-any-return]
    return models.iVAE(side, case.content_size, invariances, **hidden, seed=seed, **priors)  # type: ignore[no-any-return]


class FlooredSoftplus(nn.Module):
    """Our σ: softplus plus the floor that pyroVED has not."""

    def forward(self, values: Tensor) -> Tensor:
        """Values of any shape to σ of the same shape."""
        return functional.softplus(values) + SD_FLOOR


def floored(theirs: nn.Module) -> nn.Module:
    """Their model with our floor of σ, 1e-4: it would hide a difference of 1e-5 otherwise."""
    theirs.encoder_z.activation_out = FlooredSoftplus()  # type: ignore[union-attr]
    return theirs


def translated(theirs: dict[str, Tensor], case: Case) -> dict[str, Tensor]:
    """Their state (or gradients by the same names) under our names.

    Its Sequential counts activations too, so its i-th dense layer is number 2 i. Its first decoder layer takes [z, c] side by side, without
    a bias (the coordinates' layer has it); ours has a matrix for z and one for c. Our classes also enter behind every hidden layer, which
    pyroVED has not: zeros there.

    Args:
        theirs: of `build_pyroved(case)`.
        case: the model's.

    Returns:
        What `InvariantVAE(case.specification).load_state_dict` takes, strictly.
    """
    names = {"encoder_z.fc11": "encoder.mean", "encoder_z.fc12": "encoder.deviation", "decoder.out": "decoder.output"}
    if case.classes:
        names["encoder_z.fc13"] = "encoder.pairs"
    for layer in range(len(HIDDEN)):
        names |= {f"encoder_z.fc_layers.{2 * layer}": f"encoder.dense.{layer}", f"decoder.fc_layers.{2 * layer}": f"decoder.hidden.{layer}"}
    if case.letters:
        names["decoder.coord_latent.fc_coord"] = "decoder.of_coordinates"
    ours = {f"{to}.{part}": theirs[f"{name}.{part}"].clone() for name, to in names.items() for part in ("weight", "bias")}
    if case.letters:
        of_latent = theirs["decoder.coord_latent.fc_latent.weight"]
        ours["decoder.of_content.weight"] = of_latent[:, : case.content_size].clone()
        if case.classes:
            ours["decoder.of_class.0.weight"] = of_latent[:, case.content_size :].clone()
            ours |= {f"decoder.of_class.{layer + 1}.weight": of_latent.new_zeros((width, case.classes)) for layer, width in enumerate(HIDDEN)}
    return ours


def ours_of(theirs: nn.Module, case: Case) -> InvariantVAE:
    """Our model with pyroVED's weights."""
    model = InvariantVAE(case.specification)
    model.load_state_dict(translated(theirs.state_dict(), case))
    return model.eval()


def matching_latents(latents: Tensor, case: Case) -> Tensor:
    """The raw latents (n, L) at which our model stands where pyroVED stands at `latents` (n, L).

    The same, but for scale: pyroVED draws at s = 1 + p_s z, we at s = exp(p_s z), so ours is z' = log(1 + p_s z)/p_s. Needs 1 + p_s z > 0.
    """
    if "s" not in case.letters:
        return latents
    at = len(case.specification.pose_names) - 1
    scale = torch.log1p(SCALE_PRIOR * latents[:, at : at + 1]) / SCALE_PRIOR
    return torch.cat((latents[:, :at], scale, latents[:, at + 1 :]), dim=1)
