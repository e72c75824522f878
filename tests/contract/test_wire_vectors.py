"""Every message of the wire as bytes that were written once: whoever reads or writes them in another language may check against the same file.

`wire_vectors.json` holds for each message its fields (protobuf's JSON, each field set) and its bytes in hexadecimal. What stands in it stays: a
change there is a change to every caller. A new message or field gets its vector from `drawn`, as the failing test says.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from google.protobuf import json_format
from google.protobuf.descriptor import FieldDescriptor
from google.protobuf.message import Message
from google.protobuf.message_factory import GetMessageClass

from dichroic.v1 import array_pb2, frames_pb2, latent_pb2, mechanism_pb2, models_pb2, transition_pb2

VECTORS: dict[str, dict[str, Any]] = json.loads((Path(__file__).parent / "wire_vectors.json").read_text())
MESSAGES = {
    descriptor.name: GetMessageClass(descriptor)
    for module in (array_pb2, frames_pb2, latent_pb2, mechanism_pb2, models_pb2, transition_pb2)
    for descriptor in module.DESCRIPTOR.message_types_by_name.values()
}
INTEGERS = (FieldDescriptor.TYPE_INT64, FieldDescriptor.TYPE_ENUM)
SIMPLE: dict[int, Any] = {FieldDescriptor.TYPE_BOOL: lambda number: True, FieldDescriptor.TYPE_DOUBLE: lambda number: number + 0.25}


def drawn(message: Message) -> Message:
    """The message with every field set, each to something of its own."""
    for field in message.DESCRIPTOR.fields:
        if field.message_type is not None:
            drawn(getattr(message, field.name).add() if field.is_repeated else getattr(message, field.name))
            continue
        value: Any = f"{field.name} é"
        if field.type == FieldDescriptor.TYPE_BYTES:
            value = bytes(range(8))
        elif field.type in INTEGERS:
            value = 1 if field.type == FieldDescriptor.TYPE_ENUM else 1000 + field.number
        elif field.type in SIMPLE:
            value = SIMPLE[field.type](field.number)
        if field.is_repeated:
            getattr(message, field.name).extend([value, value])
        else:
            setattr(message, field.name, value)
    return message


def vector(message: Message) -> dict[str, Any]:
    """What the file holds of a message."""
    fields = json_format.MessageToDict(message, preserving_proto_field_name=True)
    return {"fields": fields, "hex": message.SerializeToString(deterministic=True).hex()}


def test_every_message_has_a_vector_and_every_vector_a_message() -> None:
    missing = {name: vector(drawn(kind())) for name, kind in MESSAGES.items() if name not in VECTORS}
    assert not missing, f"add to wire_vectors.json: {json.dumps(missing)}"
    assert VECTORS.keys() == MESSAGES.keys()


@pytest.mark.parametrize("name", MESSAGES)
def test_the_bytes_of_a_message_are_what_they_were(name: str) -> None:
    written = VECTORS[name]
    read = MESSAGES[name].FromString(bytes.fromhex(written["hex"]))
    assert json_format.MessageToDict(read, preserving_proto_field_name=True) == written["fields"]
    assert json_format.ParseDict(written["fields"], MESSAGES[name]()).SerializeToString(deterministic=True).hex() == written["hex"]


@pytest.mark.parametrize("name", MESSAGES)
def test_a_vector_sets_every_field_of_its_message(name: str) -> None:
    lacking = sorted({field.name for field in MESSAGES[name].DESCRIPTOR.fields} - VECTORS[name]["fields"].keys())
    assert lacking == [], f"the vector lacks them; {json.dumps(vector(drawn(MESSAGES[name]())))} has all"
