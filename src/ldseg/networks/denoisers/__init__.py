"""Denoisers of the latent."""
