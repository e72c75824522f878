"""What am I looking at? Images or spectra to pose, content, class and target, and back: numpy in, numpy out."""

from services.latent.answers import Classified, Decoded, Encoded, Manifold, Reconstructed, Regressed
from services.latent.manifold import Grid
from services.latent.room import LatentRoom

__all__ = ["Classified", "Decoded", "Encoded", "Grid", "LatentRoom", "Manifold", "Reconstructed", "Regressed"]
