"""The comparison with pyroVED keeps fitting our model; pyroVED itself is not needed here."""

from __future__ import annotations

import pytest
import torch

from benchmarks.peers.pyroved_models import HIDDEN, Case, matching_latents, translated
from benchmarks.peers.pyroved_oracle import CASES
from training.latent.model import InvariantVAE


def state_as_pyroved_names_it(case: Case) -> dict[str, torch.Tensor]:
    latents, inputs = case.specification.latent_size, case.content_size + case.classes
    heads = {"encoder_z.fc11": latents, "encoder_z.fc12": latents} | ({"encoder_z.fc13": case.classes} if case.classes else {})
    shapes = {name: (size, HIDDEN[-1]) for name, size in heads.items()}
    shapes |= {"encoder_z.fc_layers.0": (HIDDEN[0], case.side_px**2), "encoder_z.fc_layers.2": (HIDDEN[1], HIDDEN[0])}
    first = HIDDEN[0] if case.letters else inputs
    shapes |= {"decoder.fc_layers.0": (HIDDEN[0], first), "decoder.fc_layers.2": (HIDDEN[1], HIDDEN[0])}
    shapes["decoder.out"] = (1 if case.letters else case.side_px**2, HIDDEN[1])
    state = {f"{name}.weight": torch.randn(shape) for name, shape in shapes.items()}
    state |= {f"{name}.bias": torch.randn(shape[0]) for name, shape in shapes.items()}
    if case.letters:
        state |= {"decoder.coord_latent.fc_coord.weight": torch.randn(HIDDEN[0], 2), "decoder.coord_latent.fc_coord.bias": torch.randn(HIDDEN[0])}
        state["decoder.coord_latent.fc_latent.weight"] = torch.randn(HIDDEN[0], inputs)
    return state


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_every_weight_of_ours_comes_from_one_of_pyroved(case: Case) -> None:
    theirs = state_as_pyroved_names_it(case)
    model = InvariantVAE(case.specification)
    model.load_state_dict(translated(theirs, case), strict=True)
    # Ours alone: a matrix for classes behind each hidden layer.
    own = len(HIDDEN) * HIDDEN[0] * case.classes if case.letters else 0
    assert sum(value.numel() for value in model.state_dict().values()) - own == sum(value.numel() for value in theirs.values())


def test_matching_latents_stand_at_pyroved_scale() -> None:
    case = Case("trsVAE", "rts")
    latents = torch.randn(50, case.specification.latent_size)
    matched = matching_latents(latents, case)
    torch.testing.assert_close(InvariantVAE(case.specification).split(matched).scale, 1 + 0.1 * latents[:, 3], rtol=1e-6, atol=1e-6)
    others = [0, 1, 2, 4, 5]
    assert torch.equal(matched[:, others], latents[:, others])
