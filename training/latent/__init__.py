"""The latent room's models: what is in the image, and how does it lie there? docs: science of the invariant VAE family."""
