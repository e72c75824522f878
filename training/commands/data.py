"""`python -m training data NAME --out FILE`: data sets that are drawn here, or made from measured loops, written as .npz."""

from __future__ import annotations

import argparse
from inspect import signature
from pathlib import Path

from training.data.cards import STREAMS, draw_cards
from training.data.dataset import DataSet, save_npz
from training.data.domains import draw_domains
from training.data.dune import STREAMS as DUNE_STREAMS
from training.data.dune import draw_dune
from training.data.ferrosim import MODES, TARGETS, draw_ferrosim
from training.data.ferrosim import STREAMS as FERROSIM_STREAMS
from training.data.loops import SCALARISERS, loop_mechanisms, read_loops
from training.data.patch_spectra import STREAMS as PATCH_STREAMS
from training.data.patch_spectra import draw_patch_spectra
from training.data.patches_field import FORMS, draw_patches_field
from training.data.patches_field import STREAMS as FIELD_STREAMS
from training.data.stripes import draw_noise, draw_stripes
from training.errors import InputError


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """One sub-command for each data set, with its own options."""
    names = parser.add_subparsers(dest="name", required=True, metavar="NAME", help="which data set")
    cards = names.add_parser("cards", help="the four suits in known poses (benchmark of invariant models)")
    cards.add_argument("--n-per-suit", type=int, default=1000, metavar="N", help="images of each of the four suits (default %(default)s)")
    cards.add_argument("--angle-deg", type=float, default=120.0, metavar="A", help="angles are uniform in ±A degrees (default %(default)s)")
    cards.add_argument("--shear-deg", type=float, default=1.0, metavar="S", help="shears are uniform in ±S degrees (default %(default)s)")
    cards.add_argument("--shift", type=float, default=0.0, metavar="T", help="shifts are uniform in ±T of the side (default %(default)s)")
    cards.add_argument("--scale", type=float, nargs=2, default=(1.0, 1.0), metavar=("LOW", "HIGH"), help="range of sizes (default 1 1)")
    cards.add_argument("--side", type=int, default=48, metavar="PX", help="height and width, pixels (default %(default)s)")
    cards.add_argument("--stream", choices=STREAMS, default="train", help="which random stream of the seed (default %(default)s)")
    domains = names.add_parser("domains", help="one scan of ferroelectric domains with a damaged spot (the demo's input)")
    domains.add_argument("--side", type=int, default=256, metavar="PX", help="height and width, pixels (default %(default)s)")
    domains.add_argument(
        "--period-px", type=float, nargs=2, default=(10.0, 18.0), metavar=("LOW", "HIGH"), help="range of stripe periods (default 10 18)"
    )
    domains.add_argument("--damaged-spots", type=int, default=1, metavar="N", help="places of foreign texture, 0 to 4 (default %(default)s)")
    patches = names.add_parser("patch_spectra", help="patches with a domain wall, each with its hysteresis loop (image to spectrum)")
    patches.add_argument("--count", type=int, default=3000, metavar="N", help="patches (default %(default)s)")
    patches.add_argument("--side", type=int, default=24, metavar="PX", help="height and width, pixels (default %(default)s)")
    patches.add_argument("--points", type=int, default=64, metavar="L", help="of a loop, even (default %(default)s)")
    patches.add_argument("--image-noise", type=float, default=0.05, metavar="SD", help="of a contrast of about 1 (default %(default)s)")
    patches.add_argument("--spectrum-noise", type=float, default=0.03, metavar="SD", help="as a share of the amplitude (default %(default)s)")
    patches.add_argument("--stream", choices=PATCH_STREAMS, default="train", help="which random stream of the seed (default %(default)s)")
    field, ferrosim, loops = _add_mechanism_data(names)
    prior, mixture = _add_transition_data(names)
    makers = {cards: draw_cards, domains: draw_domains, patches: draw_patch_spectra, field: draw_patches_field, ferrosim: draw_ferrosim}
    stripes, noise = _add_scale_data(names)
    makers |= {prior: draw_dune, mixture: draw_dune, stripes: draw_stripes, noise: draw_noise}
    for each, make in {**makers, loops: _from_loops}.items():
        each.set_defaults(make=make)
    for each in makers:
        each.add_argument("--seed", type=int, default=0, help="the same seed gives the same bytes (default %(default)s)")
    for each in (*makers, loops):
        each.add_argument("--out", type=Path, required=True, metavar="FILE", help="where to write, a name ending in .npz")
        each.add_argument("--force", action="store_true", help="replace FILE if it is there")


def _add_mechanism_data(names: argparse._SubParsersAction[argparse.ArgumentParser]) -> tuple[argparse.ArgumentParser, ...]:
    """Those whose data is mechanisms and `y`."""
    field = names.add_parser("patches_field", help="patches × field × ageing, whose parts in y are known (benchmark of mechanisms)")
    field.add_argument("--count", type=int, default=600, metavar="N", help="points (default %(default)s)")
    field.add_argument("--form", choices=FORMS, default="additive", help="how the mechanisms meet (default %(default)s)")
    field.add_argument("--noise", type=float, default=0.1, metavar="SHARE", help="of the spread of what is to be found (default %(default)s)")
    field.add_argument("--angle-deg", type=float, default=180.0, metavar="A", help="patches are turned within ±A degrees (default %(default)s)")
    field.add_argument("--shear-deg", type=float, default=10.0, metavar="S", help="and sheared within ±S degrees (default %(default)s)")
    field.add_argument("--patch-noise", type=float, default=0.1, metavar="SD", help="of the pixels, of a contrast of 1 (default %(default)s)")
    field.add_argument("--side", type=int, default=24, metavar="PX", help="height and width of a patch, pixels (default %(default)s)")
    field.add_argument("--stream", choices=FIELD_STREAMS, default="train", help="which random stream of the seed (default %(default)s)")
    ferrosim = names.add_parser("ferrosim", help="simulated ferroelectric lattices with disorder, and their loops")
    ferrosim.add_argument("--count", type=int, default=600, metavar="N", help="simulations (default %(default)s)")
    ferrosim.add_argument("--mode", choices=MODES, default="uniaxial", help="which energy (default %(default)s)")
    ferrosim.add_argument("--n", type=int, default=10, metavar="SITES", help="along one side (default %(default)s)")
    ferrosim.add_argument("--field-disorder", type=float, default=0.6, metavar="EC", help="random field's largest spread (default %(default)s)")
    ferrosim.add_argument("--field-offset", type=float, default=0.3, metavar="EC", help="random field's largest mean (default %(default)s)")
    ferrosim.add_argument("--bond-disorder", type=float, default=0.5, metavar="SHARE", help="bonds lie within 1 ± SHARE (default %(default)s)")
    ferrosim.add_argument("--amplitude", type=float, nargs=2, default=(1.5, 2.5), metavar=("LOW", "HIGH"), help="of the field, Ec (default 1.5 2.5)")
    ferrosim.add_argument("--depolarisation", type=float, default=0.0, metavar="D", help="times the mean polarisation (default %(default)s)")
    ferrosim.add_argument("--samples", type=int, default=200, metavar="L", help="of a loop, a multiple of 4 (default %(default)s)")
    ferrosim.add_argument("--target", choices=TARGETS, default="area", help="which figure of a loop is y (default %(default)s)")
    ferrosim.add_argument("--stream", choices=FERROSIM_STREAMS, default="train", help="which random stream of the seed (default %(default)s)")
    loops = names.add_parser("loops", help="positions and neighbourhoods as mechanisms of a figure of your measured loops")
    loops.add_argument("--file", type=Path, required=True, metavar="FILE", help="HDF5 (NSID) with loops on a grid")
    loops.add_argument("--channel", metavar="QUANTITY", help="which data set of the file, where it has several")
    loops.add_argument("--target", choices=SCALARISERS, default="coercive_voltage", help="which figure of a loop is y (default %(default)s)")
    loops.add_argument("--neighbours", choices=SCALARISERS, help="whose map the patches show (default: the target's, of the neighbours alone)")
    loops.add_argument("--half-width", type=int, default=2, metavar="PX", help="of a patch, from its centre (default %(default)s)")
    loops.add_argument("--keep-failed", action="store_true", help="keep places whose own fit failed")
    loops.set_defaults(seed=0)
    return field, ferrosim, loops


def _add_transition_data(names: argparse._SubParsersAction[argparse.ArgumentParser]) -> tuple[argparse.ArgumentParser, ...]:
    """Those whose data is states of a silicon atom in graphene, dwells and outcomes."""
    prior = names.add_parser("dune-prior", help="hops of a silicon atom in graphene, by the human prior's rates")
    mixture = names.add_parser("dune-mixture", help="the same, by the rates of a random mixture")
    mixture.add_argument("--mixture", type=int, default=0, metavar="SEED", help="which mixture (default %(default)s)")
    for each, rates in ((prior, "prior"), (mixture, "mixture")):
        each.set_defaults(rates=rates)
        each.add_argument("--count", type=int, default=20_000, metavar="N", help="transitions (default %(default)s)")
        each.add_argument("--first-hop", action="store_true", help="outcomes are first hops, not where the atom is when the dwell is over")
        each.add_argument("--beam-radius", type=float, default=3.0, metavar="A", help="the beam is within A Å of the atom (default %(default)s)")
        each.add_argument("--dwell", type=float, nargs=2, default=(0.0, 5.0), metavar=("LOW", "HIGH"), help="range of dwells, s (default 0 5)")
        each.add_argument(
            "--current-na", type=float, nargs=2, default=(0.1, 0.1), metavar=("LOW", "HIGH"), help="range of currents (default 0.1 0.1)"
        )
        each.add_argument("--voltage-kv", type=float, nargs=2, default=(60.0, 60.0), metavar=("LOW", "HIGH"), help="of voltages (default 60 60)")
        each.add_argument("--stream", choices=DUNE_STREAMS, default="train", help="which random stream of the seed (default %(default)s)")
    return prior, mixture


def _add_scale_data(names: argparse._SubParsersAction[argparse.ArgumentParser]) -> tuple[argparse.ArgumentParser, ...]:
    """Images whose answers at every window length are known."""
    stripes = names.add_parser("stripes", help="stripes of one period at any phase and direction (known answers across length scales)")
    noise = names.add_parser("noise", help="white noise (known answers across length scales)")
    stripes.add_argument("--period-px", type=float, default=16.0, metavar="L", help="of the stripes (default %(default)s)")
    stripes.add_argument("--angle-deg", type=float, metavar="A", help="direction of all stripes, from the rows (default: each image its own)")
    stripes.add_argument("--noise", type=float, default=0.1, metavar="SD", help="of the pixels, of stripes from -1 to 1 (default %(default)s)")
    noise.add_argument("--sd", type=float, default=1.0, metavar="SD", help="of the pixels (default %(default)s)")
    for each in (stripes, noise):
        each.add_argument("--count", type=int, default=8, metavar="N", help="images (default %(default)s)")
        each.add_argument("--side", type=int, default=128, metavar="PX", help="height and width, pixels (default %(default)s)")
        each.add_argument("--pixel-size-nm", type=float, metavar="NM", help="written beside the images (default: none)")
    return stripes, noise


def run(arguments: argparse.Namespace) -> int:
    """Draws, or reads, and writes. Returns 0.

    Raises:
        InputError: an option out of range, or a file that cannot be or must not be written.
    """
    out: Path = arguments.out
    if out.suffix.lower() != ".npz":
        raise InputError("UNKNOWN_FORMAT", f"Drawn data is written as .npz; give --out a name with that ending, not {out.name}.")
    if arguments.seed < 0:
        raise InputError("INVALID_OPTION", f"A seed is 0 or more, not {arguments.seed}.")
    if out.exists() and not arguments.force:  # before the drawing, which may take a while
        raise InputError("FILE_EXISTS", f"{out} is already there; choose another name, or give --force to replace it.")
    data = _draw(arguments)
    save_npz(out, data, overwrite=arguments.force)
    print("\n".join([f"{out}: {_contents(data)}, unit {data.unit}", data.source, *data.notes]))
    return 0


def _contents(data: DataSet) -> str:
    """What a data set holds, in words."""
    if "images" in data.arrays:
        count, height, width = data.arrays["images"].shape
        return f"{count} {'image' if count == 1 else 'images'} of {height} × {width} px"
    if "outcome" in data.arrays:
        count = len(data.arrays["outcome"])
        moved = int((data.arrays["outcome"] != 0).sum())
        return f"{count} {'transition' if count == 1 else 'transitions'} ({data.quantity}), {moved} of them to another place"
    count = len(data.arrays["y"])
    return f"{count} {'point' if count == 1 else 'points'} of y ({data.quantity}), with {', '.join(sorted(data.arrays.keys() - {'y'}))}"


def _draw(arguments: argparse.Namespace) -> DataSet:
    """What the data set's maker gives, told those of the options that it takes; ranges come as lists."""
    taken = signature(arguments.make).parameters
    options = {name: tuple(value) if isinstance(value, list) else value for name, value in vars(arguments).items() if name in taken}
    made: DataSet = arguments.make(**options)
    return made


def _from_loops(*, file: Path, channel: str | None, target: str, neighbours: str | None, half_width: int, keep_failed: bool) -> DataSet:
    return loop_mechanisms(read_loops(file, channel), target, neighbours=neighbours, half_width=half_width, keep_failed=keep_failed)
