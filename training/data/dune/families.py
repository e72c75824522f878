"""The rate families by name, and drawn transitions that say which family and options they came from, so that their truth is found again."""

from __future__ import annotations

import ast

from training.data.dataset import DataSet
from training.data.drawing import require_option
from training.data.dune.rates import (
    REFERENCE_CURRENT,
    REFERENCE_VOLTAGE,
    BeyondCarbon,
    ContextScaling,
    GaussianMixture,
    HumanPrior,
    RateModel,
    Simple,
)
from training.data.dune.transitions import draw_transitions

FAMILIES = ("prior", "mixture", "simple", "beyond_carbon")
_MAKER = "draw_dune"


def rate_family(name: str, mixture: int = 0) -> RateModel:
    """The rates of a family, scaled with the context.

    Args:
        name: one of FAMILIES.
        mixture: seed of the mixture's components, >= 0; of no other family.

    Raises:
        InputError: INVALID_OPTION.
    """
    require_option("Rates", name in FAMILIES, f"a family is one of {', '.join(FAMILIES)}, not {name!r}")
    require_option("Rates", mixture >= 0, f"mixture is a seed, 0 or more, not {mixture}")
    if name == "mixture":
        return GaussianMixture.drawn(mixture, scaling=ContextScaling())
    return {"prior": HumanPrior, "simple": Simple, "beyond_carbon": BeyondCarbon}[name](scaling=ContextScaling())


def draw_dune(
    count: int = 20_000,
    *,
    rates: str,
    mixture: int = 0,
    first_hop: bool = False,
    beam_radius: float = 3.0,
    dwell: tuple[float, float] = (0.0, 5.0),
    current_na: tuple[float, float] = (REFERENCE_CURRENT, REFERENCE_CURRENT),
    voltage_kv: tuple[float, float] = (REFERENCE_VOLTAGE, REFERENCE_VOLTAGE),
    seed: int,
    stream: str = "train",
) -> DataSet:
    """Transitions of a family, by its name, scaled with the context. The source tells all options.

    Args:
        count: transitions, >= 1.
        rates: see `rate_family`.
        mixture: see `rate_family`; `seed` is that of the transitions.
        first_hop: as the others, in `draw_transitions`, which also says what is returned.
        beam_radius: Å.
        dwell: LOW HIGH, s.
        current_na: LOW HIGH, nA.
        voltage_kv: LOW HIGH, kV.
        seed: of the transitions.
        stream: "train", "validation" or "test".

    Raises:
        InputError: INVALID_OPTION.
    """
    options = {"first_hop": first_hop, "beam_radius": beam_radius, "dwell": dwell, "current_na": current_na, "voltage_kv": voltage_kv}
    options |= {"seed": seed, "stream": stream}
    said = ", ".join(f"{key}={value!r}" for key, value in {"count": count, "rates": rates, "mixture": mixture, **options}.items())
    return draw_transitions(count, rates=rate_family(rates, mixture), source=f"{_MAKER}({said})", **options)  # type: ignore[arg-type]


def rates_from_source(source: str) -> RateModel | None:
    """The rates behind a data set's source, as `draw_dune` wrote it (the first of several); None where it was not drawn by that."""
    try:
        call = ast.parse(source.partition(";")[0].strip(), mode="eval").body
        if not isinstance(call, ast.Call) or not isinstance(call.func, ast.Name) or call.func.id != _MAKER:
            return None
        told = {each.arg: ast.literal_eval(each.value) for each in call.keywords}
        name, mixture = told["rates"], told["mixture"]
    except (SyntaxError, ValueError, KeyError):
        return None
    return rate_family(name, mixture) if name in FAMILIES and isinstance(mixture, int) and mixture >= 0 else None
