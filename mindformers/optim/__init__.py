"""Optimizers, learning-rate curves and parameter groups."""
