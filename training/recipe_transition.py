"""What a recipe of kind "transition" may say: where the transitions are from, the rates' model and its spread, and how they are learned."""

from __future__ import annotations

from typing import Annotated, Literal, Self

from pydantic import Field, StringConstraints, model_validator

from dichroic.honeycomb import MOST_SHELLS
from training.data.dune.families import FAMILIES
from training.data.dune.rates import REFERENCE_CURRENT, REFERENCE_VOLTAGE
from training.recipe_sections import Card, NonNegative, Positive, Section, Text

Count = Annotated[int, Field(ge=50, le=10_000_000)]
Steps = Annotated[int, Field(ge=0, le=1_000_000)]
Batch = Annotated[int, Field(ge=1, le=100_000)]
LearningRate = Annotated[float, Field(gt=0, le=1)]
Widths = Annotated[tuple[Annotated[int, Field(ge=1, le=1024)], ...], Field(min_length=1, max_length=6)]
Range = tuple[NonNegative, Positive]


class DuneData(Section):
    """Drawn: hops of a silicon atom in graphene by rates that are known; see training/data/dune. Held-out transitions are fresh draws.

    Attributes:
        rates: of which family: "prior", "mixture", "simple" or "beyond_carbon".
        mixture: seed of a mixture's components.
        transitions: to learn from.
        test_transitions: held out, for the figures.
        first_hop: outcomes are first hops, not where the atom is at the end of the dwell.
        beam_radius_angstrom: beams are uniform in a disc of it about the atom.
        dwell_s: least and greatest dwell.
        current_na: least and greatest current [ours: rates grow in proportion].
        voltage_kv: least and greatest voltage [ours: rates grow exponentially].
        seed: of the transitions.
    """

    source: Literal["dune"]
    rates: str = "prior"
    mixture: Annotated[int, Field(ge=0)] = 0
    transitions: Count = 20_000
    test_transitions: Count = 100_000
    first_hop: bool = False
    beam_radius_angstrom: Positive = 3.0
    dwell_s: Range = (0.0, 5.0)
    current_na: Range = (REFERENCE_CURRENT, REFERENCE_CURRENT)
    voltage_kv: Range = (REFERENCE_VOLTAGE, REFERENCE_VOLTAGE)
    seed: Annotated[int, Field(ge=0)] = 0

    @model_validator(mode="after")
    def _known(self) -> Self:
        if self.rates not in FAMILIES:
            raise ValueError(f"rates is one of {', '.join(FAMILIES)}, not {self.rates!r}")
        if self.mixture and self.rates != "mixture":
            raise ValueError('mixture is the seed of rates = "mixture"; the other rates are not drawn: leave it out')
        for name, (low, high) in (("dwell_s", self.dwell_s), ("current_na", self.current_na), ("voltage_kv", self.voltage_kv)):
            if low > high:
                raise ValueError(f"{name} is the least and the greatest, in this order")
            if low <= 0 and name != "dwell_s":
                raise ValueError(f"{name} is above 0")
        return self


class TransitionFiles(Section):
    """Your own: files (.npz, HDF5, zarr) with `beam_xy_angstrom`, `neighbours_xy_angstrom`, `dwell_s`, `current_na`, `voltage_kv` and `outcome`.

    Held-out transitions are whole groups where there is `group`; of several files each is a group; random ones otherwise, which flatter where one
    session's transitions are alike.

    Attributes:
        files: paths; `--data` takes their place.
        first_hop: outcomes are first hops, not where the atom was at the end of the dwell.
        held_out_fraction: of the transitions.
        licence: of the data.
        citation: of the data, for the card.
        notes: what a reader should know.
    """

    source: Literal["files"]
    files: tuple[Text, ...] = ()
    first_hop: bool = False
    held_out_fraction: Annotated[float, Field(gt=0, lt=0.9)] = 0.2
    licence: Text
    citation: str = ""
    notes: str = ""


class RateModelSpec(Section):
    """What is fitted and what is served.

    Attributes:
        kind: "equivariant": one function in each neighbour's own frame; "canonical": the published frame, the neighbour next to the beam on +x.
        members: of the ensemble, each on a bootstrap sample of its own.
        widths: units of a member's hidden layers.
        shells: hops from the atom to the last sites that the chain runs over.
        spread: what is served: the ensemble, or one student that learned its mean and spread, several times as fast.
    """

    kind: Literal["equivariant", "canonical"] = "equivariant"
    members: Annotated[int, Field(ge=2, le=256)] = 5
    widths: Widths = (32, 32)
    shells: Annotated[int, Field(ge=2, le=MOST_SHELLS)] = 2
    spread: Literal["ensemble", "student"] = "ensemble"


class StudentLesson(Section):
    """How the student is taught.

    Attributes:
        widths: units of its hidden layers.
        learning_rate: Adam's, at first.
        steps: in all.
        batch: states in each.
        places: members that it is asked as.
    """

    widths: Widths = (32, 32)
    learning_rate: LearningRate = 0.02
    steps: Annotated[int, Field(ge=1, le=1_000_000)] = 1500
    batch: Batch = 256
    places: Annotated[int, Field(ge=2, le=64)] = 4


class RateTraining(Section):
    """How the ensemble is trained; what is left out suits the number of transitions.

    Attributes:
        first_hop_steps: cheap ones, in which outcomes stand for first hops.
        first_hop_batch: transitions in each of them.
        steps: on the end of the dwell, after those.
        batch: transitions in each of them.
        learning_rate: Adam's, at first.
        checks: how often members are judged by what their samples left out, and the best weights kept.
        weight_decay: of the weights.
        recalibrate: whether one scale of the log rates is looked for on what members have not seen, and kept if it helps.
        student: with spread = "student".
        threads: of a processor.
    """

    first_hop_steps: Steps | None = None
    first_hop_batch: Batch | None = None
    steps: Steps | None = None
    batch: Batch | None = None
    learning_rate: LearningRate | None = None
    checks: Annotated[int, Field(ge=1, le=1000)] | None = None
    weight_decay: NonNegative | None = None
    recalibrate: bool = True
    student: StudentLesson = StudentLesson()
    threads: Annotated[int, Field(ge=1, le=64)] = 1

    @model_validator(mode="after")
    def _learns(self) -> Self:
        if self.first_hop_steps == 0 and not self.steps:
            raise ValueError("first_hop_steps and steps are both 0: nothing would be learned")
        return self


class TransitionRecipe(Section):
    """One model of rates, from data to bundle."""

    name: Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9][A-Za-z0-9_-]{0,63}$")]
    kind: Literal["transition"]
    seed: Annotated[int, Field(ge=0, lt=2**31)] = 0
    data: Annotated[DuneData | TransitionFiles, Field(discriminator="source")]
    model: RateModelSpec = RateModelSpec()
    training: RateTraining = RateTraining()
    card: Card

    @model_validator(mode="after")
    def _together(self) -> Self:
        if self.model.spread == "student" and self.model.kind == "canonical":
            raise ValueError('a student is equivariant; serve a canonical model as its ensemble: model.spread = "ensemble"')
        if self.model.spread != "student" and self.training.student != StudentLesson():
            raise ValueError('[training.student] is for model.spread = "student"')
        if self.data.first_hop and self.training.steps:
            raise ValueError("training.steps are on the end of the dwell; of first hops there are first_hop_steps alone")
        if self.data.first_hop and self.training.first_hop_steps == 0:
            raise ValueError("training.first_hop_steps is 0: nothing would be learned of first hops")
        return self
