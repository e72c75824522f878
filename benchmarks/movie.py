"""A movie larger than memory allows: drawn as a zarr store, encoded by `python -m training movie`, killed half-way, gone on with, and checked.

`python -m benchmarks.movie [--quick] [--folder DIR] [--bundles DIR --model NAME] [--stride-px S] [--out benchmarks/results/movie.json]`

2500 frames of 1024² float32 are 10.5 GB; drawn, they compress to a small part of that on the disk. Peak memory is the resident set of the command as
the kernel counts it, and of the service's processes together as seen every 20 ms. Without --bundles a small model of the tests encodes: what is shown
is memory and completeness, not speed. Frames answered are the service's own count.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import zarr

from benchmarks.processes import high_water_bytes
from dichroic import Client
from training.local_service import ROOT, LocalService, running_service
from training.movies.maps_file import reopen

RESULT = ROOT / "benchmarks" / "results" / "movie.json"
FRAMES, SIDE, QUICK_FRAMES = 2500, 1024, 72
# Issue 6's, of the command.
TARGET_BYTES = 1.5e9
# Levels of grey: few, so that blosc makes little of a frame.
LEVELS = 64
# What the disk must have: the movie as it is stored and the maps, several times over.
SPARE = 3
# Frames whose maps are compared with EncodeFrame's.
COMPARED = 5


@dataclass
class Watched:
    """A process with its children: the largest sum of their resident sets, bytes."""

    pids: set[int]
    peak_bytes: int = 0
    ended: threading.Event = field(default_factory=threading.Event)

    def watch(self) -> None:
        """Until it is told to end."""
        while not self.ended.wait(0.02):
            self.peak_bytes = max(self.peak_bytes, sum(map(resident_bytes, self.pids)))


def main() -> None:
    """Runs it, prints a table and writes the JSON."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help=f"{QUICK_FRAMES} frames, 0.3 GB; nothing is written into results/")
    parser.add_argument("--folder", type=Path, help="where the movie lies, and stays (default: a temporary folder)")
    parser.add_argument("--bundles", type=Path, help="whose model encodes (default: a small one of the tests)")
    parser.add_argument("--model", default="frames")
    parser.add_argument("--window-px", type=float, default=32.0, metavar="W")
    parser.add_argument("--stride-px", type=float, default=32.0, metavar="S")
    parser.add_argument("--out", type=Path, help=f"default: {RESULT.relative_to(ROOT)}")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="dichroic-movie-", dir=arguments.folder) as scratch:
        folder = arguments.folder or Path(scratch)
        movie = draw_movie(folder / f"movie-{'quick' if arguments.quick else 'full'}.zarr", QUICK_FRAMES if arguments.quick else FRAMES)
        found = measured(movie, arguments, Path(scratch))
    print(table_of(found))
    out = arguments.out or (None if arguments.quick else RESULT)
    if out is not None:
        out.write_text(json.dumps(found, indent=1) + "\n")


def draw_movie(path: Path, frames: int) -> Path:
    """Stripes that drift and turn, and a spot that wanders through them, in a few levels of grey. One that is there is used again."""
    done = path.with_suffix(".drawn")
    if done.exists():
        return path
    movie = zarr.create_array(
        path,
        shape=(frames, SIDE, SIDE),
        chunks=(1, SIDE, SIDE),
        dtype="float32",
        compressors=zarr.codecs.BloscCodec(cname="zstd", clevel=1, shuffle="shuffle"),
        overwrite=True,
    )
    y, x = np.mgrid[:SIDE, :SIDE].astype(np.float32) / SIDE
    for t in range(frames):
        turn = 2 * np.pi * t / frames
        frame = np.sin(60 * (x * np.cos(turn) + y * np.sin(turn)) + 0.1 * t)
        frame += 2 * np.exp(-200 * ((x - 0.5 - 0.3 * np.cos(turn)) ** 2 + (y - 0.5 - 0.3 * np.sin(turn)) ** 2))
        movie[t] = np.clip(np.round((frame + 1) / 4 * LEVELS) / LEVELS, 0, 1)
        if t == 0:
            check_disk(path, frames)
    done.touch()
    return path


def check_disk(path: Path, frames: int) -> None:
    """Raises SystemExit where the disk has no room for such frames as the first."""
    needed, free = SPARE * frames * stored_bytes(path), shutil.disk_usage(path).free
    if free < needed:
        raise SystemExit(f"{path.parent} has {free / 1e9:.1f} GB free, and {needed / 1e9:.1f} GB are needed; name another with --folder.")


def measured(movie: Path, arguments: argparse.Namespace, scratch: Path) -> dict[str, Any]:
    """Kills a run half-way, goes on with it, and counts."""
    bundles = arguments.bundles
    if bundles is None:
        from tests.toy_frames import write_frames  # noqa: PLC0415 - only where no bundle is named

        bundles = scratch / "bundles"
        write_frames(bundles, name=arguments.model)
    shape = zarr.open_array(movie, mode="r").shape
    maps = scratch / "maps.zarr"
    with running_service(bundles) as service, watched(descendants(os.getpid())) as serving:
        place = ["--server", service.grpc_address, "--window-px", str(arguments.window_px), "--stride-px", str(arguments.stride_px)]
        command = [sys.executable, "-m", "training", "movie", str(movie), "--model", arguments.model, "--out", str(maps), *place]
        before = answered(service)
        killed = run(command, maps, kill_at=shape[0] // 2)
        kept, at_kill = count_done(maps), settled(service) - before
        resumed = run([*command, "--resume"], maps, kill_at=None)
        in_all = settled(service) - before
        differ = differences(movie, maps, service, arguments)
    with reopen(maps, read_only=True) as file:
        complete = bool(file.done.all()) and all(bool(np.asarray(group["valid"][t]).all()) for group in file.groups for t in range(shape[0]))
    peak = max(killed["peak_bytes"], resumed["peak_bytes"])
    return {
        "movie_bytes": int(np.prod(shape)) * 4,
        "movie_stored_bytes": stored_bytes(movie),
        "frames": shape[0],
        "killed": killed | {"frames_kept": kept, "frames_answered": at_kill},
        "resumed": resumed | {"frames_answered": in_all - at_kill},
        "encoded_twice": in_all - shape[0],
        "encoded_twice_by_the_resumed_run": in_all - at_kill - (shape[0] - kept),
        "complete": complete,
        "largest_difference_from_encode_frame": differ,
        "peak_command_bytes": peak,
        "peak_service_bytes": serving.peak_bytes,
        "target_command_bytes": TARGET_BYTES,
        "cpus": os.cpu_count(),
        "load": os.getloadavg(),
    }


def run(command: list[str], maps: Path, kill_at: int | None) -> dict[str, Any]:
    """Runs the command, and kills it once so many frames are done. Raises SystemExit where it fails."""
    started = time.monotonic()
    process = subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    peak, looked = 0, started
    while process.poll() is None:
        # wait4 would count what this process has in memory before the other begins.
        peak = max(peak, high_water_bytes(process.pid))
        time.sleep(0.02)
        if kill_at is not None and time.monotonic() > looked + 1:
            looked = time.monotonic()
            if count_done(maps) >= kill_at:
                process.send_signal(signal.SIGKILL)
                process.wait()
    _, errors = process.communicate()
    if process.returncode != (0 if kill_at is None else -signal.SIGKILL):
        raise SystemExit(f"{command} ended with {process.returncode}:\n{errors.decode()[-2000:]}")
    return {"peak_bytes": peak, "seconds": time.monotonic() - started}


def count_done(maps: Path) -> int:
    """How many frames are in the file; 0 where there is none yet."""
    if not maps.exists():
        return 0
    with reopen(maps, read_only=True) as file:
        return int(file.done.sum())


def differences(movie: Path, maps: Path, service: LocalService, arguments: argparse.Namespace) -> float:
    """The largest difference of a few frames' latents from what EncodeFrame answers."""
    frames, largest = zarr.open_array(movie, mode="r"), 0.0
    where: dict[str, Any] = {"window_px": arguments.window_px, "stride_px": arguments.stride_px}
    with Client(service.grpc_address) as client, reopen(maps, read_only=True) as file:
        for t in np.linspace(0, frames.shape[0] - 1, COMPARED).astype(int):
            told = client.encode_frame(arguments.model, np.asarray(frames[int(t)]), **where).maps[0].latent_mean
            written = np.asarray(file.groups[0]["latent_mean"][int(t)])
            largest = max(largest, float(np.abs(written.reshape(told.shape) - told).max()))
    return largest


def answered(service: LocalService) -> int:
    """Frames of streams that the service has encoded."""
    with urllib.request.urlopen(f"{service.http_url}/metrics", timeout=30) as page:  # noqa: S310 - loopback
        counts = re.findall(r'dichroic_stream_frames_total\{[^}]*outcome="answered"\} (\S+)', page.read().decode())
    return int(sum(map(float, counts)))


def settled(service: LocalService) -> int:
    """The same, once it no longer changes: the stream of a killed command ends a little later."""
    count, later = -1, answered(service)
    while count != later:
        time.sleep(1)
        count, later = later, answered(service)
    return count


@contextmanager
def watched(pids: set[int]) -> Iterator[Watched]:
    """Looks at the processes' memory until the block ends."""
    found = Watched(pids)
    thread = threading.Thread(target=found.watch, daemon=True)
    thread.start()
    try:
        yield found
    finally:
        found.ended.set()
        thread.join()


def descendants(pid: int) -> set[int]:
    """The children of a process, and theirs."""
    found: set[int] = set()
    for children in Path(f"/proc/{pid}/task").glob("*/children"):
        for child in map(int, children.read_text().split()):
            found |= {child} | descendants(child)
    return found


def resident_bytes(pid: int) -> int:
    """Of one process; 0 once it is gone."""
    try:
        return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")
    except (OSError, IndexError):
        return 0


def stored_bytes(path: Path) -> int:
    """What a folder's files take."""
    return sum(file.stat().st_size for file in path.rglob("*") if file.is_file())


def table_of(found: dict[str, Any]) -> str:
    """Markdown."""
    killed, resumed = found["killed"], found["resumed"]
    verdict = "met" if found["peak_command_bytes"] <= found["target_command_bytes"] else "missed"
    rows = [
        ("movie", f"{found['frames']} frames, {found['movie_bytes'] / 1e9:.2f} GB ({found['movie_stored_bytes'] / 1e9:.2f} GB on the disk)"),
        ("peak memory of the command", f"{found['peak_command_bytes'] / 1e9:.2f} GB (target {found['target_command_bytes'] / 1e9:g}: {verdict})"),
        ("peak memory of the service", f"{found['peak_service_bytes'] / 1e9:.2f} GB"),
        ("killed", f"after {killed['seconds']:.0f} s: {killed['frames_kept']} frames kept of {killed['frames_answered']} answered"),
        ("resumed", f"{resumed['frames_answered']} frames in {resumed['seconds']:.0f} s"),
        ("encoded twice", f"{found['encoded_twice']}, all on their way at the kill; by the resumed run {found['encoded_twice_by_the_resumed_run']}"),
        ("complete", f"{found['complete']}; largest difference from EncodeFrame {found['largest_difference_from_encode_frame']:.1e}"),
    ]
    return "\n".join(["| | |", "|---|---|", *(f"| {name} | {value} |" for name, value in rows)])


if __name__ == "__main__":
    main()
