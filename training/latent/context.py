"""What encoder and decoder are told beside the data: conditions in their units, and targets, as numbers near 1."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from training.latent.specification import ModelSpecification

# Two different indices are at least 1 apart.
_HALF = 0.5


class Context(nn.Module):
    """Real conditions (value − mean)/sd with the training data's mean and sd, categories one-hot; targets standardised alike."""

    def __init__(self, specification: ModelSpecification) -> None:
        super().__init__()
        self.specification = specification
        # Constants of the specification, not of the weights: a buffer each moves with the model and turns into its precision.
        for name, columns in (("condition", specification.conditions), ("target", specification.targets)):
            for fact in ("mean", "sd"):
                values = torch.tensor([getattr(column, fact) for column in columns], dtype=torch.float32)
                self.register_buffer(f"{name}_{fact}", values, persistent=False)

    def conditions(self, values: Tensor) -> Tensor:
        """Conditions (n, k) in their units, a category as its index, to what the networks see (n, ·)."""
        mean, sd = self.get_buffer("condition_mean"), self.get_buffer("condition_sd")
        standard = (values - mean) / sd
        parts = []
        for index, column in enumerate(self.specification.conditions):
            if column.categories:
                every = torch.arange(len(column.categories), device=values.device, dtype=values.dtype)
                parts.append(((values[:, index : index + 1] - every).abs() < _HALF).to(values.dtype))
            else:
                parts.append(standard[:, index : index + 1])
        return torch.cat(parts, dim=1)

    def standardised(self, targets: Tensor) -> Tensor:
        """Targets (n, t) in their units to (value − mean)/sd; NaN stays NaN."""
        return (targets - self.get_buffer("target_mean")) / self.get_buffer("target_sd")

    def in_unit(self, mean: Tensor, sd: Tensor) -> tuple[Tensor, Tensor]:
        """Standardised means and standard deviations (n, t) in the targets' units."""
        own = self.get_buffer("target_sd")
        return mean * own + self.get_buffer("target_mean"), sd * own

    def forward(self, conditions: Tensor | None, targets: Tensor | None) -> Tensor | None:
        """Conditions (n, k) in their units and standardised targets (n, t) side by side, (n, context_size); None where the model has neither."""
        parts = []
        if self.specification.conditions:
            assert conditions is not None  # noqa: S101 (whoever has the data gives them)
            parts.append(self.conditions(conditions))
        if self.specification.targets:
            assert targets is not None  # noqa: S101 (known, or told by the regressor)
            parts.append(targets)
        return torch.cat(parts, dim=1) if parts else None
