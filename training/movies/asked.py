"""What is asked of every frame of a movie, and whether the model and the movie allow it, before anything is sent."""

from __future__ import annotations

from dataclasses import dataclass

from dichroic import ModelInfo
from training.data.readers import MovieFile
from training.errors import InputError

# How far a window may reach over the frame's border by rounding, pixels.
INSIDE_PX = 1e-6


@dataclass(frozen=True)
class Wish:
    """What the user gave. Lengths in pixels of the frame or in nm; empty and None: not given."""

    window_px: tuple[float, ...] = ()
    window_nm: tuple[float, ...] = ()
    stride_px: float | None = None
    pixel_size_nm: float | None = None


@dataclass(frozen=True)
class Asked:
    """The same, checked.

    Attributes:
        name: of the model.
        version: of the model.
        digest: of the model.
        latent_names: of the model's raw latents, (L,).
        window_px: as given.
        window_nm: as given.
        stride_px: grid step, pixels; None: the server's.
        pixel_size_nm: as given, or else as the movie tells it; None: unknown.
        lengths_px: of every window that will be answered, pixels of the frame.
    """

    name: str
    version: int
    digest: str
    latent_names: tuple[str, ...]
    window_px: tuple[float, ...]
    window_nm: tuple[float, ...]
    stride_px: float | None
    pixel_size_nm: float | None
    lengths_px: tuple[float, ...]


def asked_of(info: ModelInfo, movie: MovieFile, wish: Wish) -> Asked:
    """Settles pixel size and window lengths.

    Raises:
        InputError: UNSUPPORTED_BUNDLE, PIXEL_SIZE or WINDOW.
    """
    latent = info.manifest.get("latent") or {}
    frames = latent.get("frames")
    if frames is None:
        raise InputError("UNSUPPORTED_BUNDLE", f"{info.model.name} version {info.model.version} has no graphs for whole images, which movies need.")
    size = wish.pixel_size_nm or movie.pixel_size_nm
    lengths = _lengths(frames["stages"], wish, size)
    height, width = movie.shape[1:3]
    if max(lengths) > min(height, width) + INSIDE_PX:
        raise InputError("WINDOW", f"A window of {max(lengths):g} px is larger than the frames of {height} × {width} px; give smaller ones.")
    model = info.model
    names = tuple(latent.get("latent_names", ()))
    return Asked(model.name, model.version, model.digest, names, wish.window_px, wish.window_nm, wish.stride_px, size, lengths)


def _lengths(stages: list[dict[str, float | None]], wish: Wish, size: float | None) -> tuple[float, ...]:
    """Of every window, pixels: those given, or the stages' own; in nm where the model and the movie tell pixel sizes."""
    if wish.window_px:
        return wish.window_px
    in_nm = wish.window_nm or tuple(length for stage in stages if (length := stage.get("window_nm")) is not None)
    in_px = tuple(length for stage in stages if (length := stage.get("window_px")) is not None)
    if in_nm and size:
        return tuple(length / size for length in in_nm)
    if wish.window_nm or not in_px:
        what = "windows in nm" if wish.window_nm else "this model's windows, which are in nm,"
        raise InputError("PIXEL_SIZE", f"{what} need the side of the movie's pixels, which the file does not say; give --pixel-size-nm.")
    return in_px
