"""What am I looking at? Images to pose and content, and back: numpy in, numpy out."""

from services.latent.answers import Decoded, Encoded, Reconstructed
from services.latent.room import LatentRoom

__all__ = ["Decoded", "Encoded", "LatentRoom", "Reconstructed"]
