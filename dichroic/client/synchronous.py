"""The blocking client."""

from __future__ import annotations

from dichroic.client import models as read
from dichroic.client.answers import (
    Classification,
    Decoding,
    Encoding,
    Manifold,
    ModelIdentity,
    ModelInfo,
    ModelSummary,
    Reconstruction,
    Regression,
)
from dichroic.client.conversion import Classes, Images, Numbers
from dichroic.client.frame_calls import FrameCalls
from dichroic.client.grids import Range, manifold_of, manifold_request
from dichroic.client.inputs import checked_data, checked_latents
from dichroic.client.mechanism_calls import MechanismCalls
from dichroic.client.messages import Progress
from dichroic.client.requests import Echo, check_name, classify_call, decode_call, encode_call, reconstruct_call, regress_call
from dichroic.client.transition_calls import TransitionCalls
from dichroic.v1 import models_pb2


class Client(FrameCalls, MechanismCalls, TransitionCalls):
    """Asks a Dichroic server, and waits for the answer.

        with Client("microscope-gpu:50051") as client:
            encoding = client.encode("domains", images)
            encoding.angle_rad    # (n,) float32, radians counter-clockwise

    It connects with the first call, stays connected while idle, and may be shared between threads. Every method takes `timeout_s`, the
    deadline of the whole call over all its messages and retries (None: none), and raises the errors of `dichroic.errors`, which it
    re-raises as the server named them; beside those each method lists, that can be ServerUnreachableError, DeadlineExceededError,
    QueueFullError, ServerStartingError, ServerStoppingError, ModelNotReadyError and InternalError. A message is sent again only when the
    server is unreachable or says that a retry may help, after the delay it asks for; every call here can be repeated without harm.
    """

    def encode(
        self,
        model_name: str,
        images: Images | None = None,
        *,
        spectra: Images | None = None,
        conditions: Numbers | None = None,
        version: int = 0,
        frame_id: str = "",
        acquisition_time_unix_ns: int = 0,
        timeout_s: float | None = 30.0,
        progress: Progress | None = None,
    ) -> Encoding:
        """Images, or spectra, to pose, content and class.

        Args:
            model_name: such as "domains".
            images: (n, h, w), or (n, h, w, c) for models of several channels, or a list of n images of one shape; uint8, uint16, or floats in
                the unit of the training data (float64 is converted to float32). Always with the batch axis: a single image goes as [image].
            spectra: (n, l) or (n, l, c), or a list of n spectra of one shape, in the unit of the training data: for models that take spectra, in
                place of images.
            conditions: (n, k), or (k,) for every row, for models with conditions: a value, or a category's index, for each.
            version: >= 1; 0 is the highest that is ready.
            frame_id: your name for the frame, echoed.
            acquisition_time_unix_ns: when it was taken, nanoseconds since 1970-01-01T00:00:00 UTC, echoed; 0 is unknown.
            timeout_s: seconds for the whole call, retries included; None is no limit.
            progress: called with (rows done, rows in all) after each message.

        Raises:
            InvalidTensorError: dtype, axes, shape, no rows, NaN or infinity, conditions missing or not the model's; `row` says which.
            InvalidFieldError: neither images nor spectra, or both.
            UnknownModelError: the server has no such model.
            UnknownVersionError: the model has no such version.
            UnsupportedCapabilityError: the model does not encode.
            MessageTooLargeError: a single image is larger than the server receives.
            ModelChangedError: the version was replaced during the call.
        """
        data = checked_data(images, spectra, conditions)
        return self._run(encode_call(model_name, data, version, Echo(frame_id, acquisition_time_unix_ns)), timeout_s, progress)

    def decode(
        self,
        model_name: str,
        *,
        content: Numbers | None = None,
        angle_rad: Numbers | None = None,
        scale: Numbers | None = None,
        shift_down_px: Numbers | None = None,
        shift_right_px: Numbers | None = None,
        class_index: Classes | None = None,
        conditions: Numbers | None = None,
        targets: Numbers | None = None,
        version: int = 0,
        timeout_s: float | None = 30.0,
        progress: Progress | None = None,
    ) -> Decoding:
        """Pose, content and class to images or spectra. At least one array is given; what is not given is 0, the scale 1.

        Args:
            model_name: such as "domains".
            content: (n, d), or (d,) for every row; unit 1, or radians where the latent is a circle.
            angle_rad: (n,), or one number for every row; radians counter-clockwise.
            scale: (n,), or one number for every row; > 0.
            shift_down_px: (n,), or one number for every row; pixels towards higher row numbers.
            shift_right_px: (n,), or one number for every row; pixels towards higher column numbers.
            class_index: (n,), or one class for every row, 0 to K - 1: required by models with classes.
            conditions: (n, k), or (k,) for every row: required by models with conditions.
            targets: (n, t), or (t,) for every row, each in its unit: required by regression models whose decoder takes them.
            version: >= 1; 0 is the highest that is ready.
            timeout_s: seconds for the whole call, retries included; None is no limit.
            progress: called with (rows done, rows in all) after each message.

        Raises:
            InvalidTensorError: a wrong shape, different n, not finite, a scale <= 0, a class or category that is none, or an array that the
                model has no use for, or lacks.
            InvalidFieldError: nothing is given.
            UnknownModelError: the server has no such model.
            UnknownVersionError: the model has no such version.
            UnsupportedCapabilityError: the model does not decode.
            ModelChangedError: the version was replaced during the call.
        """
        latents = checked_latents(
            content=content,
            angle_rad=angle_rad,
            scale=scale,
            shift_down_px=shift_down_px,
            shift_right_px=shift_right_px,
            class_index=class_index,
            conditions=conditions,
            targets=targets,
        )
        return self._run(decode_call(model_name, latents, version), timeout_s, progress)

    def decode_manifold(
        self,
        model_name: str,
        *,
        axes: tuple[int, int] = (0, 1),
        counts: tuple[int, int] = (12, 12),
        range_1: Range | None = None,
        range_2: Range | None = None,
        spacing: str = "quantile",
        content: Numbers | None = None,
        angle_rad: Numbers | None = None,
        scale: Numbers | None = None,
        shift_down_px: Numbers | None = None,
        shift_right_px: Numbers | None = None,
        class_index: Classes | None = None,
        conditions: Numbers | None = None,
        targets: Numbers | None = None,
        version: int = 0,
        timeout_s: float | None = 30.0,
    ) -> Manifold:
        """A grid of decoded images, or spectra, over two content latents. All else is fixed: one row of it, as decode takes it.

        Args:
            model_name: such as "domains".
            axes: the content latents that change down the grid and to the right, from 0.
            counts: steps down and to the right, 2 or more each, 4096 images at most.
            range_1: (low, high) of the first axis; None is the prior's 5 % and 95 % quantiles, and on a circle all of it.
            range_2: (low, high) of the second axis.
            spacing: "quantile": equal steps of the prior's probability; "value": equal steps of value.
            content: (d,), the other content latents.
            angle_rad: as decode.
            scale: as decode.
            shift_down_px: as decode.
            shift_right_px: as decode.
            class_index: as decode.
            conditions: (k,), as decode.
            targets: (t,), as decode.
            version: >= 1; 0 is the highest that is ready.
            timeout_s: seconds for the whole call, retries included; None is no limit.

        Raises:
            InvalidFieldError: axes, counts, ranges or spacing that make no grid.
            InvalidTensorError: as decode.
            UnknownModelError: the server has no such model.
            UnknownVersionError: the model has no such version.
            UnsupportedCapabilityError: the model has fewer than two content latents.
        """
        fixed = checked_latents(
            content=content,
            angle_rad=angle_rad,
            scale=scale,
            shift_down_px=shift_down_px,
            shift_right_px=shift_right_px,
            class_index=class_index,
            conditions=conditions,
            targets=targets,
        )
        request = manifold_request(model_name, version, axes=axes, counts=counts, ranges=(range_1, range_2), spacing=spacing, fixed=fixed)
        return manifold_of(self._once(self._stubs().latent.DecodeManifold, request, self._deadline(timeout_s)))

    def reconstruct(
        self,
        model_name: str,
        images: Images | None = None,
        *,
        spectra: Images | None = None,
        conditions: Numbers | None = None,
        version: int = 0,
        frame_id: str = "",
        acquisition_time_unix_ns: int = 0,
        timeout_s: float | None = 30.0,
        progress: Progress | None = None,
    ) -> Reconstruction:
        """Images, or spectra, to themselves by way of the latents, with each one's error: large where the model meets what it never saw.

        Arguments and errors are those of encode.
        """
        data = checked_data(images, spectra, conditions)
        return self._run(reconstruct_call(model_name, data, version, Echo(frame_id, acquisition_time_unix_ns)), timeout_s, progress)

    def classify(
        self,
        model_name: str,
        images: Images | None = None,
        *,
        spectra: Images | None = None,
        version: int = 0,
        frame_id: str = "",
        acquisition_time_unix_ns: int = 0,
        timeout_s: float | None = 30.0,
        progress: Progress | None = None,
    ) -> Classification:
        """Which class each image, or spectrum, shows, by the classifier of a semi-supervised model alone.

        Arguments and errors are those of encode.
        """
        data = checked_data(images, spectra, None)
        return self._run(classify_call(model_name, data, version, Echo(frame_id, acquisition_time_unix_ns)), timeout_s, progress)

    def regress(
        self,
        model_name: str,
        images: Images | None = None,
        *,
        spectra: Images | None = None,
        version: int = 0,
        frame_id: str = "",
        acquisition_time_unix_ns: int = 0,
        timeout_s: float | None = 30.0,
        progress: Progress | None = None,
    ) -> Regression:
        """The targets of each image, or spectrum, that a semi-supervised regression was taught. Arguments and errors are those of encode."""
        data = checked_data(images, spectra, None)
        return self._run(regress_call(model_name, data, version, Echo(frame_id, acquisition_time_unix_ns)), timeout_s, progress)

    def models(self, *, timeout_s: float | None = 30.0) -> list[ModelSummary]:
        """Every version the server knows, serving or failed, by name and then by version."""
        return read.summaries_of(self._once(self._stubs().models.ListModels, models_pb2.ListModelsRequest(), self._deadline(timeout_s)))

    def model(self, model_name: str, *, version: int = 0, timeout_s: float | None = 30.0) -> ModelInfo:
        """One version in full: tensors, limits, device, manifest, model card.

        Raises:
            UnknownModelError: the server has no such model.
            UnknownVersionError: the model has no such version.
        """
        return self._info(model_name, version, self._deadline(timeout_s))

    def load_model(self, model_name: str, *, version: int = 0, timeout_s: float | None = 300.0) -> ModelIdentity:
        """Has the server read, check, warm up and swap in a version; 0 is the highest in its folder. A failure leaves what serves in place.

        Raises:
            NoCredentialError: this client has no token, or a wrong one.
            AdminOnlyError: the server lets nobody, or not this token, administer.
            UnknownModelError: there is no such folder.
            UnknownVersionError: there is no such version's folder.
            BundleRefusedError: the bundle did not pass; `step` and `cause` say where and why.
        """
        check_name(model_name, version)
        request = models_pb2.LoadModelRequest(model_name=model_name, model_version=version)
        return read.identity_of(self._once(self._stubs().models.LoadModel, request, self._deadline(timeout_s)).model)

    def unload_model(self, model_name: str, *, version: int = 0, timeout_s: float | None = 30.0) -> list[ModelIdentity]:
        """Has the server take a version out of service, or every one of the model (0); what it has accepted finishes first.

        Raises:
            NoCredentialError: this client has no token, or a wrong one.
            AdminOnlyError: the server lets nobody, or not this token, administer.
            UnknownModelError: the server has no such model.
            UnknownVersionError: the model has no such version.
        """
        check_name(model_name, version)
        request = models_pb2.UnloadModelRequest(model_name=model_name, model_version=version)
        response = self._once(self._stubs().models.UnloadModel, request, self._deadline(timeout_s))
        return [read.identity_of(model) for model in response.models]
