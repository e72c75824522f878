"""Classes, conditions, targets and grids, against the service as a user runs it."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import urllib.request
from pathlib import Path

import numpy as np

from dichroic import Client
from tests.e2e.conftest import FAMILY, ROOT, Service

IMAGES = np.random.default_rng(0).random((6, 8, 8)).astype(np.float32)
CONDITIONS = np.array([[0.5, index % 3] for index in range(6)], np.float32)


def test_client_and_toy_agree_on_every_call(service: Service) -> None:
    with Client(service.address) as client:
        encoding = client.encode("family", IMAGES, conditions=CONDITIONS)
        np.testing.assert_allclose(encoding.content, FAMILY.content(IMAGES, CONDITIONS), atol=1e-4)
        classification = client.classify("family", IMAGES)
        np.testing.assert_allclose(classification.class_probabilities, FAMILY.probabilities(IMAGES), atol=1e-5)
        np.testing.assert_array_equal(classification.class_index, encoding.class_index)
        np.testing.assert_allclose(client.regress("family", IMAGES).target_mean, FAMILY.target_mean(IMAGES), atol=1e-4)
        decoding = client.decode("family", content=encoding.content, class_index=encoding.class_index, conditions=CONDITIONS)
        np.testing.assert_allclose(decoding.images, FAMILY.decode(encoding.content, encoding.class_index, CONDITIONS), atol=1e-3)
        seen = client.reconstruct("family", IMAGES, conditions=CONDITIONS)
        assert ((seen.p_value > 0) & (seen.p_value <= 1)).all()
        np.testing.assert_array_equal(seen.class_index, encoding.class_index)


def test_command_picture_and_client_show_one_grid(service: Service, tmp_path: Path) -> None:
    with Client(service.address) as client:
        grid = client.decode_manifold("family", counts=(3, 4), class_index=2, conditions=[1.0, 0])
    assert grid.images is not None
    command = [sys.executable, "-m", "dichroic", "manifold", "family", "--counts", "3", "4", "--class-index", "2", "--conditions", "1", "0"]
    environment = os.environ | {"PYTHONPATH": str(ROOT), "DICHROIC_SERVER": service.address}
    subprocess.run([*command, "--out", "grid.npz"], cwd=tmp_path, env=environment, check=True, timeout=60)
    with np.load(tmp_path / "grid.npz") as found:
        np.testing.assert_array_equal(found["images"], grid.images)
    body = json.dumps({"count_1": 3, "count_2": 4, "class_index": [2], "conditions": [[1.0, 0]]}).encode()
    request = urllib.request.Request(f"{service.url}/v1/models/family/decode_manifold", body, {"Accept": "image/png"})  # noqa: S310 - loopback
    with urllib.request.urlopen(request, timeout=30) as answer:  # noqa: S310 - loopback
        data = answer.read()
    assert (answer.headers["Content-Type"], data[:8]) == ("image/png", b"\x89PNG\r\n\x1a\n")
    assert np.frombuffer(data[16:24], ">u4").tolist() == [4 * 8, 3 * 8]
