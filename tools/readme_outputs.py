"""Runs README's tested blocks against the committed bundles and writes what they print below them; fills in the figures of benchmarks/results.

`python tools/readme_outputs.py`: so that no output or figure in README is typed by hand.
"""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

from training.local_service import LocalService, running_service  # noqa: E402 - the checkout comes first

README = ROOT / "README.md"
BLOCK = re.compile(r"(<!-- tested: (\w+) -->\n```\w+\n(.*?)```\n\n```text\n).*?(```)", flags=re.DOTALL)
FIGURES = re.compile(r"(<!-- figures: (\S+) -->\n).*?(<!-- end -->)", flags=re.DOTALL)


def main() -> None:
    """Rewrites README.md."""
    text = README.read_text(encoding="utf-8")
    with running_service(ROOT / "bundles") as service:
        text = BLOCK.sub(lambda found: found[1] + printed(found[2], found[3], service) + found[4], text)
    text = FIGURES.sub(lambda found: found[1] + table(json.loads((ROOT / found[2]).read_text(encoding="utf-8"))) + found[3], text)
    README.write_text(text, encoding="utf-8")


def printed(kind: str, code: str, service: LocalService) -> str:
    """What a block prints."""
    code = code.replace("localhost:50051", service.grpc_address).replace("http://localhost:3000", service.http_url)
    code = code.replace("localhost:3000", service.http_url.removeprefix("http://"))
    command = [sys.executable, "-c", code] if kind == "python" else ["bash", "-c", code]
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    return subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, check=True).stdout.rstrip("\n") + "\n"


def table(found: dict[str, Any]) -> str:
    """The serving benchmark as Markdown."""
    messages, one, clients = found["messages"], found["single_patch"], found["clients"]
    lines = [
        "| 256-patch messages, uint8 64 × 64, two in flight | graph alone, in process | service | ratio | of 1/(t_echo + t_model) |",
        "|---|---|---|---|---|",
    ]
    lines += [
        f"| {name} encoder | {row['in_process_patches_per_s']:.0f}/s | {row['service_patches_per_s']:.0f}/s | {row['service_over_in_process']:.2f} "
        f"| {row['service_over_echo_plus_model']:.2f} |"
        for name, row in messages.items()
    ]
    lines += [
        "",
        f"One patch, one call at a time: p50 {one['service_p50_ms']:.2f} ms; a bare grpc.aio echo of the same bytes, call by call beside it, "
        f"{one['echo_p50_ms']:.2f} ms; difference {one['difference_p50_ms']:.2f} ms.",
        "",
        "| clients, one patch in flight each | " + " | ".join(str(row["clients"]) for row in clients) + " |",
        "|---" * (len(clients) + 1) + "|",
        "| calls/s | " + " | ".join(f"{row['calls_per_s']:.0f}" for row in clients) + " |",
        "| p50, ms | " + " | ".join(f"{row['p50_ms']:.1f}" for row in clients) + " |",
        "| p99, ms | " + " | ".join(f"{row['p99_ms']:.1f}" for row in clients) + " |",
        "",
    ]
    return "\n".join(lines)


if __name__ == "__main__":
    main()
