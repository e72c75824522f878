"""From a recipe with [scales] to one set of descriptors for each window length, all in one normalisation."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from dichroic.bundle import Preprocessing
from training.data.dataset import Array, DataSet
from training.data.stripes import draw_noise, draw_stripes
from training.data.windows import WindowedImage, Windows, cut_descriptors, lengths_in_px, split_windows, whole_windows
from training.errors import InputError
from training.latent.normalisation import preprocessing_of
from training.latent.orientation import wide_px
from training.latent.pipeline import Request, read_files
from training.latent.prepare import check_images, one_unit, remark_on, values_of
from training.latent.prepared import EvaluationSet, Prepared
from training.recipe import FileData, Recipe
from training.recipe_scales import Scales, StripesData

_LICENCE = "MIT (drawn by this project)"
_PARTS = ("train", "validation", "held_out")


@dataclass(frozen=True)
class Stage:
    """One window length and its descriptors.

    Attributes:
        window_px: in pixels of the images; None where they differ.
        window_nm: None where no pixel size is known, or the images' differ and lengths were given in pixels.
        prepared: descriptors to train, choose and measure on; every stage has the same normalisation.
    """

    window_px: float | None
    window_nm: float | None
    prepared: Prepared

    @property
    def label(self) -> str:
        """The length in words."""
        return f"{self.window_nm:.4g} nm" if self.window_nm is not None else f"{self.window_px:.4g} px"


@dataclass(frozen=True)
class _Sources:
    """Images to train on and images only measured on, and what is told of them."""

    trained: list[WindowedImage]
    kept: list[WindowedImage]
    sets: list[DataSet]
    unit: str
    licence: str
    citation: str = ""
    notes: str = ""
    remark: str = ""
    pixel_sizes_nm: tuple[float | None, ...] = ()


def prepare_scales(request: Request) -> tuple[Stage, ...]:
    """Cuts, splits and normalises the descriptors of every length, in the order of the recipe.

    Where an orientation is taught, those to train on are as wide as `orientation.wide_px` says.

    Raises:
        InputError: DATA_NOT_USED; CONSTANT_IMAGES; those of reading, of windows.py, of prepare.py and of normalisation.
    """
    recipe = request.recipe
    scales, data = recipe.scales, recipe.data
    assert scales is not None  # noqa: S101 (a recipe with [scales])
    assert isinstance(data, (FileData, StripesData))  # noqa: S101 (checked with the recipe)
    sources = _of_files(request, data, scales) if isinstance(data, FileData) else _drawn(request, data, scales)
    size, count = scales.descriptor_px, scales.patches_per_scale
    sizes = dict.fromkeys(_PARTS, size)
    if recipe.training.orientation.weight:
        sizes["train"] = wide_px(size)
    splits = split_windows(
        sources.trained,
        size,
        count,
        data.held_out_fraction,
        recipe.seed,
        validation=recipe.training.keep_validation,
        training_size=sizes["train"],
    )
    others: tuple[Windows | None, ...] = whole_windows(sources.kept, count, recipe.seed) if sources.kept else (None,) * len(splits)
    cut = [{part: cut_descriptors(sources.trained, getattr(split, part), sizes[part]) for part in _PARTS} for split in splits]
    every = np.concatenate([parts["train"] for parts in cut])
    check_images(every, cut[0]["held_out"], "images")
    preprocessing = preprocessing_of(recipe.normalisation, every, sources.unit, clip=recipe.model.likelihood != "gaussian")
    return tuple(
        _stage(
            sources, index, scales, parts, preprocessing=preprocessing, other=None if other is None else cut_descriptors(sources.kept, other, size)
        )
        for index, (parts, other) in enumerate(zip(cut, others, strict=True))
    )


def _stage(sources: _Sources, index: int, scales: Scales, parts: dict[str, Array], *, preprocessing: Preprocessing, other: Array | None) -> Stage:
    in_px = {image.windows_px[index] for image in sources.trained}
    window_px = in_px.pop() if len(in_px) == 1 else None
    window_nm = _one_length_nm(sources, index, scales)
    label = f"{window_nm:.4g} nm" if window_nm is not None else f"{window_px:.4g} px"
    names = ", ".join(made.source for made in sources.sets)
    held_out = EvaluationSet(f"held-out blocks of {names}, windows of {label}", parts["held_out"])
    kept = ", ".join(dict.fromkeys(image.name for image in sources.kept))
    others = () if other is None else (EvaluationSet(f"{kept}, never trained on, windows of {label}", other),)
    turned = parts["train"].shape[1] > scales.descriptor_px
    told = _told(sources, scales, len(parts["train"]), len(parts["held_out"]), turned=turned)
    prepared = Prepared(
        train=parts["train"],
        validation=parts["validation"],
        held_out=held_out,
        others=others,
        preprocessing=preprocessing,
        quantity=sources.sets[0].quantity,
        pixel_size_nm=None if window_nm is None else window_nm / scales.descriptor_px,  # of the descriptors, which are what goes in
        source="; ".join(part for part in (names, sources.citation) if part),
        licence=sources.licence,
        sha256=tuple(made.sha256 for made in sources.sets),
        notes=" ".join(part for part in (sources.notes, told) if part),
        remark=sources.remark,
    )
    return Stage(window_px, window_nm, prepared)


def _one_length_nm(sources: _Sources, index: int, scales: Scales) -> float | None:
    if scales.windows_nm:
        return scales.windows_nm[index]
    sizes = set(sources.pixel_sizes_nm)
    size = sizes.pop() if len(sizes) == 1 else None
    return None if size is None else scales.windows_px[index] * size


def _told(sources: _Sources, scales: Scales, trained: int, held_out: int, *, turned: bool) -> str:
    lengths, unit = (scales.windows_nm, "nm") if scales.windows_nm else (scales.windows_px, "px")
    told = (
        f"Windows of {', '.join(f'{length:.4g}' for length in lengths)} {unit}, each brought to {scales.descriptor_px} × {scales.descriptor_px} px: "
        f"{trained} at each length to train on and {held_out} held out, by blocks that are held out at every length; windows overlap."
    )
    if turned:
        told += " Training windows were cut √2 times as long, to be turned."
    if scales.standardise == "image":
        told += " Each image, and channel, was taken less its own mean and over its own standard deviation."
    return told


def _of_files(request: Request, data: FileData, scales: Scales) -> _Sources:
    trained, kept, others_data = read_files(request, data)
    unit = one_unit(trained, kept)
    images, sizes = [], []
    for made in (trained, kept):
        found = [_windowed(each, request.recipe, scales) for each in made]
        images.append([image for each, _ in found for image in each])
        sizes.append([size for _, own in found for size in own])
    names = ", ".join(made.source for made in trained)
    return _Sources(
        trained=images[0],
        kept=images[1],
        sets=trained,
        unit="1" if scales.standardise == "image" else unit,
        licence=request.licence or ("not stated" if others_data else data.licence),
        citation="" if others_data else data.citation,
        notes="" if others_data else data.notes,
        remark=remark_on(names, data) if others_data else "",
        pixel_sizes_nm=tuple(sizes[0]),
    )


def _drawn(request: Request, data: StripesData, scales: Scales) -> _Sources:
    if request.data or request.channel or request.licence:
        raise InputError("DATA_NOT_USED", f"Recipe {request.recipe.name!r} draws its own data; leave out --data, --channel and --licence.")
    common = {"side": data.side_px, "pixel_size_nm": data.pixel_size_nm, "seed": data.seed}
    if data.pattern == "noise":
        made = draw_noise(data.images, sd=data.noise, **common)
    else:
        assert data.period_px is not None  # noqa: S101 (checked with the recipe)
        made = draw_stripes(data.images, period_px=data.period_px, angle_deg=data.angle_deg, noise=data.noise, **common)
    images, sizes = _windowed(made, request.recipe, scales)
    return _Sources(images, [], [made], "1", _LICENCE, pixel_sizes_nm=tuple(sizes))


def _windowed(made: DataSet, recipe: Recipe, scales: Scales) -> tuple[list[WindowedImage], list[float | None]]:
    """The images of one file with their windows in pixels, and their pixel sizes."""
    values = values_of(made, "images", recipe.normalisation).astype(np.float64)
    sizes: list[float | None] = [None] * len(values)
    if "pixel_size_nm" in made.arrays:
        sizes = np.broadcast_to(np.asarray(made.arrays["pixel_size_nm"], dtype=np.float64), len(values)).tolist()
    images = []
    for image, size in zip(values, sizes, strict=True):
        # A wrong pixel size is an error even where no length needs it: the bundle would tell it.
        in_nm = lengths_in_px(scales.windows_nm, size, made.source) if scales.windows_nm or size is not None else ()
        images.append(
            WindowedImage(made.source, standardised(image, made.source) if scales.standardise == "image" else image, in_nm or scales.windows_px)
        )
    return images, sizes


def standardised(image: Array, name: str = "An image") -> Array:
    """An image (h, w, c) less its own mean, over its own standard deviation, each channel by itself; float64, unit 1.

    Raises:
        InputError: CONSTANT_IMAGES.
    """
    values = image.astype(np.float64)
    mean, sd = values.mean(axis=(0, 1)), values.std(axis=(0, 1))
    if not (sd > 0).all():
        raise InputError(
            "CONSTANT_IMAGES", f"{name} has an image of one and the same value in channel {int((sd > 0).argmin())}; leave it out: it has no scale."
        )
    result: Array = (values - mean) / sd
    return result
