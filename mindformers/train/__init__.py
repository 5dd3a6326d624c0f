"""One training step, what is watched and logged around it, and training checkpoints."""
