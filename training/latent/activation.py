"""The hyperbolic tangent by way of the logistic function, which torch computes several times as fast on a processor."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor


class _QuickTanh(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, values: Tensor) -> Tensor:
        # tanh x = 2 σ(2x) − 1, in one buffer.
        result = values.mul(2).sigmoid_().mul_(2).sub_(1)
        ctx.save_for_backward(result)
        return result

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> Tensor:
        (result,) = ctx.saved_tensors
        return torch.ops.aten.tanh_backward(gradients[0], result)  # type: ignore[no-any-return]


def tanh(values: Tensor) -> Tensor:
    """Hyperbolic tangent of `values` (any shape), within 2e-7 in float32; in an exported graph, the runtime's own.

    A decoder takes it at every coordinate and layer: it was three quarters of the cost of a narrow one.
    """
    if torch.compiler.is_exporting() or values.is_cuda:
        return torch.tanh(values)
    return _QuickTanh.apply(values)  # type: ignore[no-any-return, no-untyped-call]
