"""A reload every second for a minute under load, without one error: `python -m tests.long.reload_minute [--seconds 60]`.

Eight callers ask without pause and compare every answer with what the weights say; an administrator reloads the model once a second, and every fifth
time swaps the bundle's folder for one with other weights, so that answers of either version are right and nothing in between is.
"""

from __future__ import annotations

import argparse
import asyncio
import shutil
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

from dichroic import AsyncClient
from tests.e2e.conftest import ADMIN, SMALL, serve
from tests.toy_bundle import Toy, write_toy

OTHER = Toy(side=SMALL.side, seed=99)


async def measure(address: str, bundles: Path, seconds: float) -> dict[str, int]:
    """Counts answers, reloads and swaps; the first error ends it."""
    counts = {"answers": 0, "reloads": 0, "swaps": 0}
    ends = time.monotonic() + seconds
    random = np.random.default_rng(0)
    images = random.integers(0, 256, (4, SMALL.side, SMALL.side), dtype=np.uint8)
    rights = [SMALL.latent_mean(images), OTHER.latent_mean(images)]

    async def caller(client: AsyncClient) -> None:
        while time.monotonic() < ends:
            answer = (await client.encode("toy", images)).latent_mean
            if not any(np.allclose(answer, right, atol=1e-5) for right in rights):
                raise AssertionError("an answer belongs to neither version")
            counts["answers"] += 1

    async def administrator(client: AsyncClient) -> None:
        while time.monotonic() < ends:
            if counts["reloads"] % 5 == 4:
                await asyncio.to_thread(swap, bundles, OTHER if counts["swaps"] % 2 == 0 else SMALL)
                counts["swaps"] += 1
            await client.load_model("toy")
            counts["reloads"] += 1
            await asyncio.sleep(1)

    async with AsyncClient(address) as client, AsyncClient(address, token=ADMIN) as admin:
        await asyncio.gather(administrator(admin), *[caller(client) for _ in range(8)])
    return counts


def swap(bundles: Path, toy: Toy) -> None:
    """Puts another bundle in the place of version 1: written elsewhere on the same file system, then renamed."""
    with tempfile.TemporaryDirectory(dir=bundles.parent) as folder:
        written = write_toy(Path(folder), toy)
        old = Path(folder) / "old"
        shutil.move(bundles / "toy" / "1", old)
        shutil.move(written, bundles / "toy" / "1")


def main() -> int:
    """Runs it; 0 when nothing went wrong."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=float, default=60)
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as home:
        bundles = Path(home) / "bundles"
        write_toy(bundles, SMALL)
        with serve(bundles, Path(home) / "log", watch_s="0") as service:
            counts = asyncio.run(measure(service.address, bundles, arguments.seconds))
    print(f"{counts['answers']} answers, {counts['reloads']} reloads, {counts['swaps']} of them with other weights, 0 errors")
    return 0


if __name__ == "__main__":
    sys.exit(main())
