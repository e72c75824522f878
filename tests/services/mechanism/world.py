"""Mechanism bundles whose graphs are numpy, in the real engine: every answer can be told by training.mechanism.posterior, which is the reference."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np

from dichroic.bundle import FORMAT_VERSION, Bundle, Manifest, MechanismSection, Signature, TensorSpec, TrainingData
from dichroic.bundle.arrays import Arrays, pack
from dichroic.bundle.files import POSTERIOR_NAME
from dichroic.bundle.manifest import Calibration, CoverageLevel, FileEntry, IntervalCoverage, Producer
from dichroic.bundle.mechanism_section import POSTERIOR_INPUTS, PREDICTED, MeasuredQuantity, Mechanism, Noise, Part, Truncation
from dichroic.bundle.tensors import FixedSpec
from services.engine.budget import QueueBudget
from services.engine.model import LoadedBundle
from services.engine.observe import Unobserved
from services.engine.repository import Repository
from services.engine.runtime import Runtime
from services.mechanism import Given, MechanismRoom
from services.mechanism.posterior import make_fixed
from tests.training.mechanism.structures import FORMS, factor_values, measure, points
from training.mechanism.posterior import Posterior
from training.mechanism.structure import Mechanism as Cause
from training.mechanism.structure import Structure, TermValues
from training.mechanism.truncate import low_rank

NDArray = np.ndarray[Any, np.dtype[Any]]
FULL = {"uint8": 255.0, "uint16": 65535.0, "float32": 1.0}
CATEGORIES = ("hearts", "spades", "clubs")
TABLE = np.array([[0.0, 1.0], [1.5, -0.5], [-1.0, -1.0]])
FEATURES = 512
SIGMA2 = 0.04
NAMES = ("patch", "position", "age")


@dataclass(frozen=True)
class World:
    """One bundle. `patch` is an image or a category, `position` coordinates, `age` a parameter; D = 5.

    `wide` multiplies the lengthscales: with 3 a low rank is worth while.
    """

    form: str = "additive"
    count: int = 40
    kind: str = "exact"
    patch: str = "image"
    wide: float = 1.0
    rank_tolerance: float = 0.0  # 0: no truncation
    outliers: bool = False
    features: bool = True
    sigma2: float = SIGMA2
    seed: int = 1

    @cached_property
    def structure(self) -> Structure:
        causes = (Cause("patch", 0, 2), Cause("position", 2, 2), Cause("age", 4, 1, "matern52" if self.wide == 1 else "rbf"))
        lengths = {"patch": np.array([0.7, 1.4]), "position": np.array([0.5, 0.9]), "age": np.array([0.8])}
        terms = tuple(
            TermValues(term, 0.5 + 0.3 * index, {name: self.wide * lengths[name] for name in term.mechanisms})
            for index, term in enumerate(FORMS[self.form])
        )
        used = {name for term in FORMS[self.form] for name in term.factors}
        orthogonal = {name for term in FORMS[self.form] for name in term.orthogonal}
        measures = {cause.name: measure(cause) for cause in causes if cause.name in orthogonal}
        return Structure(causes, terms, 0.4, {name: factor_values() for name in used}, measures)

    @cached_property
    def posterior(self) -> Posterior:
        rng = np.random.default_rng(self.seed)
        reference = np.zeros(self.count)
        reference[: self.count // 2] = 2 / self.count
        noise = self.sigma2 * (1 + 2 * rng.random(self.count))
        return Posterior(self.structure, points(self.count, self.seed), rng.normal(size=self.count), noise, reference)

    @cached_property
    def noise(self) -> Noise:
        return Noise(variance=self.sigma2, outlier_share=0.2, outlier_variance=4.0) if self.outliers else Noise(variance=self.sigma2)

    @cached_property
    def arrays(self) -> Arrays:
        """Of posterior.safetensors."""
        given = self.posterior
        if self.kind == "exact":
            noise, residual = given.noise_variance, given.y - given.structure.mean
            return {"points": given.latents, "residual": residual, "noise_variance": noise, "reference": given.reference}
        chosen = given.latents[: self.count // 2]
        kernel = self.kernel(chosen, chosen) + 1e-10 * np.eye(len(chosen))
        across = self.kernel(chosen, given.latents) / given.noise_variance
        precise = kernel + across @ self.kernel(given.latents, chosen)
        spectrum, vectors = np.linalg.eigh(np.linalg.inv(kernel) - np.linalg.inv(precise))
        kept = spectrum > 1e-9 * spectrum.max()
        reference = np.full(len(chosen), 1 / len(chosen))
        alpha = np.linalg.solve(precise, across @ (given.y - given.structure.mean))
        return {"points": chosen, "inverse": (vectors[:, kept] * np.sqrt(spectrum[kept])).T, "alpha": alpha, "reference": reference}

    def kernel(self, first: NDArray, second: NDArray) -> NDArray:
        """Prior covariance of f (n, m)."""
        return np.asarray(sum(self.structure.covariance(values, first, second) for values in self.structure.terms))

    @cached_property
    def section(self) -> MechanismSection:
        given, truncation = self.posterior, None
        if self.rank_tolerance:
            low = low_rank(given, tolerance=self.rank_tolerance)
            assert low is not None
            truncation = Truncation(rank=low.rank, bound=low.bound)
        kinds: dict[str, dict[str, Any]] = {
            "patch": {"kind": "category", "categories": CATEGORIES, "unit": "1"} if self.patch == "category" else {"kind": "image", "unit": "nm"},
            "position": {"kind": "coordinates", "columns": ("x", "y"), "unit": "um", "trained_low": (-3.0, -3.0), "trained_high": (3.0, 3.0)},
            "age": {"kind": "parameters", "columns": ("age",), "unit": "h", "trained_low": (-3.0,), "trained_high": (3.0,)},
        }
        mechanisms = tuple(
            Mechanism(name=each.name, meaning=each.name, latent_size=each.size, encoder="identity", kernel=each.family, **kinds[each.name])
            for each in self.structure.mechanisms
        )
        terms = [values.term for values in self.structure.terms]
        parts = (
            Part(name="constant", kind="constant"),
            *(
                Part(
                    name=term.name,
                    kind="interaction" if term.name == "interaction" else "mechanism",
                    mechanisms=term.mechanisms,
                    factors=term.factors,
                    centred=term.centred,
                )
                for term in terms
            ),
        )
        return MechanismSection(
            mechanisms=mechanisms,
            quantity=MeasuredQuantity(name="response", unit="pm/V", meaning="piezoresponse", sd=1.0),
            form="scaled" if self.form == "scaled" else "additive",
            parts=parts,
            gauge="the first half of the points",
            noise=self.noise,
            posterior="exact" if self.kind == "exact" else "inducing",
            points=len(self.arrays["points"]),
            truncation=truncation,
        )

    @cached_property
    def manifest(self) -> Manifest:
        signatures = self.signatures
        coverage = IntervalCoverage(count=10, split="none", levels=(CoverageLevel(probability=0.9, covered=0.9),))
        return Manifest(
            format_version=FORMAT_VERSION,
            name="divide",
            version=1,
            kind="mechanism",
            created_time="2026-01-01T00:00:00Z",
            producer=Producer(git_commit="", packages={}),
            files=tuple(FileEntry(path=signature.graph, sha256="0" * 64, size_bytes=0) for signature in signatures.values()),
            signatures=signatures,
            calibration=Calibration(interval_coverage=coverage),
            training_data=TrainingData(source=repr(self), licence="MIT", sha256=("0" * 64,)),
            mechanism=self.section,
        )

    @property
    def bundle(self) -> Bundle:
        return Bundle(self.manifest, {POSTERIOR_NAME: pack(self.arrays)})

    @cached_property
    def signatures(self) -> dict[str, Signature]:
        terms, size = len(self.structure.terms), 5
        rank = "r" if self.rank_tolerance or self.kind == "inducing" else "N"
        shapes: dict[str, tuple[Any, ...]] = {
            "points": ("N", size),
            "inverse": (rank, "N"),
            "alpha": ("N",),
            "reference": ("N",),
            "gauge_half": (rank, terms),
            "gauge_mean": (terms,),
            "gauge_variance": (terms,),
        }
        fixed = {name: FixedSpec(name=name, dtype="float64", shape=shape, meaning=name) for name, shape in shapes.items()}
        count = terms + 1
        row_shapes = ((count,), (count, count), (count,), (count,), (), (), (size,))
        outputs = tuple(_spec(name, "float64", *shape) for name, shape in zip(PREDICTED, row_shapes, strict=True))
        latents = (_spec("latents", "float64", size),)
        found = {}
        for dtype in ("float32",) if self.patch == "category" else FULL:
            patch = _spec("patch", "int64") if self.patch == "category" else _spec("patch", dtype, 1, 2)
            inputs = (patch, _spec("position", "float64", 2), _spec("age", "float64", 1))
            found[f"encode.{dtype}"] = Signature(graph=f"encode.{dtype}.onnx", inputs=inputs, outputs=latents, max_batch=64)
            found[f"predict.{dtype}"] = Signature(
                graph=f"predict.{dtype}.onnx", inputs=inputs, fixed=tuple(fixed[name] for name in POSTERIOR_INPUTS), outputs=outputs, max_batch=64
            )
        rows = (_spec("rows", "float64", terms, "N"), _spec("factor", "float64", terms), _spec("prior", "float64", terms))
        found["rows"] = Signature(graph="rows.onnx", inputs=latents, fixed=(fixed["points"],), outputs=rows, max_batch=64)
        if self.features:
            features = (_spec("features", "float64", terms, FEATURES),)
            found["features"] = Signature(graph="features.onnx", inputs=latents, outputs=features, max_batch=64)
        return found

    def encode(self, inputs: Arrays) -> NDArray:
        """Latents (n, 5)."""
        patch = inputs["patch"]
        own = TABLE[patch] if self.patch == "category" else patch.reshape(len(patch), 2) / FULL[patch.dtype.name]
        return np.concatenate((own.astype(np.float64), inputs["position"], inputs["age"]), axis=1)

    def rows(self, latents: NDArray, at: NDArray) -> Arrays:
        terms, scales = self.structure.terms, self.posterior.factor_scales
        rows = [self.structure.covariance(values, latents, at, bare=True) * scale for values, scale in zip(terms, scales, strict=True)]
        factor = [self.structure.factor(values.term, latents) / scale for values, scale in zip(terms, scales, strict=True)]
        prior = [self.structure.prior(values, latents) * scale**2 for values, scale in zip(terms, scales, strict=True)]
        return {"rows": np.stack(rows, axis=1), "factor": np.stack(factor, axis=1), "prior": np.stack(prior, axis=1)}

    def random_features(self, latents: NDArray) -> NDArray:
        """(n, T, F), of plain kernels: √(2/F) cos(ωᵀx + b), ω Gaussian for RBF and Student's with 5 degrees of freedom for Matérn-5/2."""
        rng, columns = np.random.default_rng(99), []
        for values, scale in zip(self.structure.terms, self.posterior.factor_scales, strict=True):
            phase = np.tile(rng.uniform(0, 2 * np.pi, FEATURES), (len(latents), 1))
            for name in values.term.mechanisms:
                cause = self.structure.mechanism(name)
                omega = rng.standard_normal((FEATURES, cause.size))
                if cause.family == "matern52":
                    omega /= np.sqrt(rng.chisquare(5, FEATURES) / 5)[:, None]
                phase = phase + (cause.of(latents) / values.lengthscales[name]) @ omega.T
            columns.append(scale * np.sqrt(values.variance * 2 / FEATURES) * np.cos(phase))
        return np.stack(columns, axis=1)

    def predict(self, inputs: Arrays) -> Arrays:
        """As training.mechanism.graph.PosteriorGraph.forward."""
        latents, told = self.encode(inputs), self.rows(self.encode(inputs), inputs["points"])
        rows, factor, terms = told["rows"], told["factor"], self.structure.terms
        centred = np.array([values.term.centred for values in terms], float)
        gauge_half, gauge_variance = inputs["gauge_half"], inputs["gauge_variance"]
        half = np.einsum("ntm,rm->ntr", rows, inputs["inverse"]) - (gauge_half * centred).T
        with_gauge = rows @ inputs["reference"] * centred
        covariance = -np.einsum("nsr,ntr->nst", half, half)
        covariance[:, range(len(terms)), range(len(terms))] += told["prior"] + gauge_variance * centred - 2 * with_gauge
        sums = gauge_half.sum(axis=1)
        beside = with_gauge - gauge_variance * centred - half @ sums
        whole = np.empty((len(latents), len(terms) + 1, len(terms) + 1))
        whole[:, 0, 0], whole[:, 0, 1:], whole[:, 1:, 0] = gauge_variance.sum() - sums @ sums, beside, beside
        whole[:, 1:, 1:] = covariance
        ones = np.ones((len(latents), 1))
        mean = np.concatenate(((self.structure.mean + inputs["gauge_mean"].sum()) * ones, rows @ inputs["alpha"] - inputs["gauge_mean"] * centred), 1)
        factor = np.concatenate((ones, factor), axis=1)
        spread = np.concatenate((0 * ones, self.posterior._factor_variance(latents)), axis=1)
        total_variance = np.einsum("ns,nst,nt->n", factor, whole, factor) + np.sum(spread * mean**2, axis=1)
        values = (mean, whole, factor, spread, np.sum(factor * mean, axis=1), total_variance, latents)
        return dict(zip(PREDICTED, values, strict=True))

    def graph(self, name: str) -> Callable[[Arrays], Arrays]:
        capability = name.partition(".")[0]
        return {
            "encode": lambda inputs: {"latents": self.encode(inputs)},
            "predict": self.predict,
            "rows": lambda inputs: self.rows(inputs["latents"], inputs["points"]),
            "features": lambda inputs: {"features": self.random_features(inputs["latents"])},
        }[capability]

    def given(self, latents: NDArray) -> Given:
        """What a caller would send for these latents; a category's first two are not told by it."""
        patch = np.argmin(np.sum((latents[:, None, :2] - TABLE) ** 2, axis=2)) if self.patch == "category" else latents[:, :2].astype(np.float32)
        shaped = patch if self.patch == "category" else patch[:, None, :]
        return Given({"patch": shaped, "position": latents[:, 2:4].copy(), "age": latents[:, 4:].copy()})

    def latents_of(self, given: Given) -> NDArray:
        return self.encode(given.values)


def places(count: int, seed: int) -> NDArray:
    """Latents (n, 5) that float32 images tell exactly."""
    found = points(count, seed)
    found[:, :2] = found[:, :2].astype(np.float32)
    return found


class NumpyGraph:
    """Stands for an ONNX session. `calls` counts its runs; a test may wait in one, or break it, by `before`."""

    def __init__(self, work: Callable[[Arrays], Arrays]) -> None:
        self.work, self.calls = work, 0
        self.before: Callable[[], None] = lambda: None

    def run(self, names: list[str], inputs: Arrays, _: object = None) -> list[NDArray]:
        self.calls += 1
        self.before()
        found = self.work(inputs)
        return [found[name] for name in names]


class WorldLoader:
    """Stands for the engine's loader: every folder holds the world that a test put there."""

    device = SimpleNamespace(name="cpu")

    def __init__(self, worlds: dict[str, World]) -> None:
        self.worlds = worlds
        self.graphs: dict[str, NumpyGraph] = {}

    def load(self, folder: Path) -> LoadedBundle:
        world = self.worlds[folder.parent.name]
        manifest = world.manifest.model_copy(update={"name": folder.parent.name, "version": int(folder.name)})
        loaded = LoadedBundle(manifest, manifest.digest, "", {})
        for name, signature in manifest.signatures.items():
            self.graphs[name] = NumpyGraph(world.graph(name))
            loaded.runtimes[name] = Runtime(name, self.graphs[name], signature, max_batch=64, pad=False)  # type: ignore[arg-type]

        def run(name: str, inputs: Arrays, fixed: Arrays) -> Arrays:
            return loaded.runtimes[name].run(inputs, None, fixed)

        loaded.fixed.update(make_fixed(replace(world.bundle, manifest=manifest), run))
        for runtime in loaded.runtimes.values():
            if runtime.signature.fixed:
                runtime.hold(loaded.fixed)
        return loaded


class Clock:
    """Time that goes by when the test says so."""

    def __init__(self) -> None:
        self.now = 1_000_000.0

    def __call__(self) -> float:
        return self.now


@dataclass
class Lab:
    """A room over a repository of worlds."""

    folder: Path
    loader: WorldLoader
    repository: Repository
    clock: Clock
    max_bytes: int = 1 << 30
    room: MechanismRoom = None  # type: ignore[assignment]

    @classmethod
    async def open(cls, folder: Path, max_bytes: int = 1 << 30, **worlds: World) -> Lab:
        loader = WorldLoader(worlds)
        for name in worlds:
            (folder / "bundles" / name / "1").mkdir(parents=True, exist_ok=True)
        repository = Repository(folder / "bundles", loader, QueueBudget(1024, 1 << 30), Unobserved())  # type: ignore[arg-type]
        for name in worlds:
            await repository.load(name, 1)
        lab = cls(folder, loader, repository, Clock(), max_bytes)
        lab.start()
        return lab

    def start(self) -> None:
        self.room = MechanismRoom(self.repository, self.folder / "sessions", expiry_s=100.0, max_bytes=self.max_bytes, clock=self.clock)

    async def restart(self) -> None:
        """The room anew over the same journal, as after a restart of the server."""
        await self.room.close()
        self.start()


def soon() -> float:
    """A deadline that is far enough."""
    return asyncio.get_running_loop().time() + 60


def _spec(name: str, dtype: str, *row: int | str) -> TensorSpec:
    shape: Any = ("n", *row)
    return TensorSpec(name=name, dtype=dtype, shape=shape, axes=("batch", *("axis",) * len(row)), unit="1", meaning=name)  # type: ignore[arg-type]
