"""[ours] An encoder without padding: what it says of a window of an image, it says of the whole image there. So a frame is encoded at once.

Convolutions 4 × 4 with stride 2, as many as `encoder_channels`, and one of 3 × 3 give k × k positions of C channels for a window of d × d pixels.
The head reads them either as moments, for channel m and position (u, v) ∈ [−1, 1]²

    ⟨m⟩ = Σ m / k²,  ⟨u m⟩,  ⟨v m⟩,  and ⟨u² m⟩, ⟨u v m⟩, ⟨v² m⟩ where the pose has an angle or a scale,

since plain pooling would lose where things are; or by weights of their own at each position. Dense layers follow.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional

from training.errors import InputError
from training.latent.circles import Circles
from training.latent.encoders import GaussianHeads, Posterior
from training.latent.specification import ModelSpecification

_KERNEL, _LAST_KERNEL = 4, 3


def feature_side(specification: ModelSpecification) -> int:
    """k: how many positions along one side of a window the head sees; below 1 where the window is too small for so many convolutions."""
    side = specification.height_px
    for _ in specification.encoder_channels:
        side = (side - _KERNEL) // 2 + 1
    return side - _LAST_KERNEL + 1


def check_dense(specification: ModelSpecification) -> None:
    """Raises InputError (DENSE_ENCODER) for what a dense encoder cannot be."""
    height, width = specification.height_px, specification.width_px
    if specification.context_size:
        raise InputError("DENSE_ENCODER", 'encoder = "dense" sees images alone: leave out conditions and targets, or take "convolutional".')
    if height != width:
        raise InputError("DENSE_ENCODER", f'encoder = "dense" is of square windows; these images have {height} × {width} px: crop them.')
    if feature_side(specification) < 2:
        levels = len(specification.encoder_channels)
        raise InputError(
            "DENSE_ENCODER",
            f"After {levels} convolutions with stride 2 and one of 3 × 3 nothing is left of {height} × {width} px for the head to tell places by; "
            "give fewer encoder_channels, or larger images.",
        )


class DenseEncoder(GaussianHeads):
    """q(z|x) = N(μ(x), σ(x)²) as `Encoder`, of a window as anywhere in a frame."""

    kernels: Tensor

    def __init__(self, specification: ModelSpecification) -> None:
        super().__init__()
        check_dense(specification)
        self.specification = specification
        self.convolutions = nn.ModuleList()
        channels = specification.channels
        for out_channels in specification.encoder_channels:
            self.convolutions.append(nn.Conv2d(channels, out_channels, _KERNEL, 2))
            channels = out_channels
        self.convolutions.append(nn.Conv2d(channels, channels, _LAST_KERNEL))
        side, widths = feature_side(specification), specification.encoder_widths
        self.whole = nn.Conv2d(channels, widths[0], side) if specification.dense_head == "full" else None
        kernels = moment_kernels(side, second=bool({"rotation", "scale"} & set(specification.invariances)))
        # One convolution for each channel and moment; no weights, so they are no part of the state.
        self.register_buffer("kernels", kernels.repeat(channels, 1, 1)[:, None], persistent=False)
        self.channels = channels
        size = widths[0] if self.whole is not None else channels * len(kernels)
        self.dense = nn.ModuleList()
        for width in widths[1:] if self.whole is not None else widths:
            self.dense.append(nn.Linear(size, width))
            size = width
        self.mean = nn.Linear(size, specification.latent_size)
        self.deviation = nn.Linear(size, specification.latent_size)
        self.direction = nn.Linear(size, 2) if specification.angle_symmetry else None
        self.raw_per_turn = 1 / (max(1, specification.angle_symmetry) * specification.rotation_prior_sd_rad)
        self.circles = Circles(specification)
        self.cosine = nn.Linear(size, self.circles.count) if self.circles.count else None

    def forward(self, images: Tensor, _context: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """The posterior of each window.

        Args:
            images: (n, d, d, c) float32 in the normalised scale.

        Returns:
            μ (n, L), circles in [−π, π] radians, and σ = softplus(·) (n, L).
        """
        return self.heads(self.maps(images.permute(0, 3, 1, 2)).flatten(0, 2))

    def maps(self, images: Tensor) -> Tensor:
        """What the heads see of every window of images (n, c, p, q): (n, R, C, F), windows 2^levels pixels apart; R = C = 1 for p = q = d."""
        features = images
        for convolution in self.convolutions:
            features = functional.relu(convolution(features))
        if self.whole is not None:
            features = functional.relu(self.whole(features))
        else:
            features = functional.conv2d(features, self.kernels, groups=self.channels)
        features = features.permute(0, 2, 3, 1)
        for layer in self.dense:
            features = functional.relu(layer(features))
        return features

    def posterior(self, images: Tensor, context: Tensor | None = None) -> Posterior:
        """Of models with classes or angle bins, which a dense encoder is not for."""
        raise TypeError("a dense encoder has one Gaussian: no classes, no angle bins")

    def targets(self, images: Tensor) -> tuple[Tensor, Tensor]:
        """Of models with targets, which a dense encoder is not for."""
        raise TypeError("a dense encoder tells no targets")


def moment_kernels(side: int, *, second: bool) -> Tensor:
    """(M, k, k): 1, u, v and, with `second`, u², uv, v², each over k²; u along the rows and v along the columns, in [−1, 1]."""
    along = torch.linspace(-1, 1, side)
    u, v = torch.meshgrid(along, along, indexing="ij")
    found = [torch.ones_like(u), u, v] + ([u * u, u * v, v * v] if second else [])
    return torch.stack(found) / side**2
