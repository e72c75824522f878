"""What the fake server answers about whole images: by rule, without a model. The first window's maps have no grid where centres were sent."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from typing import Any

import numpy as np

from dichroic.errors import InvalidFieldError
from dichroic.v1 import frames_pb2
from dichroic.wire import from_array, to_array


class FakeFrames:
    """A map of w is 2 x 3 windows whose content is w and the frame's mean (not finite pixels as 0); the second window is not valid.

    A stream's frames are answered likewise, each once `gate` is set; a frame full of -1 is answered with an error.
    """

    gate: threading.Event
    drops: int

    def EncodeFrame(self, request: Any, context: Any) -> frames_pb2.EncodeFrameResponse:  # noqa: N802
        self._take("EncodeFrame", request, context)  # type: ignore[attr-defined]
        return frames_pb2.EncodeFrameResponse(
            model=self.model,  # type: ignore[attr-defined]
            frame_id=request.frame_id,
            acquisition_time_unix_ns=request.acquisition_time_unix_ns,
            maps=maps_of(request, from_array(request.frame, field="frame"), explained=request.explain),
        )

    def ScaleSpectrum(self, request: Any, context: Any) -> frames_pb2.ScaleSpectrumResponse:  # noqa: N802
        self._take("ScaleSpectrum", request, context)  # type: ignore[attr-defined]
        points, windows = len(from_array(request.centres_px, field="")), list(request.window_px) or [2.0, 4.0, 8.0]
        k, labelled = len(windows), bool(request.labels.dtype)
        latents = np.arange(k * points * 2, dtype=np.float32).reshape(k, points, 2)
        valid = np.ones((k, points), bool)
        valid[0, 0] = False
        response = frames_pb2.ScaleSpectrumResponse(
            model=self.model,  # type: ignore[attr-defined]
            frame_id=request.frame_id,
            acquisition_time_unix_ns=request.acquisition_time_unix_ns,
            window_px=to_array(np.array(windows)),
            stage=to_array(np.arange(1, k + 1)),
            valid=to_array(valid),
            invalid_count=1,
            explained=to_array(np.where(valid, 0.5, np.nan).astype(np.float32)),
            content=to_array(latents),
            latent_mean=to_array(latents),
            latent_sd=to_array(latents),
        )
        if request.pixel_size_nm:
            response.window_nm.CopyFrom(to_array(request.pixel_size_nm * np.array(windows)))
        if labelled:
            response.separability.CopyFrom(to_array(np.linspace(0.5, 1, k)))
            response.separable_from_px = windows[-1]
            response.separable_from_nm = request.pixel_size_nm * windows[-1]
        return response

    def StreamEncode(self, requests: Iterator[Any], context: Any) -> Iterator[frames_pb2.StreamEncodeResponse]:  # noqa: N802
        header = next(requests)
        self._take("StreamEncode", header, context)  # type: ignore[attr-defined]
        yield frames_pb2.StreamEncodeResponse(model=self.model, max_in_flight=min(header.max_in_flight, 4))  # type: ignore[attr-defined]
        for request in requests:
            self._take("StreamFrame", request, context)  # type: ignore[attr-defined]
            self.gate.wait(20)
            response = frames_pb2.StreamEncodeResponse(
                sequence=request.sequence,
                frame_id=request.frame_id,
                acquisition_time_unix_ns=request.acquisition_time_unix_ns,
                dropped_count=self.drops,
            )
            data = from_array(request.images if request.images.dtype else request.frame, field="frame")
            if (data == -1).all():
                response.error_reason, response.error_message = InvalidFieldError.reason, "a frame of -1"
                response.error_field, response.error_retry_delay_s = "frame", 0.5
            else:
                response.model.CopyFrom(self.model)  # type: ignore[attr-defined]
                response.maps.extend(maps_of(header, data, explained=False))
            yield response


def maps_of(request: Any, frame: Any, *, explained: bool) -> list[frames_pb2.LatentMap]:
    """One map for each window that is asked for, 5 px where none is."""
    mean = float(np.where(np.isfinite(frame), frame, 0).mean(dtype=np.float64))
    found = []
    for number, window in enumerate(request.window_px or [length / request.pixel_size_nm for length in request.window_nm] or [5.0], 1):
        given = bool(request.centres_px.dtype)
        centres = from_array(request.centres_px, field="") if given else np.arange(12.0).reshape(6, 2)
        content = np.tile(np.array([window, mean], np.float32), (len(centres), 1))
        valid = np.arange(len(centres)) != 1
        content[~valid] = np.nan
        message = frames_pb2.LatentMap(
            window_px=window,
            window_nm=window * request.pixel_size_nm,
            stage=number,
            rows=0 if given else 2,
            columns=0 if given else 3,
            centres_px=to_array(centres),
            valid=to_array(valid),
            invalid_count=int((~valid).sum()),
            evaluated="windows" if given else "dense",
            content=to_array(content),
            content_sd=to_array(content),
            latent_mean=to_array(content),
            latent_sd=to_array(content),
            angle_rad=to_array(content[:, 0]),
        )
        if explained:
            message.explained.CopyFrom(to_array(content[:, 1]))
        found.append(message)
    return found
