"""The latent room's capabilities: from a caller's arrays to a bundle's signatures and back."""

from __future__ import annotations

from weakref import WeakKeyDictionary

import numpy as np

from dichroic.bundle import LatentSection
from dichroic.bundle.arrays import Arrays
from services.engine.model import Identity, ServingModel
from services.engine.repository import Repository
from services.latent.answers import Classified, Decoded, Encoded, Float32, Manifold, Reconstructed, Regressed, encoded_fields, most_probable
from services.latent.frames import EncodedFrame, FrameEncoder, LatentMap
from services.latent.inputs import Given, NDArray, data_dtype, decoder_inputs, encoder_inputs
from services.latent.manifold import Grid
from services.latent.novelty import HeldOutErrors
from services.latent.spectrum import Asked, Spectrum, scale_spectrum
from services.latent.windows import ANY_SIDE, Wanted, checked_stride, windows_of


class LatentRoom:
    """The latent capability over a repository.

    In every method `model_name` is the bundle's name, `model_version` ≥ 1 or 0 for the highest that serves, `deadline` in the event loop's time,
    seconds, and the errors are those that LatentService's comment in the proto lists.
    """

    def __init__(self, repository: Repository) -> None:
        self._repository = repository
        self._held_out: WeakKeyDictionary[ServingModel, HeldOutErrors | None] = WeakKeyDictionary()

    async def encode(self, model_name: str, model_version: int, given: Given, deadline: float) -> Encoded:
        """Images or spectra to pose, content and class.

        Args:
            model_name: see the class.
            model_version: see the class.
            given: `images` (n, h, w[, c]) uint8, uint16 or float32, or `spectra` (n, l[, c]) float32; `conditions` (n, k) float32 where the
                model has some.
            deadline: see the class.
        """
        with self._repository.lease_with(LatentSection, model_name, model_version) as (model, latent):
            outputs = await model.run(*encoder_inputs(latent, given, "encode"), deadline)
            probabilities = outputs.get("class_probabilities")
            index = None if probabilities is None else most_probable(probabilities)
            return Encoded(model.identity, class_index=index, **encoded_fields(outputs))

    async def decode(self, model_name: str, model_version: int, given: Given, deadline: float) -> Decoded:
        """Content, pose, class and conditions to images or spectra.

        Args:
            model_name: see the class.
            model_version: see the class.
            given: any of content (n, d), angle_rad, scale, shift_down_px, shift_right_px (n,), float32; at least one array. What is not given
                is the prior's mean: zeros, and 1 for the scale. `class_index` (n,) int64, `conditions` (n, k) float32 and `targets` (n, t)
                float32 exactly where the model has classes, has conditions, and draws by its targets.
            deadline: see the class.
        """
        with self._repository.lease_with(LatentSection, model_name, model_version) as (model, latent):
            outputs = await model.run("decode", decoder_inputs(model, latent, given), deadline)
            return Decoded(model.identity, outputs.get("images"), outputs.get("spectra"))

    async def reconstruct(self, model_name: str, model_version: int, given: Given, deadline: float) -> Reconstructed:
        """Images or spectra to themselves by way of the latents, with each one's error and its p-value. Arguments and errors as encode."""
        with self._repository.lease_with(LatentSection, model_name, model_version) as (model, latent):
            name, inputs = encoder_inputs(latent, given, "reconstruct")
            outputs, probabilities = await self._with_classes(model, latent, name, inputs, deadline)
            error, threshold = outputs["error"], latent.novelty_threshold
            held_out = self._held_out_errors(model)
            return Reconstructed(
                model.identity,
                outputs["reconstruction"],
                error,
                error_threshold=threshold or 0.0,
                novel_false_alarm_rate=latent.novelty_false_alarm_rate or 0.0,
                novel=None if threshold is None else error > threshold,
                p_value=None if held_out is None else held_out.p_value(error),
                class_probabilities=probabilities,
                class_index=None if probabilities is None else most_probable(probabilities),
            )

    async def decode_manifold(self, model_name: str, model_version: int, grid: Grid, deadline: float) -> Manifold:
        """A grid of decoded images or spectra over two content latents."""
        with self._repository.lease_with(LatentSection, model_name, model_version) as (model, latent):
            model.signature("decode")
            values_1, values_2 = grid.values(latent)
            # All is checked on one row, before a small request is made a large one.
            one_row = decoder_inputs(model, latent, grid.one_row(latent))
            model.check_rows("decode", len(values_1) * len(values_2))
            outputs = await model.run("decode", grid.rows(one_row, values_1, values_2), deadline)
            shaped = {name: array.reshape(len(values_1), len(values_2), *array.shape[1:]) for name, array in outputs.items()}
            return Manifold(model.identity, values_1, values_2, shaped.get("images"), shaped.get("spectra"))

    async def classify(self, model_name: str, model_version: int, given: Given, deadline: float) -> Classified:
        """Which class each of the `images` or `spectra` shows, by the classifier alone. `given` and errors as encode, without conditions."""
        with self._repository.lease_with(LatentSection, model_name, model_version) as (model, latent):
            outputs = await model.run(f"classify.{data_dtype(latent, given)}", given, deadline)
            probabilities = outputs["class_probabilities"]
            return Classified(model.identity, probabilities, most_probable(probabilities), latent.class_names)

    async def regress(self, model_name: str, model_version: int, given: Given, deadline: float) -> Regressed:
        """The targets of each of the `images` or `spectra`. `given` and errors as encode, without conditions."""
        with self._repository.lease_with(LatentSection, model_name, model_version) as (model, latent):
            outputs = await model.run(f"regress.{data_dtype(latent, given)}", given, deadline)
            names, units = (tuple(getattr(target, fact) for target in latent.targets) for fact in ("name", "unit"))
            return Regressed(model.identity, outputs["target_mean"], outputs["target_sd"], names, units)

    async def encode_frame(self, model_name: str, model_version: int, frame: NDArray, wanted: Wanted, deadline: float) -> EncodedFrame:
        """A whole image to latent maps, one for each window length.

        Args:
            model_name: see the class.
            model_version: see the class.
            frame: (h, w) or, for models of several channels, (h, w, c); uint8, uint16 or float32, where NaN and infinity make windows invalid.
            wanted: windows, and where.
            deadline: see the class.
        """
        with self._repository.lease_with(LatentSection, model_name, model_version) as (model, latent):
            encoder = FrameEncoder(model, latent, frame, deadline)
            return EncodedFrame(model.identity, await encoder.maps(encoder.places(wanted), explain=wanted.explain))

    async def scale_spectrum(self, model_name: str, model_version: int, frame: NDArray, asked: Asked, deadline: float) -> Spectrum:
        """Points of a frame through windows of many lengths. Arguments and errors as encode_frame, and as services.latent.spectrum says."""
        with self._repository.lease_with(LatentSection, model_name, model_version) as (model, latent):
            encoder = FrameEncoder(model, latent, frame, deadline)
            return await scale_spectrum(encoder, model.identity, asked)

    async def encode_patches(self, model_name: str, model_version: int, images: NDArray, deadline: float) -> EncodedFrame:
        """What a stream answers of patches (n, h, w[, c]): encode's rows as one map that has no places."""
        with self._repository.lease_with(LatentSection, model_name, model_version) as (model, latent):
            outputs = await model.run(*encoder_inputs(latent, {"images": images}, "encode"), deadline)
            probabilities = outputs.get("class_probabilities")
            patches = LatentMap(
                window_px=0.0,
                window_nm=0.0,
                stage=0,
                rows=0,
                columns=0,
                centres_px=None,
                valid=np.ones(len(images), dtype=np.bool_),
                invalid_count=0,
                evaluated="patches",
                explained=None,
                class_index=None if probabilities is None else most_probable(probabilities),
                **encoded_fields(outputs),
            )
            return EncodedFrame(model.identity, (patches,))

    def check_stream(self, model_name: str, model_version: int, wanted: Wanted) -> Identity:
        """What can be said of a stream before its first frame: the model is there, and what is wanted makes sense. Raises as encode_frame."""
        with self._repository.lease_with(LatentSection, model_name, model_version) as (model, latent):
            if latent.frames is not None:
                windows_of(latent.frames, wanted, ANY_SIDE, ANY_SIDE)
                checked_stride(wanted)
            return model.identity

    async def _with_classes(
        self, model: ServingModel, latent: LatentSection, name: str, inputs: Arrays, deadline: float
    ) -> tuple[Arrays, Float32 | None]:
        """A run of `reconstruct` and the class probabilities, which the encoder tells where the graph does not; None without classes."""
        told = any(spec.name == "class_probabilities" for spec in model.signature(name).outputs)
        outputs = await model.run(name, inputs, deadline)
        if not latent.class_names or told:
            return outputs, outputs.get("class_probabilities")
        encoded = await model.run(f"encode.{name.partition('.')[2]}", inputs, deadline)
        return outputs, encoded["class_probabilities"]

    def _held_out_errors(self, model: ServingModel) -> HeldOutErrors | None:
        if model not in self._held_out:
            self._held_out[model] = HeldOutErrors.of(model.manifest.calibration)
        return self._held_out[model]
