"""Everything that can be set, with its environment variable, default and unit, in one place."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

from pydantic import BeforeValidator, Field, SecretStr
from pydantic_settings import BaseSettings, SettingsConfigDict

# Where a worker that cannot start leaves its reason for `python -m services`, which sets this variable.
START_REPORT = "DICHROIC_START_REPORT"

Device = Literal["auto", "cpu", "cuda"]
Port = Annotated[int, Field(ge=0, le=65535)]


def _unset_when_blank(token: object) -> object:
    # Deployment templates write an unset variable as an empty one; an empty token would let everybody in.
    return None if isinstance(token, str) and not token.strip() else token


AdminToken = Annotated[SecretStr | None, BeforeValidator(_unset_when_blank)]
Seconds = Annotated[float, Field(ge=0, allow_inf_nan=False)]


class Settings(BaseSettings):
    """Read from DICHROIC_<NAME>, upper case: `bundles` is DICHROIC_BUNDLES."""

    model_config = SettingsConfigDict(env_prefix="DICHROIC_", env_file=None, extra="ignore", frozen=True)

    bundles: Path = Field(default=Path("bundles"), description="Folder of bundles: <name>/<version>/bundle.json.")
    device: Device = Field(default="auto", description="Where graphs run: auto (GPU if there is one), cpu, or cuda (refuse to start without it).")
    gpu_memory_bytes: Annotated[int, Field(ge=0)] = Field(default=0, description="Most GPU memory one graph's arena may take; 0 = no limit.")
    host: str = Field(default="127.0.0.1", description="Address both servers listen on; 0.0.0.0 for every interface.")
    http_port: Annotated[int, Field(ge=1, le=65535)] = Field(default=3000, description="Port of HTTP/JSON, probes and metrics.")
    grpc_port: Port = Field(default=50051, description="Port of gRPC; 0 takes a free one.")
    max_message_bytes: Annotated[int, Field(ge=1 << 16, le=(1 << 31) - 1)] = Field(default=64 << 20, description="Largest request received.")
    intra_op_threads: Annotated[int, Field(ge=1)] = Field(default=1, description="CPU threads one graph run uses.")
    queue_max_requests: Annotated[int, Field(ge=1)] = Field(default=1024, description="Most requests waiting or running, all models together.")
    queue_max_bytes: Annotated[int, Field(ge=1 << 16)] = Field(
        default=256 << 20, description="Most bytes of input and output arrays waiting or running, all models together."
    )
    max_batch: Annotated[int, Field(ge=1, le=65536)] = Field(
        default=256, description="Most rows one graph run takes, of windows of one frame 16 times as many; a bundle may say fewer."
    )
    default_timeout_s: Annotated[float, Field(gt=0, allow_inf_nan=False)] = Field(default=60.0, description="Deadline of a request that brings none.")
    drain_s: Seconds = Field(default=30.0, description="Seconds accepted work may take to finish after SIGTERM.")
    watch_s: Seconds = Field(default=2.0, description="Seconds between looks at the bundle folder; 0 = never look.")
    admin_token: AdminToken = Field(default=None, description="Bearer token that grants the admin role; unset = nobody has it.")
    load_timeout_s: Annotated[float, Field(gt=0, allow_inf_nan=False)] = Field(
        default=120.0, description="Seconds one bundle's golden replay and warm-up may run; longer is refused."
    )
    sessions: Path = Field(default=Path("sessions"), description="Folder of the journal of sessions; made when the first session is.")
    session_expiry_s: Annotated[float, Field(gt=0, allow_inf_nan=False)] = Field(
        default=86400.0, description="Seconds after its last use that a session expires, where CreateSession does not say."
    )
    session_max_bytes: Annotated[int, Field(ge=1 << 20)] = Field(
        default=1 << 30, description="Most memory all sessions together take; those used longest ago are read from the journal again when used."
    )
    log_level: Literal["debug", "info", "warning", "error"] = Field(default="info", description="Least level that is logged.")
