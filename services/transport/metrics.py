"""The service's metrics, one definition for both protocols, and the page that shows them."""

from __future__ import annotations

import asyncio
import functools

from fastapi import Response
from prometheus_client import CONTENT_TYPE_LATEST, Counter, Gauge, Histogram, generate_latest

from services.engine.budget import QueueBudget
from services.mechanism import MechanismRoom
from services.transition.room import TransitionRoom

# From half a millisecond: a cached encode takes about one, and the defaults begin at five.
SECONDS = (0.0005, 0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0, 2.0, 5.0, 10.0, 30.0)
ROWS = (1, 2, 4, 8, 16, 32, 64, 128, 256, 512, 1024, 2048, 4096)

REQUESTS = Counter("dichroic_requests_total", "Requests answered.", ["protocol", "method", "model", "status"])
DURATION = Histogram("dichroic_request_duration_seconds", "From a request's receipt to its answer.", ["protocol", "method"], buckets=SECONDS)
QUEUE_WAIT = Histogram("dichroic_queue_wait_seconds", "From acceptance to the first rows being taken.", ["model", "signature"], buckets=SECONDS)
BATCH_ROWS = Histogram("dichroic_batch_rows", "Rows of one graph run, padding not counted.", ["model", "signature"], buckets=ROWS)
PADDED_ROWS = Counter("dichroic_padded_rows_total", "Rows of zeros that were run to fill a batch.", ["model", "signature"])
RUN_SECONDS = Histogram("dichroic_run_duration_seconds", "One graph run.", ["model", "signature"], buckets=SECONDS)
REJECTIONS = Counter("dichroic_rejections_total", "Requests refused or dropped without a run.", ["model", "reason"])
LOADS = Counter("dichroic_model_loads_total", "Loads by outcome: ready, or the step that refused.", ["model", "outcome"])
LOAD_SECONDS = Histogram("dichroic_model_load_duration_seconds", "One load, all steps.", ["model"], buckets=SECONDS)
QUEUE_REQUESTS = Gauge("dichroic_queue_requests", "Requests waiting or running.")
QUEUE_BYTES = Gauge("dichroic_queue_bytes", "Bytes of arrays waiting or running.")
STREAMS = Gauge("dichroic_streams", "Streams of frames that are open.")
STREAM_FRAMES = Counter("dichroic_stream_frames_total", "Frames of streams by outcome: answered, refused, dropped.", ["model", "outcome"])
SESSIONS = Gauge("dichroic_sessions", "Sessions in memory; others are in the journal alone.")
SESSION_BYTES = Gauge("dichroic_session_bytes", "Bytes that sessions take in memory.")
ACTION_TABLES = Gauge("dichroic_action_tables", "Tables of actions in memory, one for each model, current, voltage and image time.")

# Looking a label set up takes as long as counting; there are few of them, since no caller can make one.
_batch_rows = functools.cache(BATCH_ROWS.labels)
_run_seconds = functools.cache(RUN_SECONDS.labels)
_queue_wait = functools.cache(QUEUE_WAIT.labels)
_requests = functools.cache(REQUESTS.labels)
_duration = functools.cache(DURATION.labels)
_stream_frames = functools.cache(STREAM_FRAMES.labels)


class PrometheusObserver:
    """The engine's Observer (services/engine/observe.py)."""

    def batch_run(self, model: str, signature: str, rows: int, padded_rows: int, duration_s: float) -> None:
        """One run of a graph ended."""
        _batch_rows(model, signature).observe(rows)
        _run_seconds(model, signature).observe(duration_s)
        if padded_rows > rows:
            PADDED_ROWS.labels(model, signature).inc(padded_rows - rows)

    def work_taken(self, model: str, signature: str, waited_s: float) -> None:
        """A request's first rows were taken from the queue."""
        _queue_wait(model, signature).observe(waited_s)

    def rejected(self, model: str, reason: str) -> None:
        """A request was refused or dropped without a run."""
        REJECTIONS.labels(model, reason).inc()

    def model_loaded(self, model: str, outcome: str, duration_s: float) -> None:
        """A load ended."""
        LOADS.labels(model, outcome).inc()
        LOAD_SECONDS.labels(model).observe(duration_s)


def show_queue(budget: QueueBudget) -> None:
    """From here on the page asks the budget how much waits or runs, at the moment it is read."""
    QUEUE_REQUESTS.set_function(lambda: budget.requests)
    QUEUE_BYTES.set_function(lambda: budget.bytes)


def show_sessions(room: MechanismRoom) -> None:
    """Likewise of the room's sessions."""
    SESSIONS.set_function(lambda: room.sessions_in_memory)
    SESSION_BYTES.set_function(lambda: room.session_bytes)


def show_tables(room: TransitionRoom) -> None:
    """Likewise of the tables that plans are made of."""
    ACTION_TABLES.set_function(lambda: room.tables)


async def metrics_page() -> Response:
    """Everything in Prometheus' text format: this process, which is the only one that serves."""
    return Response(await asyncio.to_thread(generate_latest), media_type=CONTENT_TYPE_LATEST)


def count(protocol: str, method: str, model: str, status: str, duration_s: float) -> None:
    """One request answered. `model` must be a name that is known, or empty: a caller must not be able to make new label values."""
    _requests(protocol, method, model, status).inc()
    _duration(protocol, method).observe(duration_s)


def count_frame(model: str, outcome: str) -> None:
    """One frame of a stream. `model` as count's."""
    _stream_frames(model, outcome).inc()
