"""What every format's reader hands over: named channels that load on demand. And how one of them is chosen."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from training.data.dataset import Array
from training.data.readers.stacks import Stack
from training.errors import InputError


@dataclass(frozen=True)
class ChannelInfo:
    """One channel of a file, as `--channel` may choose it.

    Attributes:
        name: what `--channel` takes: the quantity, or where two channels share one, the path within the file.
        quantity: what was measured; empty when the file does not say.
        unit: unit of the values; "unknown" when the file does not say.
        shape: as stored in the file.
    """

    name: str
    quantity: str
    unit: str
    shape: tuple[int, ...]


@dataclass(frozen=True)
class Sweep:
    """What spectra run along: `positions` (l,) in `unit`, in the order they were measured."""

    positions: Array
    unit: str


@dataclass(frozen=True)
class Content:
    """The arrays of one channel as stored, by the names of DataSet.arrays; what a person should know about how they were read; the spectra's axis."""

    arrays: dict[str, Array]
    notes: tuple[str, ...] = ()
    sweep: Sweep | None = None


@dataclass(frozen=True)
class Channel:
    """A channel and the way to its arrays. `source`: the generator, when the file itself was drawn.

    `open_stack`: opens its frames without reading them; None where the format, or the channel, has no such way.
    """

    info: ChannelInfo
    load: Callable[[], Content] = field(repr=False)
    source: str = ""
    open_stack: Callable[[], Stack] | None = field(default=None, repr=False)


def choose(channels: Sequence[Channel], wanted: str | None, path_name: str) -> Channel:
    """The channel that `wanted` names, or the only one there is.

    Raises:
        InputError: NO_DATA, CHANNEL_REQUIRED or UNKNOWN_CHANNEL; the last two list what is there.
    """
    if not channels:
        raise InputError("NO_DATA", f"{path_name} holds no array that could be an image (numbers, at least two axes); is it the right file?")
    if wanted is None:
        if len(channels) == 1:
            return channels[0]
        raise InputError("CHANNEL_REQUIRED", f"{path_name} holds {len(channels)} channels; choose one with --channel NAME:\n{listing(channels)}")
    for channel in channels:
        if channel.info.name == wanted:
            return channel
    same = [channel for channel in channels if channel.info.quantity == wanted]
    if len(same) == 1:
        return same[0]
    if same:
        raise InputError("CHANNEL_REQUIRED", f"{path_name} holds {len(same)} channels of {wanted!r}; choose one by its path:\n{listing(same)}")
    raise InputError("UNKNOWN_CHANNEL", f"{path_name} has no channel {wanted!r}; it has:\n{listing(channels)}")


def listing(channels: Sequence[Channel]) -> str:
    """One line for each channel: name, shape, unit."""
    rows = []
    for channel in channels:
        info = channel.info
        other = f", {info.quantity}" if info.quantity not in {"", info.name} else ""
        rows.append(f"  {info.name}  {' × '.join(map(str, info.shape))}, {info.unit}{other}")
    return "\n".join(rows)


def unique_names(quantities: Sequence[str], paths: Sequence[str]) -> list[str]:
    """The quantity where it is one channel's alone, the path otherwise."""
    return [quantity if quantity and quantities.count(quantity) == 1 else path for quantity, path in zip(quantities, paths, strict=True)]
