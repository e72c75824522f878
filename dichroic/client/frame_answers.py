"""What the client hands back of whole images: named numpy arrays with their units."""

from __future__ import annotations

from dataclasses import dataclass

from dichroic.client.answers import ModelIdentity
from dichroic.errors import DichroicError, InvalidFieldError
from dichroic.wire import NDArray


@dataclass(frozen=True, eq=False)
class LatentMap:
    """What the windows of one length show: n = rows x columns, row after row from the top, or the centres given, in their order.

    Attributes:
        window_px: their length, pixels of the frame; 0 of patches.
        window_nm: their length, nm; 0 where the pixel size is unknown, and of patches.
        stage: which of the model's stages encoded them, 1 to K; 0 of patches.
        rows: of the grid; 0 where centres were given, and of patches.
        columns: of the grid; 0 as rows.
        centres_px: (n, 2) float64, (row, column), pixels of the frame, whose pixel (i, j) has its middle at (i + 0.5, j + 0.5). None of patches.
        valid: (n,) bool: false where a window touches a pixel that is not finite. There every float below is NaN, and class_index -1.
        invalid_count: how many are not valid.
        evaluated: "dense" (the encoder ran once over the frame), "windows" or "patches".
        content: (n, d) float32, posterior mean of the content latents, unit 1, prior N(0, 1).
        content_sd: (n, d) float32, its posterior standard deviation, without pixel noise.
        latent_mean: (n, L) float32, posterior mean of every raw latent, in the order of the manifest's `latent.latent_names`.
        latent_sd: (n, L) float32, its posterior standard deviation.
        explained: (n,) float32, at most 1: 1 - MSE / variance of each window's reconstruction. None unless asked for.
        angle_rad: (n,) float32, counter-clockwise, in [-pi, pi]. None for a model without a rotation latent.
        angle_sd_rad: (n,) float32, its posterior standard deviation. None as angle_rad.
        scale: (n,) float32, > 1 is larger. None for a model without a scale latent.
        shift_down_px: (n,) float32, pixels of the frame (of the patch), from the window's middle. None for a model without a translation latent.
        shift_right_px: (n,) float32, likewise to the right. None as shift_down_px.
        class_probabilities: (n, K) float32, rows sum to 1. None for a model without classes.
        class_index: (n,) int64, the most probable class. None as class_probabilities.
    """

    window_px: float
    window_nm: float
    stage: int
    rows: int
    columns: int
    centres_px: NDArray | None
    valid: NDArray
    invalid_count: int
    evaluated: str
    content: NDArray
    content_sd: NDArray
    latent_mean: NDArray
    latent_sd: NDArray
    explained: NDArray | None = None
    angle_rad: NDArray | None = None
    angle_sd_rad: NDArray | None = None
    scale: NDArray | None = None
    shift_down_px: NDArray | None = None
    shift_right_px: NDArray | None = None
    class_probabilities: NDArray | None = None
    class_index: NDArray | None = None

    def on_grid(self, values: NDArray) -> NDArray:
        """An array of this map, (n, ...), as a picture: (rows, columns, ...).

        Raises:
            InvalidFieldError: the map has no grid, or the array is not one of its own.
        """
        if not self.rows or len(values) != self.rows * self.columns:
            raise InvalidFieldError(f"{len(values)} values are no grid of {self.rows} x {self.columns}; centres that were given have none.")
        return values.reshape(self.rows, self.columns, *values.shape[1:])


@dataclass(frozen=True, eq=False)
class FrameEncoding:
    """The latents of one whole image.

    Attributes:
        model: which model answered.
        frame_id: as given with the call.
        acquisition_time_unix_ns: as given with the call, nanoseconds since 1970-01-01T00:00:00 UTC; 0 is unknown.
        maps: one for each window, in the order of the call.
    """

    model: ModelIdentity
    frame_id: str
    acquisition_time_unix_ns: int
    maps: tuple[LatentMap, ...]


@dataclass(frozen=True, eq=False)
class ScaleSpectrum:
    """Latents of n points against window length: k windows in the order of the call, ascending where it named none.

    Attributes:
        model: which model answered.
        frame_id: as given with the call.
        acquisition_time_unix_ns: as given with the call, nanoseconds since 1970-01-01T00:00:00 UTC; 0 is unknown.
        window_px: (k,) float64, pixels of the frame.
        stage: (k,) int64: which stage encoded each window, 1 to K.
        valid: (k, n) bool: false where a window touches a pixel that is not finite; floats are NaN there.
        invalid_count: how many are not valid.
        explained: (k, n) float32, at most 1: how much of each window its reconstruction explains.
        content: (k, n, d) float32, posterior mean of the content latents.
        latent_mean: (k, n, L) float32, posterior mean of every raw latent.
        latent_sd: (k, n, L) float32, its posterior standard deviation.
        window_nm: (k,) float64, nm. None where the pixel size is unknown.
        separability: (k,) float64, in [0, 1]: balanced accuracy of one round normal distribution for each class, each point left out of its own; NaN
            where fewer than two classes have two valid points. None without labels.
        separable_from_px: the least window from which on, up to the greatest, separability is >= 0.9, of 8 valid points of every class at least,
            pixels of the frame. None: there is none, or no labels.
        separable_from_nm: the same, nm. None as separable_from_px, and where the pixel size is unknown.
    """

    model: ModelIdentity
    frame_id: str
    acquisition_time_unix_ns: int
    window_px: NDArray
    stage: NDArray
    valid: NDArray
    invalid_count: int
    explained: NDArray
    content: NDArray
    latent_mean: NDArray
    latent_sd: NDArray
    window_nm: NDArray | None = None
    separability: NDArray | None = None
    separable_from_px: float | None = None
    separable_from_nm: float | None = None


@dataclass(frozen=True, eq=False)
class StreamFrame:
    """One frame, or patches, of a stream, with what its answer repeats.

    Attributes:
        data: (h, w) or (h, w, c); of patches (n, h, w) or (n, h, w, c).
        frame_id: your name for it.
        acquisition_time_unix_ns: when it was taken, nanoseconds since 1970-01-01T00:00:00 UTC; 0 is unknown.
    """

    data: NDArray
    frame_id: str = ""
    acquisition_time_unix_ns: int = 0


@dataclass(frozen=True, eq=False)
class StreamedFrame:
    """The answer to one frame of a stream.

    Attributes:
        sequence: which frame, counted from 1; with "drop_oldest" a number that is left out was dropped.
        frame_id: as given with the frame.
        acquisition_time_unix_ns: as given with the frame.
        dropped_count: how many frames the stream has dropped so far.
        maps: one for each window; of patches, one. Empty where there is an error.
        model: which model answered; None where there is an error.
        error: why this frame has no answer; None where it has one.
    """

    sequence: int
    frame_id: str
    acquisition_time_unix_ns: int
    dropped_count: int
    maps: tuple[LatentMap, ...]
    model: ModelIdentity | None = None
    error: DichroicError | None = None
