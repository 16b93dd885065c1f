from __future__ import annotations

import pytest
import torch

from ldseg.diffusion.parameterization import PARAMETERIZATIONS, implied_noise
from ldseg.diffusion.schedule import straight, variance_preserving

PATHS = {"variance_preserving": variance_preserving, "straight": straight}


@pytest.mark.parametrize("path", PATHS)
@pytest.mark.parametrize("name", PARAMETERIZATIONS)
def test_the_target_is_read_back_as_the_clean_latent(name: str, path: str) -> None:
    generator = torch.Generator().manual_seed(0)
    z0, noise = torch.randn(2, 5, 4, 6, 6, generator=generator)
    level = PATHS[path](torch.tensor([0.01, 0.2, 0.5, 0.9, 0.999])).expand_to(z0)
    reading = PARAMETERIZATIONS[name]
    clean = reading.clean(reading.target(z0, noise, level), level.noisy(z0, noise), level)
    torch.testing.assert_close(clean, z0, rtol=1e-4, atol=1e-4)


def test_the_implied_noise_is_the_noise() -> None:
    z0, noise = torch.randn(2, 3, 4, 6, generator=torch.Generator().manual_seed(0))
    level = variance_preserving(torch.tensor(0.4))
    torch.testing.assert_close(implied_noise(level.noisy(z0, noise), z0, level), noise, rtol=1e-5, atol=1e-5)


def test_no_noise_is_implied_where_there_is_none() -> None:
    z0 = torch.randn(2, 3)
    assert implied_noise(z0, z0, variance_preserving(torch.tensor(1.0))).abs().max() == 0
