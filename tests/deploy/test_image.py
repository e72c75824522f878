"""What the Dockerfile promises of the image it makes; the build itself refuses an image that holds torch or cannot import its service."""

import json
import re
from pathlib import Path

ROOT = Path(__file__).parents[2]


def instructions() -> list[tuple[str, str]]:
    """(instruction, argument) of the final stage, continuation lines joined."""
    text = re.sub(r"\\\n", " ", "\n".join(line for line in (ROOT / "Dockerfile").read_text().splitlines() if not line.startswith("#")))
    pairs = [(line.split(None, 1)[0], line.split(None, 1)[1]) for line in text.splitlines() if line.strip()]
    last = max(index for index, (instruction, _) in enumerate(pairs) if instruction == "FROM")
    return pairs[last:]


def only(instruction: str) -> str:
    (argument,) = [argument for name, argument in instructions() if name == instruction]
    return argument


def environment() -> dict[str, str]:
    return dict(pair.split("=", 1) for name, argument in instructions() if name == "ENV" for pair in argument.split())


def test_the_server_is_the_process_that_gets_the_signal() -> None:
    assert json.loads(only("ENTRYPOINT")) == ["python", "-m", "services"]
    assert only("STOPSIGNAL") == "SIGTERM"


def test_the_user_is_a_number_that_is_not_root() -> None:
    user, _, group = only("USER").partition(":")
    assert int(user) > 0
    assert int(group) > 0


def test_everything_that_is_written_is_written_to_tmp_and_sessions_to_their_volume() -> None:
    variables = environment()
    assert variables["DICHROIC_SESSIONS"] == "/sessions"
    # Owned by the user that serves, so that a new volume there is too.
    assert ("COPY", f"--from=build --chown={only('USER')} /empty /sessions") in instructions()
    assert {variables[name].split("/")[1] for name in ("HOME", "BENTOML_HOME")} == {"tmp"}
    assert variables["PYTHONDONTWRITEBYTECODE"] == "1"


def test_the_image_serves_its_own_bundles_unless_others_are_mounted_there() -> None:
    assert environment()["DICHROIC_BUNDLES"] == "/bundles"
    assert ("COPY", "bundles /bundles") in instructions()


def test_the_ports_told_are_the_ports_taken() -> None:
    assert only("EXPOSE").split() == [environment()["DICHROIC_HTTP_PORT"], environment()["DICHROIC_GRPC_PORT"]]


def test_health_is_asked_without_a_shell_or_curl() -> None:
    command = json.loads(only("HEALTHCHECK").partition("CMD ")[2])
    assert command[0] == "python"
    assert "/readyz" in command[-1]


def test_neither_runtime_nor_framework_reports_on_its_user() -> None:
    assert environment()["BENTOML_DO_NOT_TRACK"] == "True"
    assert environment()["ORT_DISABLE_TELEMETRY"] == "1"


def test_the_builder_is_sent_neither_training_nor_tests() -> None:
    lines = [line for line in (ROOT / ".dockerignore").read_text().splitlines() if line and not line.startswith("#")]
    assert lines[0] == "*"
    sent = {line.removeprefix("!") for line in lines if line.startswith("!")}
    assert sent == {"pyproject.toml", "constraints.txt", "README.md", "LICENSE", "dichroic", "services", "bundles"}
