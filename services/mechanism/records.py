"""A room's answers as the graphs, the picks and the journal give them."""

from __future__ import annotations

import json
from dataclasses import asdict
from typing import Any

import numpy as np

from dichroic.bundle import MechanismSection
from dichroic.bundle.arrays import Arrays, pack, unpack
from services.engine.model import Identity
from services.mechanism.answers import Observed, Predicted, SessionMade, Suggested
from services.mechanism.inputs import Checked, outside
from services.mechanism.journal import SessionRow
from services.mechanism.noise import PROBABILITIES, quantiles, total_variance
from services.mechanism.state import Block
from services.mechanism.strategies import Pick


def identity_of(row: SessionRow) -> Identity:
    """The bundle that a session was made from."""
    return Identity(row.model_name, row.model_version, row.digest)


def predicted(
    told_by: tuple[Identity, str, int], section: MechanismSection, checked: Checked, outputs: Arrays, *, noise: bool, covariance: bool
) -> Predicted:
    """From the outputs of the graph `predict`. `told_by`: bundle, session and revision; `noise` and `covariance`: whether they are asked for."""
    part_covariance, variance = outputs["part_covariance"], np.clip(outputs["total_variance"], 0, None)
    return Predicted(
        *told_by,
        part_names=tuple(part.name for part in section.parts),
        part_mean=outputs["part_mean"],
        # Where next to nothing is left of it, rounding may take it below 0.
        part_variance=np.clip(np.diagonal(part_covariance, axis1=1, axis2=2), 0, None),
        part_covariance=part_covariance if covariance else None,
        factor=outputs["factor"],
        factor_variance=outputs["factor_variance"],
        total_mean=outputs["total_mean"],
        total_variance=variance + (total_variance(section.noise) if noise else 0.0),
        noise_included=noise,
        quantile_probabilities=np.array(PROBABILITIES),
        quantiles=quantiles(outputs["total_mean"], variance, section.noise if noise else None),
        outside=outside(section, checked.inputs, checked.rows),
        unit=section.quantity.unit,
    )


def suggested(told_by: tuple[Identity, str, int], picks: list[Pick]) -> Suggested:
    """From the picks. `told_by`: bundle, session and revision."""
    columns = (np.array([getattr(pick, name) for pick in picks], np.float64) for name in ("score", "total_mean", "total_sd", "part_sd"))
    return Suggested(*told_by, np.array([pick.index for pick in picks], np.int64), *columns)


def made_text(made: SessionMade) -> str:
    """The answer as the journal stores it."""
    return json.dumps(asdict(made))


def made_of(row: SessionRow) -> SessionMade:
    """The answer that was given when the session was made."""
    facts: dict[str, Any] = json.loads(row.answer)
    return SessionMade(**facts | {"model": Identity(**facts["model"])})


def observed_bytes(block: Block, revision: int, points: int) -> bytes:
    """The answer to an Observe as the journal stores it."""
    return pack({"weight": block.weight, "duplicate": block.duplicate, "counts": np.array([revision, points], np.int64)})


def observed_of(row: SessionRow, answer: bytes, *, repeated: bool) -> Observed:
    """The answer that was stored."""
    arrays = unpack(answer, path="the journal")
    revision, points = arrays["counts"].tolist()
    return Observed(identity_of(row), row.id, revision, arrays["weight"], arrays["duplicate"], points, repeated)
