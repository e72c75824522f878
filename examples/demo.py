"""From a scan to answers: starts the service, asks it over gRPC and HTTP as acquisition software would, prints a table and draws pictures.

    python examples/demo.py [--image FILE] [--channel QUANTITY] [--model domains] [--stride 8] [--out demo.png]

Without --image it draws a ferroelectric domain pattern, with a damaged spot that the model has never seen the like of.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
import urllib.request
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from dichroic import Client, Encoding, ModelInfo, Reconstruction
from examples.asking import told
from examples.family import ask_family
from examples.picture import draw
from training.data.dataset import DataSet
from training.data.domains import draw_domains
from training.data.patches import Patches, cut_patches
from training.data.readers import read_data
from training.errors import InputError
from training.local_service import LocalService, running_service

NDArray = np.ndarray[Any, np.dtype[Any]]
DECODE_ANGLES_DEG = (-60, -30, 0, 30, 60)


@dataclass(frozen=True)
class Answers:
    """What the service said of one scan."""

    info: ModelInfo
    patches: Patches
    encoding: Encoding
    reconstruction: Reconstruction
    decoded: NDArray
    seconds: dict[str, float]


def main() -> int:
    """Runs the demo.

    Returns:
        0.

    Raises:
        SystemExit: 2 for bad input, 130 after Ctrl-C.
    """
    arguments = command_line().parse_args()
    with told("interrupted; nothing was drawn"):
        scan = draw_domains() if arguments.image is None else read_data(arguments.image, arguments.channel)
        image = one_image(scan)
        with running_service(arguments.bundles) as service:
            print(f"service up in {service.startup_s:.1f} s: gRPC {service.grpc_address}, HTTP {service.http_url}\n")
            answers = ask(service, arguments.model, image, arguments.stride)
            warn(scan, answers.info)
            show(scan, answers)
            ask_over_http(service, arguments.model, answers)
            family = arguments.out.with_name(f"{arguments.out.stem}-family.png")
            drawn = ask_family(service.grpc_address, family)
    draw(arguments.out, image, scan, answers, angles_deg=DECODE_ANGLES_DEG)
    print(f"\npicture: {arguments.out}" + (f", {family}" if drawn else ""))
    return 0


def command_line() -> argparse.ArgumentParser:
    """The demo's options."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--image", type=Path, help="any file that training.data reads: .h5, .npy, .npz, .tif, .dm4, .emd, .zarr, .ibw, …")
    parser.add_argument("--channel", help="which channel of the file, by its quantity")
    parser.add_argument("--model", default="domains", help="of the bundles (default %(default)s)")
    parser.add_argument("--stride", type=int, default=8, help="distance of neighbouring patches, pixels")
    parser.add_argument("--bundles", type=Path, default=Path(__file__).parents[1] / "bundles")
    parser.add_argument("--out", type=Path, default=Path("demo.png"))
    return parser


def one_image(scan: DataSet) -> NDArray:
    """The scan's only image, (h, w) or (h, w, c), as a type that the service takes.

    Raises:
        InputError: the file holds no image, or several.
    """
    images = scan.arrays.get("images")
    if images is None or len(images) != 1:
        found = "none" if images is None else f"{len(images)}"
        raise InputError("NOT_ONE_IMAGE", f"The demo shows one scan; {scan.source} holds {found}. Give a file with a single image.")
    return images[0] if images.dtype in (np.uint8, np.uint16) else images[0].astype(np.float32)


def ask(service: LocalService, model: str, image: NDArray, stride_px: int) -> Answers:
    """Cuts the scan into patches of the size the model was trained on, and asks for all there is to know about them."""
    seconds: dict[str, float] = {}

    def timed(name: str, answer: Any) -> Any:
        started = time.perf_counter()
        found = answer()
        seconds[name] = time.perf_counter() - started
        return found

    with Client(service.grpc_address) as client:
        info = client.model(model)
        check_range(image, info)
        patches = cut_patches(image, info.manifest["latent"]["image_height_px"], stride_px)
        encoding = timed("encode", lambda: client.encode(model, patches.images, frame_id="demo"))
        reconstruction = timed("reconstruct", lambda: client.reconstruct(model, patches.images, progress=progress))
        # The content of the best-known patch, shown at angles of our choice.
        typical = encoding.content[int(np.argmin(reconstruction.error))]
        angles = np.radians(DECODE_ANGLES_DEG).astype(np.float32)
        decoded = timed("decode", lambda: client.decode(model, content=np.tile(typical, (len(angles), 1)), angle_rad=angles).images)
    return Answers(info, patches, encoding, reconstruction, decoded, seconds)


def check_range(image: NDArray, info: ModelInfo) -> None:
    """Stops before answers that mean nothing: values of another unit than the model's.

    Raises:
        InputError: the middle 98 % of the values reach ten ranges of the model beyond it, or fill less than a hundredth of it.
    """
    preprocessing = info.manifest["preprocessing"]
    if image.dtype != np.float32 and preprocessing["integer_images"] == "full_scale":
        return
    low, high = min(preprocessing["input_low"]), max(preprocessing["input_high"])
    first, last = (float(value) for value in np.percentile(image, (1, 99)))
    if first < low - 10 * (high - low) or last > high + 10 * (high - low) or last - first < 0.01 * (high - low):
        takes = f"{info.manifest['name']} takes {low:.3g} to {high:.3g} {preprocessing['unit']}"
        message = f"The image's values lie in {first:.3g} to {last:.3g}; the model {takes}. Convert the unit, or train on data like this."
        raise InputError("OUT_OF_RANGE", message)


def progress(done: int, total: int) -> None:
    """One line on the screen that is written over; only the last one where nobody looks."""
    if done == total or sys.stderr.isatty():
        start, end = ("\r" if sys.stderr.isatty() else ""), ("\n" if done == total else "")
        print(f"{start}reconstructing {done} of {total} patches", end=end, file=sys.stderr, flush=True)


def warn(scan: DataSet, info: ModelInfo) -> None:
    """Says where the scan is not what the model was trained on: the answers are then to be taken with care."""
    unit = info.manifest["preprocessing"]["unit"]
    if scan.unit not in (unit, "unknown"):
        print(f"note: the scan is in {scan.unit}, the model was trained on {unit}")
    trained, here = info.manifest["latent"]["pixel_size_nm"], scan.arrays.get("pixel_size_nm")
    if trained and here is not None and not 0.8 < float(np.mean(here)) / trained < 1.25:
        print(f"note: the scan has pixels of {float(np.mean(here)):.3g} nm, the model was trained at {trained:.3g} nm")


def show(scan: DataSet, answers: Answers) -> None:
    """The table: how the patches are spread, and some of them."""
    encoding, reconstruction, patches = answers.encoding, answers.reconstruction, answers.patches
    model = encoding.model
    print(
        f"{scan.source} {scan.quantity}".strip()
        + f": {len(patches.images)} patches of {patches.images.shape[1]} px, model {model.name} {model.version}"
    )
    print(f"digest {model.digest[:16]}, device {answers.info.device}")
    print("  ".join(f"{name} {taken * 1e3:.0f} ms" for name, taken in answers.seconds.items()) + "\n")
    novel = np.zeros(len(patches.images), dtype=bool) if reconstruction.novel is None else reconstruction.novel
    columns = f"{'row':>5}{'col':>5}{'angle °':>9}{'± °':>6}{'down px':>9}{'right px':>9}  {'content':<16}{'error':>8}  novel"
    print(columns)
    order = np.argsort(reconstruction.error)
    for index in [*order[:4], *order[len(order) // 2 - 1 : len(order) // 2 + 1], *order[-4:]]:
        print(row(answers, int(index), bool(novel[index])))
    if reconstruction.error_threshold is not None and reconstruction.novel_false_alarm_rate is not None:
        share = f"{reconstruction.novel_false_alarm_rate:.0%} of held-out patches lie above"
        print(f"\nnovel: {novel.sum()} of {len(novel)} patches (error above {reconstruction.error_threshold:.4f}; {share})")


def row(answers: Answers, index: int, novel: bool) -> str:
    """One patch as a line of the table; a dash where the model has no such latent."""
    encoding = answers.encoding
    numbers = [
        (encoding.angle_rad, 9, ".1f", 180 / np.pi),
        (encoding.angle_sd_rad, 6, ".1f", 180 / np.pi),
        (encoding.shift_down_px, 9, ".1f", 1),
        (encoding.shift_right_px, 9, ".1f", 1),
    ]
    pose = "".join(f"{'–':>{width}}" if values is None else f"{factor * values[index]:>{width}{form}}" for values, width, form, factor in numbers)
    content = " ".join(f"{value:+.2f}" for value in encoding.content[index][:3])
    place = f"{answers.patches.top_px[index]:>5}{answers.patches.left_px[index]:>5}"
    return f"{place}{pose}  {content:<16}{answers.reconstruction.error[index]:>8.4f}  {'yes' if novel else ''}"


def ask_over_http(service: LocalService, model: str, answers: Answers) -> None:
    """The same question for two patches as JSON, and whether the answer is the same."""
    images = answers.patches.images[:2]
    given = images.tolist() if images.dtype == np.float32 else {"dtype": images.dtype.name, "values": images.tolist()}
    url = f"{service.http_url}/v1/models/{model}/encode"
    request = urllib.request.Request(url, json.dumps({"images": given}).encode(), {"Content-Type": "application/json"})  # noqa: S310 - loopback
    with urllib.request.urlopen(request, timeout=30) as answer:  # noqa: S310 - loopback
        spoken = json.load(answer)
    difference = float(np.max(np.abs(np.array(spoken["latent_mean"]) - answers.encoding.latent_mean[:2])))
    print(f"\nPOST {url}: the same patches, greatest difference from gRPC {difference:.1g}")


if __name__ == "__main__":
    sys.exit(main())
