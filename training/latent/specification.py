"""What a model of the invariant VAE family is made of: everything needed to build it again, beside its weights."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Invariance = Literal["rotation", "translation", "scale"]
Likelihood = Literal["bernoulli", "continuous_bernoulli", "gaussian"]
DataKind = Literal["images", "spectra"]
TopologyAxis = Literal["line", "circle"]
DenseHead = Literal["", "moments", "full"]
ClassSource = Literal["", "joint", "semi_supervised"]
INVARIANCES: tuple[Invariance, ...] = ("rotation", "translation", "scale")


@dataclass(frozen=True)
class ConditionColumn:
    """One column of the conditions: a number in `unit`, seen by the networks as (value − mean)/sd of the training data; or a category, one-hot."""

    name: str
    unit: str
    meaning: str
    categories: tuple[str, ...] = ()
    mean: float = 0.0
    sd: float = 1.0

    @property
    def width(self) -> int:
        """How many numbers the networks see of it."""
        return len(self.categories) or 1


@dataclass(frozen=True)
class TargetColumn:
    """One target in `unit`; the networks see and tell (value − mean)/sd of the known ones of the training data."""

    name: str
    unit: str
    meaning: str
    mean: float = 0.0
    sd: float = 1.0


@dataclass(frozen=True)
class ModelSpecification:
    """One model of the family {vae, rvae, tvae, svae, ... , rtsvae}.

    Attributes:
        height_px: rows of the images that go in; 1 for spectra.
        width_px: columns of the images that go in; points of spectra.
        channels: values per pixel that go in.
        invariances: any subset of rotation, translation, scale; each adds its latents in that order.
        content_size: d, number of content latents, >= 0.
        rotation_prior_sd_rad: p_r, φ = p_r·z.
        shift_prior_sd: p_t in grid units (half an image is 1), dx = p_t·z.
        scale_prior_log_sd: p_s, scale = exp(p_s·z).
        likelihood: of a pixel given the latents.
        noise_sd: of the Gaussian likelihood, in the normalised scale; None: learned, one value for all pixels.
        encoder_channels: output channels of the stride-2 3 × 3 convolutions; empty for a multi-layer perceptron on the flattened image.
        encoder_widths: widths of the dense layers that follow.
        dense_head: [ours] "moments" or "full": an encoder without padding that gives the same at a window of an image as at the whole image there,
            so that a frame is encoded at once; see dense_encoder.py. "": none, the encoders above.
        decoder_widths: widths of the decoder's hidden layers; the first is the width of h0.
        angle_symmetry: [ours] m >= 1: the encoder gives φ as a point on the circle, φ = atan2(a, b)/m, without a jump for an object that looks
            the same after a turn by 2π/m; 0: as a number, as published.
        angle_bins: [ours] B, a multiple of 4: the angle's posterior is a softmax over B bins of the full circle, each with a Gaussian offset of
            prior sd p_r = π/B, so that the prior is nearly uniform on the circle; 0: one Gaussian. Square images only.
        class_source: "joint": classes found without labels; "semi_supervised": learned from few labels (M2); "": no classes.
        class_names: K >= 2 names, in the order of the class probabilities; empty without classes.
        input_kind: what goes in. A spectrum (l, c) is an image of one row.
        output_kind: what the decoder draws; the invariances are of that. Of spectra: one shift, no rotation.
        output_shape: (height, width, channels) drawn; None: those that go in.
        conditions: what encoder and decoder are told, in the order of the columns.
        targets: what a semi-supervised regression tells from the data alone, and encoder and decoder then see.
        topology: [ours] where each content latent lives: on a line with prior N(0, 1), or on a circle, as an angle with a uniform prior; empty:
            all on lines.
        class_edges: [ours] (parent, child) class indices, each pair once: a child's vectors in the decoder are drawn towards one step beyond
            its parents'; see class_graph.py.
    """

    height_px: int
    width_px: int
    channels: int = 1
    invariances: tuple[Invariance, ...] = ()
    content_size: int = 2
    rotation_prior_sd_rad: float = 1.0
    shift_prior_sd: float = 0.1
    scale_prior_log_sd: float = 0.1
    likelihood: Likelihood = "bernoulli"
    noise_sd: float | None = None
    encoder_channels: tuple[int, ...] = ()
    encoder_widths: tuple[int, ...] = (128, 128)
    decoder_widths: tuple[int, ...] = (128, 128, 128)
    angle_symmetry: int = 0
    angle_bins: int = 0
    class_source: ClassSource = ""
    class_names: tuple[str, ...] = ()
    input_kind: DataKind = "images"
    output_kind: DataKind = "images"
    output_shape: tuple[int, int, int] | None = None
    conditions: tuple[ConditionColumn, ...] = ()
    targets: tuple[TargetColumn, ...] = ()
    topology: tuple[TopologyAxis, ...] = ()
    class_edges: tuple[tuple[int, int], ...] = ()
    dense_head: DenseHead = ""

    @property
    def translates(self) -> bool:
        """Whether another kind is drawn than goes in (VED)."""
        return self.input_kind != self.output_kind

    @property
    def drawn_shape(self) -> tuple[int, int, int]:
        """(height, width, channels) of what the decoder draws."""
        return self.output_shape or (self.height_px, self.width_px, self.channels)

    @property
    def dense_stride_px(self) -> int:
        """From window to window of a dense encoder, in pixels of the image that goes in: 2 for each strided convolution."""
        return int(2 ** len(self.encoder_channels))

    @property
    def context_size(self) -> int:
        """How many numbers encoder and decoder are told beside the data: conditions, categories one-hot, then targets."""
        return sum(column.width for column in self.conditions) + len(self.targets)

    @property
    def content_width(self) -> int:
        """How many numbers the decoder sees of the content: d, and one more for each circle, which is a point in the plane."""
        return self.content_size + self.topology.count("circle")

    def circle_columns(self, tensor: str) -> tuple[int, ...]:
        """Columns of a tensor that are angles in radians on a circle: of "content" (n, d) or "latent_mean" (n, L); of any other tensor none."""
        before = {"content": 0, "latent_mean": len(self.pose_names)}.get(tensor)
        return () if before is None else tuple(before + index for index, axis in enumerate(self.topology) if axis == "circle")

    @property
    def is_mixture(self) -> bool:
        """Whether the posterior has a discrete part: a class, an angle bin, or both."""
        return bool(self.class_source or self.angle_bins)

    @property
    def class_count(self) -> int:
        """K; 1 without classes."""
        return max(1, len(self.class_names))

    @property
    def bin_count(self) -> int:
        """B; 1 without angle bins."""
        return max(1, self.angle_bins)

    @property
    def pair_count(self) -> int:
        """K·B, number of (class, bin) pairs that the bound sums over."""
        return self.class_count * self.bin_count

    @property
    def posterior_count(self) -> int:
        """How many Gaussian posteriors a bin has: one shared by all classes (joint), or one for each class (M2: q(z|x, y))."""
        return self.class_count if self.class_source == "semi_supervised" else 1

    @property
    def pixels(self) -> int:
        """N = H·W, drawn."""
        return self.drawn_shape[0] * self.drawn_shape[1]

    @property
    def longer_side_px(self) -> int:
        """The drawn side that spans [−1, 1]."""
        return max(self.drawn_shape[:2])

    @property
    def pose_names(self) -> tuple[str, ...]:
        """Raw pose latents in order [φ | dx, dy | s]; a spectrum has one shift."""
        names: list[str] = []
        if "rotation" in self.invariances:
            names.append("rotation")
        if "translation" in self.invariances:
            names += ["shift_1", "shift_2"] if self.output_kind == "images" else ["shift_1"]
        if "scale" in self.invariances:
            names.append("scale")
        return tuple(names)

    @property
    def latent_names(self) -> tuple[str, ...]:
        """All raw latents in order [φ | dx, dy | s | z]."""
        return self.pose_names + tuple(f"content_{index + 1}" for index in range(self.content_size))

    @property
    def latent_size(self) -> int:
        """L."""
        return len(self.latent_names)
