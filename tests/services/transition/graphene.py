"""A patch of graphene and true rates to plan on, written apart from both the simulator and the room that is tested."""

import numpy as np

from dichroic.honeycomb import surroundings

A = 1.42


def patch(side=24.0, angle=0.3, shift=(0.2, 0.5), noise=0.0, seed=0):
    """(m, 2) Å, about the origin: atoms of a turned square, in no particular order."""
    n = A * np.exp(1j * (angle + 2 * np.pi / 3 * np.arange(3)))
    reach = int(side / A) + 3
    i, j, other = (each.ravel() for each in np.meshgrid(np.arange(-reach, reach), np.arange(-reach, reach), [0, 1], indexing="ij"))
    z = i * (n[0] - n[2]) + j * (n[1] - n[2]) + other * n[2] + complex(*shift)
    xy = np.stack([z.real, z.imag], axis=1)
    stream = np.random.default_rng(seed)
    xy = stream.permutation(xy[(np.abs(xy) < side / 2).all(axis=1)])
    return xy + noise * stream.standard_normal(xy.shape)


def nearest(xy, place):
    return int(np.hypot(*(xy - place).T).argmin())


def peaked(beam, neighbours, peak=1.2, rate=0.23, width=0.45):
    """(n, 3) 1/s, a Gaussian (sd in Å) at a place along each bond."""
    unit = neighbours / np.linalg.norm(neighbours, axis=-1, keepdims=True)
    square = ((beam[:, None] - peak * unit) ** 2).sum(axis=-1)
    return rate * np.exp(-square / (2 * width**2))


def long_tailed(beam, neighbours):
    """(n, 3) 1/s, high on the neighbour and never quite nothing."""
    return 1 / (16 * ((beam[:, None] - neighbours) ** 2).sum(axis=-1) / A**2 + 1)


def occupancy_by(rates, shells=2, members=None):
    """What a table is made of: exp(QT), row of the origin; with `members` one for each factor on the rates."""

    def occupancy(beam, neighbours, dwell_s, context):
        assert beam.shape[0] == neighbours.shape[0] == dwell_s.shape[0] == context.shape[0]
        if members is None:
            return _last(rates, beam, neighbours, dwell_s, shells)
        each = [_last(lambda *where, by=factor: by * rates(*where), beam, neighbours, dwell_s, shells) for factor in members]
        return np.stack(each, axis=1)

    return occupancy


def _last(rates, beam, neighbours, dwell_s, shells):
    sites = surroundings(shells)
    count = len(sites)
    generator = np.zeros((len(beam), count + 1, count + 1))
    for site in range(count):
        sign = 1 - 2 * sites.sublattice[site]
        relative = beam - np.einsum("j,njx->nx", sites.steps[site].astype(float), neighbours)
        found = rates(relative, sign * neighbours)
        for bond in range(3):
            generator[:, site, sites.neighbour[site, bond]] += found[:, bond]
        generator[:, site, site] -= found.sum(axis=1)
    # Squared ten times: after that the series needs few terms.
    small = generator * (dwell_s / 1024)[:, None, None]
    power = np.eye(count + 1) + small @ (np.eye(count + 1) + small @ (np.eye(count + 1) + small / 3) / 2)
    for _ in range(10):
        power = power @ power
    return power[:, 0]
