"""DecodeManifold, as one message and its answer: a grid is a few numbers to ask for, so it is not cut up."""

from __future__ import annotations

import math
from collections.abc import Mapping

from dichroic.client.answers import Manifold
from dichroic.client.models import identity_of
from dichroic.client.requests import MAX_INT64, check_name
from dichroic.errors import InternalError, InvalidFieldError, InvalidTensorError
from dichroic.v1 import latent_pb2
from dichroic.wire import NDArray, from_array, optional_array, put_array

Range = tuple[float, float]


def manifold_request(
    model_name: str,
    model_version: int,
    *,
    axes: tuple[int, int],
    counts: tuple[int, int],
    ranges: tuple[Range | None, Range | None],
    spacing: str,
    fixed: Mapping[str, NDArray],
) -> latent_pb2.DecodeManifoldRequest:
    """The request. `fixed`: as checked_latents gives them; one row.

    Raises:
        InvalidFieldError: a number cannot be sent, or a range has no length.
        InvalidTensorError: what is fixed has more rows than one.
    """
    check_name(model_name, model_version)
    request = latent_pb2.DecodeManifoldRequest(model_name=model_name, model_version=model_version, spacing=spacing)
    for name, pair in (("axis", axes), ("count", counts)):
        for number, value in enumerate(pair, 1):
            if not 0 <= value <= MAX_INT64:
                raise InvalidFieldError(f"{name}_{number} is {value}; it is a whole number, 0 or more.", field=f"{name}_{number}")
            setattr(request, f"{name}_{number}", value)
    for number, found in enumerate(ranges, 1):
        if found is not None:
            low, high = found
            if not (math.isfinite(low) and math.isfinite(high) and low < high):
                raise InvalidFieldError(f"range_{number} is {low:g} to {high:g}; its first number must be the lower one.", field=f"low_{number}")
            setattr(request, f"low_{number}", low)
            setattr(request, f"high_{number}", high)
    for name, values in fixed.items():
        if len(values) != 1:
            raise InvalidTensorError(f"{name} has {len(values)} rows; it is fixed over the grid, so give one.", field=name)
        put_array(getattr(request, name), values)
    return request


def manifold_of(response: latent_pb2.DecodeManifoldResponse) -> Manifold:
    """The answer, its arrays the caller's own.

    Raises:
        InternalError: it cannot be read.
    """
    try:
        values_1, values_2 = (from_array(getattr(response, name), field=name).copy() for name in ("values_1", "values_2"))
        images, spectra = (optional_array(getattr(response, name), field=name) for name in ("images", "spectra"))
    except InvalidTensorError as error:
        raise InternalError(f"The server's answer cannot be read: {error}") from error
    grid = next((values for values in (images, spectra) if values is not None), None)
    if grid is None or grid.shape[:2] != (len(values_1), len(values_2)):
        raise InternalError("The server's answer is no grid of the values it names.")
    return Manifold(
        identity_of(response.model), values_1, values_2, None if images is None else images.copy(), None if spectra is None else spectra.copy()
    )
