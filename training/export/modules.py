"""The bundle's graphs as torch modules. Input cast and normalisation are `Normalise` here and front.py in the graphs."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn

from dichroic.bundle import Preprocessing
from training.latent.model import InvariantVAE, ObjectPose, Reading

DTYPES: dict[str, torch.dtype] = {"uint8": torch.uint8, "uint16": torch.uint16, "float32": torch.float32}


def input_range(preprocessing: Preprocessing, dtype: str) -> tuple[Tensor, Tensor]:
    """The values of this dtype that become 0 and 1: (c,) float32 each, low and span."""
    low, high = torch.tensor(preprocessing.input_low), torch.tensor(preprocessing.input_high)
    if dtype != "float32" and preprocessing.integer_images == "full_scale":
        # 0..max stands for low..high, so that the normalised value is v/max whatever the unit.
        low, high = torch.zeros_like(low), torch.full_like(high, float(torch.iinfo(DTYPES[dtype]).max))
    return low, high - low


class Normalise(nn.Module):
    """Images (n, h, w[, c]) of one dtype to (n, h, w, c) float32 in the normalised scale, not clipped: (v − low)/(high − low).

    Spectra (n, l[, c]) become images of one row, (n, 1, l, c).
    """

    low: Tensor
    span: Tensor

    def __init__(self, preprocessing: Preprocessing, dtype: str, kind: str = "images") -> None:
        super().__init__()
        self.spectra = kind == "spectra"
        low, span = input_range(preprocessing, dtype)
        self.register_buffer("low", low, persistent=False)
        self.register_buffer("span", span, persistent=False)

    def forward(self, images: Tensor) -> Tensor:
        """See the class."""
        values = images.to(torch.float32)
        values = values.unsqueeze(1) if self.spectra else values
        return ((values.unsqueeze(-1) if values.ndim == 3 else values) - self.low) / self.span


class InUnit(nn.Module):
    """Normalised (n, h, w, c) to images (n, h, w[, c]), or spectra (n, l[, c]), in the unit of the training data."""

    low: Tensor
    span: Tensor

    def __init__(self, preprocessing: Preprocessing, kind: str = "images") -> None:
        super().__init__()
        self.spectra = kind == "spectra"
        low, span = input_range(preprocessing, "float32")
        self.register_buffer("low", low, persistent=False)
        self.register_buffer("span", span, persistent=False)
        self.single = len(low) == 1

    def forward(self, images: Tensor) -> Tensor:
        """See the class."""
        values = images * self.span + self.low
        values = values.squeeze(1) if self.spectra else values
        return values.squeeze(-1) if self.single else values


class Encode(nn.Module):
    """Normalised images (n, h, w, c) to pose, content and class probabilities, in the order of specs.encode_outputs."""

    def __init__(self, model: InvariantVAE, preprocessing: Preprocessing) -> None:
        super().__init__()
        self.model = model
        self.clip = preprocessing.clip

    def forward(self, values: Tensor, conditions: Tensor | None = None) -> tuple[Tensor, ...]:
        """See the class; each output is float32. `conditions` (n, k) in their units, for a model that has some."""
        return self.told(self.model.read(torch.clamp(values, 0.0, 1.0) if self.clip else values, conditions))

    def told(self, reading: Reading) -> tuple[Tensor, ...]:
        """The outputs of what was read."""
        pose = self.model.object_pose(reading.sampling)
        specification = self.model.specification
        outputs: list[Tensor] = []
        if reading.angle_sd_rad is not None:
            outputs += [pose.angle_rad, reading.angle_sd_rad]
        if "scale" in specification.invariances:
            outputs.append(pose.scale)
        if "translation" in specification.invariances:
            outputs += [pose.shift_down_px, pose.shift_right_px] if specification.output_kind == "images" else [pose.shift_right_px]
        if specification.content_size:
            first = len(specification.pose_names)
            outputs += [reading.mean[:, first:], reading.sd[:, first:]]
        classes = [] if reading.class_probabilities is None else [reading.class_probabilities]
        return (*outputs, reading.mean, reading.sd, *classes)


class Classify(nn.Module):
    """Normalised images (n, h, w, c) to the probability of each class (n, K), rows sum to 1."""

    def __init__(self, model: InvariantVAE, preprocessing: Preprocessing) -> None:
        super().__init__()
        self.model = model
        self.clip = preprocessing.clip

    def forward(self, values: Tensor) -> tuple[Tensor]:
        """See the class."""
        found = self.model.posterior(torch.clamp(values, 0.0, 1.0) if self.clip else values)
        return (torch.exp(found.log_q).sum(dim=2),)


class Regress(nn.Module):
    """Normalised images (n, h, w, c) to mean and standard deviation of the targets (n, t) in their units."""

    def __init__(self, model: InvariantVAE, preprocessing: Preprocessing) -> None:
        super().__init__()
        self.model = model
        self.clip = preprocessing.clip

    def forward(self, values: Tensor) -> tuple[Tensor, Tensor]:
        """See the class."""
        return self.model.context.in_unit(*self.model.targets(torch.clamp(values, 0.0, 1.0) if self.clip else values))


class Decode(nn.Module):
    """Content and, with a spatial decoder, the pose to images (n, h, w[, c]) or spectra (n, l[, c]) in the unit of the training data."""

    def __init__(self, model: InvariantVAE, preprocessing: Preprocessing) -> None:
        super().__init__()
        self.model = model
        self.in_unit = InUnit(preprocessing, model.specification.output_kind)

    def forward(self, *inputs: Tensor) -> Tensor:
        """Inputs in the order of specs.decode_inputs.

        [content (n, d)] when d > 0, [angle_rad, scale, shift_down_px, shift_right_px] (n,) each when the decoder is spatial (of spectra scale and
        shift_right_px alone), [class_weights (n, K)] when there are classes, [conditions (n, k)] and [targets (n, t)] in their units.
        """
        specification, left = self.model.specification, list(inputs)
        targets = self.model.context.standardised(left.pop()) if specification.targets else None
        context = self.model.context(left.pop() if specification.conditions else None, targets)
        class_weights = left.pop() if specification.class_source else None
        if not self.model.spatial:
            return self.in_unit(self.model.images(self.model.split(left[0], class_weights, context)))
        if specification.output_kind == "spectra":
            scale, right = left[-2:]
            pose = ObjectPose(torch.zeros_like(scale), scale, torch.zeros_like(scale), right)
        else:
            pose = ObjectPose(*left[-4:])
        content = left[0] if specification.content_size else pose.angle_rad[:, None][:, :0]
        return self.in_unit(self.model.images(self.model.sampling_at(pose, content, class_weights, context)))


class Reconstruct(nn.Module):
    """Normalised images (n, h, w, c) to their reconstruction in the data's unit and their error, the image not clipped."""

    def __init__(self, model: InvariantVAE, preprocessing: Preprocessing) -> None:
        super().__init__()
        self.model = model
        self.in_unit = InUnit(preprocessing, model.specification.output_kind)
        self.clip = preprocessing.clip

    def forward(self, values: Tensor, conditions: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """See the class: the reconstruction from the posterior mean, and (n,) the mean over pixels and channels of the squared difference."""
        drawn = self.model.images(self.model.read(torch.clamp(values, 0.0, 1.0) if self.clip else values, conditions).sampling)
        return self.in_unit(drawn), torch.square(values - drawn).mean(dim=(1, 2, 3))


# Graphs that take images or spectra, by the first part of their signature's name.
MODULES: dict[str, Callable[[InvariantVAE, Preprocessing], nn.Module]] = {
    "encode": Encode,
    "reconstruct": Reconstruct,
    "classify": Classify,
    "regress": Regress,
}
