"""Diffusion in the label latent: schedules, parameterisations and samplers. Knows nothing of networks."""
