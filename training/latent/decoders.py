"""Decoders: a picture as a function of coordinates and content (spatial), or of content alone (plain)."""

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext

import torch
from torch import Tensor, nn

from training.latent.activation import tanh
from training.latent.specification import ModelSpecification

# Of the first weights on the coordinates: edges a third of a grid unit wide, their positions over the whole picture.
_COORDINATE_SPREAD = 3.0


class SpatialDecoder(nn.Module):
    """One value per channel at each coordinate: h0 = tanh(W_x x' + b + W_z z), then dense layers with tanh, then a linear output.

    Attributes:
        step_type: of the dense layers' products while gradients are taken; None: that of the weights. The first layer keeps the weights' type: in
            bfloat16, whose numbers have eight bits, a coordinate moves by up to a tenth of a pixel of 48.
    """

    def __init__(self, specification: ModelSpecification) -> None:
        super().__init__()
        self.step_type: torch.dtype | None = None
        first, *rest = specification.decoder_widths
        self.of_coordinates = nn.Linear(2, first)
        # [ours] torch's own first weights are a quarter of this and draw nothing finer than the whole picture for many epochs.
        nn.init.uniform_(self.of_coordinates.weight, -_COORDINATE_SPREAD, _COORDINATE_SPREAD)
        nn.init.uniform_(self.of_coordinates.bias, -_COORDINATE_SPREAD, _COORDINATE_SPREAD)
        self.of_content = nn.Linear(specification.content_width, first, bias=False) if specification.content_size else None
        self.hidden = nn.ModuleList()
        size = first
        for out_size in rest:
            self.hidden.append(nn.Linear(size, out_size))
            size = out_size
        self.output = nn.Linear(size, specification.drawn_shape[2])
        # [ours] At every layer, not at the first alone: classes then differ in what they draw and not in shades of one picture.
        widths = specification.decoder_widths if specification.class_source else ()
        self.of_class = nn.ModuleList(nn.Linear(specification.class_count, width, bias=False) for width in widths)
        widths = specification.decoder_widths if specification.context_size else ()
        self.of_context = nn.ModuleList(nn.Linear(specification.context_size, width, bias=False) for width in widths)

    def forward(self, coordinates: Tensor, content: Tensor, class_weights: Tensor | None = None, context: Tensor | None = None) -> Tensor:
        """The likelihood's parameter at each coordinate.

        Args:
            coordinates: (n, N, 2) x', already moved by the pose.
            content: (n, ·) z as `Circles.seen` gives it; (n, 0) for none.
            class_weights: (n, K) one-hot; None for a model without classes.
            context: (n, context_size) conditions and targets; None for a model without.

        Returns:
            (n, N, c).
        """
        features = self.of_coordinates(coordinates)
        if self.of_content is not None:
            features = features + self.of_content(content)[:, None, :]
        told = self._told(class_weights, context)
        features = tanh(features + told[0] if told else features)
        with self._products(features.device.type):
            for index, layer in enumerate(self.hidden, start=1):
                features = tanh(layer(features) + told[index] if told else layer(features))
            return self.output(features).to(coordinates.dtype)

    def _products(self, device: str) -> AbstractContextManager[object]:
        if self.step_type is None or not torch.is_grad_enabled():
            return nullcontext()
        return torch.autocast(device, dtype=self.step_type)

    def class_vectors(self) -> Tensor:
        """What each class adds at all layers together, (K, sum of the widths); of a model with classes."""
        return torch.cat([layer.weight for layer in self.of_class if isinstance(layer, nn.Linear)]).T

    def _told(self, class_weights: Tensor | None, context: Tensor | None) -> list[Tensor]:
        """What class and context add at each layer, (n, 1, width) each; empty where there is neither."""
        parts = [] if class_weights is None else [[layer(class_weights)[:, None, :] for layer in self.of_class]]
        parts += [] if context is None else [[layer(context)[:, None, :] for layer in self.of_context]]
        return parts[0] if len(parts) == 1 else [sum(pair[1:], pair[0]) for pair in zip(*parts, strict=True)]


class PlainDecoder(nn.Module):
    """The decoder of a model without any invariance: a multi-layer perceptron from content to all pixels at once."""

    def __init__(self, specification: ModelSpecification) -> None:
        super().__init__()
        self.channels = specification.drawn_shape[2]
        self.pixels = specification.pixels
        self.hidden = nn.ModuleList()
        # Class and context enter beside the content.
        self.classes = slice(specification.content_width, specification.content_width + len(specification.class_names))
        size = self.classes.stop + specification.context_size
        for out_size in specification.decoder_widths:
            self.hidden.append(nn.Linear(size, out_size))
            size = out_size
        self.output = nn.Linear(size, self.pixels * self.channels)

    def forward(self, content: Tensor, class_weights: Tensor | None = None, context: Tensor | None = None) -> Tensor:
        """Content (n, ·) as `Circles.seen` gives it, classes one-hot (n, K), context (n, ·) → the likelihood's parameter of every pixel (n, N, c)."""
        told = [part for part in (class_weights, context) if part is not None]
        features = torch.cat((content, *told), dim=1) if told else content
        for layer in self.hidden:
            features = tanh(layer(features))
        return self.output(features).reshape(-1, self.pixels, self.channels)

    def class_vectors(self) -> Tensor:
        """What each class adds at the first layer, where it enters, (K, width); of a model with classes."""
        first = self.hidden[0]
        assert isinstance(first, nn.Linear)  # noqa: S101 (built above)
        return first.weight[:, self.classes].T
