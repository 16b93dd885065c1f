import pytest
import torch

from ldseg.diffusion.parameterization import PARAMETERIZATIONS, implied_noise


@pytest.mark.parametrize("name", PARAMETERIZATIONS)
def test_the_target_is_read_back_as_the_clean_latent(name: str) -> None:
    generator = torch.Generator().manual_seed(0)
    z0, noise = torch.randn(2, 5, 4, 6, 6, generator=generator)
    a = torch.tensor([0.01, 0.2, 0.5, 0.9, 0.999]).reshape(5, 1, 1, 1)
    z = a.sqrt() * z0 + (1 - a).sqrt() * noise
    reading = PARAMETERIZATIONS[name]
    clean = reading.clean(reading.target(z0, noise, a), z, a)
    torch.testing.assert_close(clean, z0, rtol=1e-4, atol=1e-4)


def test_the_implied_noise_is_the_noise() -> None:
    z0, noise = torch.randn(2, 3, 4, 6, generator=torch.Generator().manual_seed(0))
    a = torch.tensor(0.4)
    z = a.sqrt() * z0 + (1 - a).sqrt() * noise
    torch.testing.assert_close(implied_noise(z, z0, a), noise, rtol=1e-5, atol=1e-5)


def test_no_noise_is_implied_where_there_is_none() -> None:
    z0 = torch.randn(2, 3)
    assert implied_noise(z0, z0, torch.tensor(1.0)).abs().max() == 0
