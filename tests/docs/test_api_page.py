"""docs/api.md names every call and every reason, with the codes the code uses."""

import re

import pytest

from dichroic.errors import BY_REASON
from dichroic.v1 import latent_pb2, mechanism_pb2, models_pb2, transition_pb2
from services.transport.errors import http_status
from tests.docs.page import PAGE

ROWS = {row[0]: row[1:] for row in re.findall(r"^\| `([A-Z_]+)` \| (\S+) \| (\S+) \| `(\w+)` \|", PAGE, flags=re.MULTILINE)}


def test_every_rpc_is_there() -> None:
    for module in (latent_pb2, mechanism_pb2, models_pb2, transition_pb2):
        for service in module.DESCRIPTOR.services_by_name.values():
            for method in service.methods:
                assert f"`{service.name}.{method.name}`" in PAGE


@pytest.mark.parametrize("reason", sorted(BY_REASON))
def test_every_reason_is_there_with_its_codes(reason: str) -> None:
    status, http, name = ROWS[reason]
    kind = BY_REASON[reason]
    assert name == kind.__name__
    if status != "–":
        assert status == kind.status
        error = kind("step", "CAUSE", "message") if name == "BundleRefusedError" else kind("message")  # type: ignore[call-arg]
        assert int(http) == http_status(error)


def test_no_reason_is_made_up() -> None:
    assert ROWS.keys() == BY_REASON.keys()
