"""Checkpoints: fibers that wait until there is no way back."""
