"""What am I looking at? Images or spectra to pose, content, class and target, and back: numpy in, numpy out."""

from services.latent.answers import Classified, Decoded, Encoded, Manifold, Reconstructed, Regressed
from services.latent.frames import EncodedFrame, LatentMap
from services.latent.manifold import Grid
from services.latent.room import LatentRoom
from services.latent.spectrum import Asked, Spectrum
from services.latent.windows import Wanted

__all__ = [
    "Asked",
    "Classified",
    "Decoded",
    "Encoded",
    "EncodedFrame",
    "Grid",
    "LatentMap",
    "LatentRoom",
    "Manifold",
    "Reconstructed",
    "Regressed",
    "Spectrum",
    "Wanted",
]
