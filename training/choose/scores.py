"""What is kept of each fitted candidate: one JSON file, written at once, that a later run takes over."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Literal

from training.choose.candidates import Candidate
from training.errors import InputError

SUMMARY_NAME = "choose.json"
_FORMAT = 1


@dataclass(frozen=True)
class PoseErrors:
    """How far reported poses are off; None: the model reports no such pose, or the truth of it does not vary.

    Attributes:
        by: "truth": against the drawn truth, median of each class, worst class; "movement": validation images are turned, shifted and resized
            by known amounts, and the median difference of reported and expected change is told; "": no pose at all.
        angle_deg: degrees.
        shift_px: distance, pixels.
        scale_percent: of the size.
    """

    by: Literal["", "truth", "movement"] = ""
    angle_deg: float | None = None
    shift_px: float | None = None
    scale_percent: float | None = None


@dataclass(frozen=True)
class Score:
    """One candidate fitted with one seed.

    Attributes:
        candidate: which.
        seed: of the fit.
        negative_elbo: −ELBO of each validation image, nats, β = 1, in the images' order; empty when the fit failed.
        pose: errors of the reported pose.
        classes_used: classes that at least a tenth of an even portion of the images belongs to; None without classes.
        accuracy: share of labelled validation images in their class, after the best one-to-one matching for classes found without labels;
            None without classes or labels.
        failure: why the fit failed; empty when it did not.
    """

    candidate: Candidate
    seed: int
    negative_elbo: tuple[float, ...]
    pose: PoseErrors = PoseErrors()
    classes_used: int | None = None
    accuracy: float | None = None
    failure: str = ""


@dataclass(frozen=True)
class ScoreStore:
    """The folder of scores: one file for each candidate and seed."""

    folder: Path

    def save(self, score: Score, fingerprint: str) -> None:
        """Writes beside the name, then renames: there is a whole file or none.

        Raises:
            InputError: CANNOT_WRITE.
        """
        write_json(self._path(score.candidate, score.seed), {"format": _FORMAT, "fingerprint": fingerprint, **asdict(score)})

    def load(self, candidate: Candidate, seed: int, fingerprint: str) -> Score | None:
        """The score, None when there is none yet.

        Raises:
            InputError: RESULTS_UNREADABLE, RESULTS_MISMATCH: of another recipe, data, epochs or version of torch.
        """
        path = self._path(candidate, seed)
        if not path.exists():
            return None
        try:
            facts = json.loads(path.read_text(encoding="utf-8"))
            if facts["format"] == _FORMAT and facts["fingerprint"] == fingerprint:
                values = tuple(float(value) for value in facts["negative_elbo"])
                return Score(candidate, seed, values, PoseErrors(**facts["pose"]), facts["classes_used"], facts["accuracy"], facts["failure"])
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise InputError("RESULTS_UNREADABLE", f"{path} is no result of `choose` ({error}); delete it and run again with --resume.") from error
        raise InputError(
            "RESULTS_MISMATCH",
            f"{path} belongs to another recipe, data set, number of epochs or version of torch; use those again, or give another --out.",
        )

    def is_begun(self) -> bool:
        """Whether there is anything to go on from: a score, or a checkpoint."""
        return any(self.folder.glob("*.json")) or any(self.checkpoints.glob("*/*.safetensors"))

    @property
    def checkpoints(self) -> Path:
        """Where fits that are not done keep theirs."""
        return self.folder / ".checkpoints"

    def _path(self, candidate: Candidate, seed: int) -> Path:
        return self.folder / f"{name_of(candidate, seed)}.json"


def name_of(candidate: Candidate, seed: int) -> str:
    """Of a score's file and of a fit's checkpoint."""
    return f"{candidate.key}_seed-{seed}"


def write_json(path: Path, facts: object) -> None:
    """Replaces the file as a whole.

    Raises:
        InputError: CANNOT_WRITE.
    """
    draft = path.with_name(f".{path.name}.writing")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        draft.write_text(json.dumps(facts, allow_nan=False) + "\n", encoding="utf-8")
        draft.replace(path)
    except OSError as error:
        raise InputError("CANNOT_WRITE", f"{path} cannot be written ({error.strerror}); give another --out.") from error
