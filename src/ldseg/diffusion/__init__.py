"""Diffusion in the label latent: schedules, parameterizations and samplers. Knows nothing of networks."""
