"""What the latents of each length scale say, in numpy alone: no torch, no graphs; rows are windows, columns latents."""
