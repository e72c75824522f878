"""Movies to latent maps: frames read in runs, encoded over one stream, written frame by frame; a run that was killed goes on where it was."""
