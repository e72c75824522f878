"""How the client connects: an instrument PC idles for hours and then wants its answer at once."""

from __future__ import annotations

from dataclasses import dataclass, field

import grpc

from dichroic.errors import InvalidFieldError
from dichroic.v1 import latent_pb2_grpc, mechanism_pb2_grpc, models_pb2_grpc, transition_pb2_grpc

OPTIONS: tuple[tuple[str, int], ...] = (
    # The server's limit is checked before sending; an answer may be larger than what asked for it.
    ("grpc.max_receive_message_length", -1),
    ("grpc.max_send_message_length", -1),
    # A dead connection is noticed while nobody calls, and firewalls do not forget a live one.
    ("grpc.keepalive_time_ms", 60_000),
    ("grpc.keepalive_timeout_ms", 20_000),
    ("grpc.keepalive_permit_without_calls", 1),
    ("grpc.http2.max_pings_without_data", 0),
    # gRPC hangs up after half an hour without calls; the first image of the night should not pay for that.
    ("grpc.client_idle_timeout_ms", 2**31 - 1),
    # A restarted server is found again within seconds, not within gRPC's two minutes.
    ("grpc.initial_reconnect_backoff_ms", 200),
    ("grpc.min_reconnect_backoff_ms", 1_000),
    ("grpc.max_reconnect_backoff_ms", 3_000),
    # An instrument's server is on its own network; a proxy for the web is not the way there.
    ("grpc.enable_http_proxy", 0),
)

CLOSED = "This client is closed; make a new one."


@dataclass(frozen=True)
class Connection:
    """Where and how to connect.

    Attributes:
        address: "host:port".
        token: sent as `authorization: Bearer <token>` with every call; None: nothing is sent.
        tls_root_certificates: PEM of the authorities to trust, which also turns TLS on; b"" trusts gRPC's own list; None: plain.
    """

    address: str
    token: str | None = field(default=None, repr=False)
    tls_root_certificates: bytes | None = field(default=None, repr=False)

    def __post_init__(self) -> None:
        if not self.address or "://" in self.address:
            raise InvalidFieldError(f"The address is {self.address!r}; give host:port, such as microscope-gpu:50051.", field="address")
        if self.token is not None and not (self.token.isascii() and self.token.isprintable() and self.token):
            raise InvalidFieldError("The token is empty or holds characters that cannot be sent; give printable ASCII.", field="token")

    @property
    def metadata(self) -> tuple[tuple[str, str], ...]:
        """What goes with every call."""
        return () if self.token is None else (("authorization", f"Bearer {self.token}"),)

    def open(self) -> grpc.Channel:
        """A channel for blocking calls. It connects with the first call."""
        if self.tls_root_certificates is None:
            return grpc.insecure_channel(self.address, options=OPTIONS)
        return grpc.secure_channel(self.address, self._credentials(), options=OPTIONS)

    def open_async(self) -> grpc.aio.Channel:
        """A channel of the running event loop. It connects with the first call."""
        if self.tls_root_certificates is None:
            return grpc.aio.insecure_channel(self.address, options=OPTIONS)
        return grpc.aio.secure_channel(self.address, self._credentials(), options=OPTIONS)

    def _credentials(self) -> grpc.ChannelCredentials:
        return grpc.ssl_channel_credentials(root_certificates=self.tls_root_certificates or None)


@dataclass(frozen=True)
class Stubs:
    """The services of one channel; of an asynchronous one, their methods are awaited."""

    latent: latent_pb2_grpc.LatentServiceStub
    mechanism: mechanism_pb2_grpc.MechanismServiceStub
    models: models_pb2_grpc.ModelServiceStub
    transition: transition_pb2_grpc.TransitionServiceStub

    @classmethod
    def on(cls, channel: grpc.Channel | grpc.aio.Channel) -> Stubs:
        """The stubs of a channel."""
        # Two calls that look the same: the generated overloads tell the kinds of channel apart.
        if isinstance(channel, grpc.aio.Channel):
            return cls(
                latent_pb2_grpc.LatentServiceStub(channel),
                mechanism_pb2_grpc.MechanismServiceStub(channel),
                models_pb2_grpc.ModelServiceStub(channel),
                transition_pb2_grpc.TransitionServiceStub(channel),
            )
        return cls(
            latent_pb2_grpc.LatentServiceStub(channel),
            mechanism_pb2_grpc.MechanismServiceStub(channel),
            models_pb2_grpc.ModelServiceStub(channel),
            transition_pb2_grpc.TransitionServiceStub(channel),
        )
