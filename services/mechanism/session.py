"""One session in memory: its posterior, and its candidates as they are told when Suggest needs them."""

from __future__ import annotations

from dataclasses import dataclass, field

from dichroic.bundle.arrays import pack
from services.mechanism.candidates import Candidates, candidate_bytes
from services.mechanism.conditioned import SessionPosterior
from services.mechanism.graphs import Described
from services.mechanism.journal import SessionRow
from services.mechanism.lanes import Call, finished
from services.mechanism.state import FLOAT64_BYTES, Block, Start, posterior_bytes
from services.mechanism.suggesting import catch_up, tell


@dataclass(eq=False)
class Session:
    """One session as it is in memory.

    Attributes:
        row: as it was made.
        posterior: its own.
        described: its candidates as the encoders see them; None: it has none.
        features: F, of the paths of its candidates; 0 where the model knows none.
        revision: 1, and 1 more with each Observe.
        candidates: told and kept up to date when Suggest needs them.
        waiting: blocks that `candidates` do not know yet, as they take them.
    """

    row: SessionRow
    posterior: SessionPosterior
    described: Described | None
    features: int
    revision: int = 1
    candidates: Candidates | None = None
    waiting: list[Block] = field(default_factory=list)

    @property
    def candidate_count(self) -> int:
        """How many candidates it has."""
        return 0 if self.described is None else len(self.described.latents)

    def memory_bytes_with(self, points: int) -> int:
        """What it takes with so many points more, candidates told or not."""
        return session_bytes(self.posterior.start, self.described, self.posterior.added + points, self.features)

    def take(self, block: Block) -> None:
        """One Observe more."""
        self.posterior.apply(block)
        self.revision += 1
        if self.described is not None:
            self.waiting.append(block.for_candidates(self.posterior.start.arrays.get("basis")))

    async def told(self, call: Call) -> Candidates:
        """Its candidates, up to date.

        Raises:
            DeadlineExceededError: the deadline passed in between; the next call goes on from there.
            ValueError: it has none.
        """
        if self.described is None:
            raise ValueError("the session has no candidates")
        if self.candidates is None:
            # From the bundle's posterior and one block after the other, as if it had been told at once: the same to the last bit.
            seed = self.row.seed if self.features else None
            self.candidates = await tell(call, self.described, self.posterior.start.view(), seed)
        while self.waiting:
            await finished(self._catch_up(call, self.candidates))
        return self.candidates

    async def _catch_up(self, call: Call, candidates: Candidates) -> None:
        await catch_up(call, candidates, self.waiting[0])
        self.waiting.pop(0)


def session_bytes(start: Start, described: Described | None, added: int, features: int) -> int:
    """What a session takes with so many points more than the bundle's: its posterior, and its candidates, told or not."""
    posterior = posterior_bytes(start, added)
    if described is None:
        return posterior
    count, size = described.latents.shape
    rank = len(start.arrays["inverse"])
    waiting = FLOAT64_BYTES * added * (rank + added)
    return posterior + waiting + candidate_bytes(count, len(start.centred), size, rank=rank, added=added, features=features)


def packed_candidates(described: Described | None) -> bytes | None:
    """Candidates as the journal stores them."""
    return None if described is None else pack({"latents": described.latents, "factor_variance": described.factor_variance})
