"""Candidates and the graphs: telling them, catching up with observations, and picking. Graphs run in the engine, arithmetic on threads."""

from __future__ import annotations

import numpy as np

from services.engine.model import ServingModel
from services.mechanism.answers import Float64
from services.mechanism.candidates import Candidates
from services.mechanism.graphs import NO_POINTS, Described, features_in_pieces, rows_in_pieces, rows_of
from services.mechanism.lanes import Call
from services.mechanism.paths import Paths
from services.mechanism.references import References
from services.mechanism.state import Block, View
from services.mechanism.strategies import Batch, Pick, Wish


async def tell(call: Call, described: Described, view: View, seed: int | None) -> Candidates:
    """Candidates told by a posterior. `seed`: of the paths that Thompson sampling takes; None: there are none.

    Raises:
        DeadlineExceededError: the deadline passed in between.
    """
    latents = described.latents
    paths = None if seed is None else Paths(seed, len(view.centred), features_of(call.model), len(latents))
    candidates = Candidates(latents, described.factor_variance, view, paths)
    async for start, told in rows_in_pieces(call.model, latents, view.points, call.deadline):
        await call.run(candidates.fill, start, told, view)
    if paths is not None:
        async for start, features in features_in_pieces(call.model, latents, call.deadline):
            end = start + len(features)
            paths.prior[:, start:end] = await call.run(paths.values, features, candidates.factor[:, start:end].T)
        at_points = await _paths_at(call, paths, view.points)
        await call.run(paths.measure, at_points, view)
    return candidates


async def catch_up(call: Call, candidates: Candidates, block: Block) -> None:
    """Conditions candidates on a block of a session's observations. All of it, or nothing where it raises.

    Raises:
        DeadlineExceededError: the deadline passed in between.
    """
    rows = await _covariances(call, candidates.latents, block.latents)
    paths, added = candidates.paths, candidates.added
    at_points = None if paths is None else await _paths_at(call, paths, block.latents)

    def advance() -> None:
        candidates.advance(block, rows)
        if paths is not None and at_points is not None:
            paths.advance(block, at_points, added)

    await call.run(advance)


async def pick(call: Call, candidates: Candidates, wish: Wish, view: View) -> list[Pick]:
    """The picks of one call, in their order.

    Raises:
        DeadlineExceededError: the deadline passed in between.
    """
    references = await _references(call, candidates) if wish.strategy == "mean_variance" else None
    batch = await call.run(Batch, candidates, wish, view, call.section.noise.variance, references)
    while True:
        index = await call.run(batch.pick)
        if len(batch.picks) == wish.count:
            return batch.picks
        if batch.conditions:
            rows = await _covariances(call, candidates.latents, candidates.latents[index : index + 1])
            await call.run(batch.condition, index, rows[:, :, 0])


def features_of(model: ServingModel) -> int:
    """F, how many features the graph `features` has of each part; 0 where the bundle has no such graph."""
    signature = model.manifest.signatures.get("features")
    return 0 if signature is None else signature.outputs[0].row_shape[1]


async def _references(call: Call, candidates: Candidates) -> References:
    """References told of all candidates."""
    references = await call.run(References, candidates)
    async for start, told in rows_in_pieces(call.model, candidates.latents, references.latents, call.deadline):
        await call.run(references.fill, start, told)
    return references


async def _covariances(call: Call, latents: Float64, points: Float64) -> Float64:
    """(C, T, k) of each part of candidates with f at points (k, D)."""
    return np.concatenate([told["rows"] async for _, told in rows_in_pieces(call.model, latents, points, call.deadline)])


async def _paths_at(call: Call, paths: Paths, points: Float64) -> Float64:
    """(S, N) f of each path at points (N, D)."""
    told = await rows_of(call.model, points, np.zeros((NO_POINTS, points.shape[1])), call.deadline)
    found = []
    async for start, features in features_in_pieces(call.model, points, call.deadline):
        found.append(await call.run(paths.values, features, told["factor"][start : start + len(features)]))
    return np.concatenate(found, axis=1)
