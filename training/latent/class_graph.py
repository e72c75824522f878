"""[ours] Classes related by a directed graph: e_child ~ N(mean of its parents + δ, τ²), with one drift δ for all edges.

e_c is what the decoder adds for class c, over all its layers. The source (j-trVAE's "imposed topological structure") gives no equation.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor


def step_penalty(vectors: Tensor, edges: Sequence[tuple[int, int]]) -> Tensor:
    """Σ_children ‖e_child − mean of its parents − δ‖², scalar, with δ at its best value, the mean step.

    It is the prior's −log density times 2τ², but for a constant. δ in closed form has the gradient of a δ that is learned to its optimum, and no
    weight of it has to be kept; with one child it fits that child's step, and nothing is asked.

    Args:
        vectors: (K, E) e_c.
        edges: (parent, child) class indices, each pair once; none: 0, with a gradient of 0.
    """
    if not edges:
        return 0 * vectors.sum()
    steps = []
    for child in sorted({child for _, child in edges}):
        parents = torch.tensor([parent for parent, other in edges if other == child], device=vectors.device)
        steps.append(vectors[child] - vectors.index_select(0, parents).mean(dim=0))
    step = torch.stack(steps)
    return torch.square(step - step.mean(dim=0)).sum()
