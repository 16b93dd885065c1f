"""Panels of a sampling trajectory: the latent at each time above the decoded clean estimate."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from ldseg.app.report.figures import Panel, label_overlay, make_base_image, to_gray_or_rgb
from ldseg.app.report.sampling_trajectory import SamplingTrajectory
from ldseg.app.report.slice_selection import select_slice


def trajectory_panels(trajectory: SamplingTrajectory) -> list[tuple[Panel, Panel]]:
    """Return the panels of latent and estimate at each time; all estimates are shown on one image."""
    last = trajectory.states[-1].labels
    view = select_slice(last > 0, trajectory.spacing, "yx" if last.ndim == 2 else "zyx")
    stretch = view.height / view.width
    image = to_gray_or_rgb(np.stack([view.cut(one) for one in trajectory.image]), is_color=False)
    base = make_base_image("trajectory-image", image, stretch)
    latents = latent_colors(
        tuple(np.stack([view.cut(channel) for channel in state.latent]) for state in trajectory.states)
    )
    columns: list[tuple[Panel, Panel]] = []
    for state, colors in zip(trajectory.states, latents, strict=True):
        latent = make_base_image("", colors, stretch)
        title = "prediction" if state.time == 0 else "estimate"
        columns.append(
            (
                Panel(f"t = {state.time:.2f}", latent, pixelated=True),
                Panel(title, base, (label_overlay(view.cut(state.labels)),)),
            )
        )
    return columns


def latent_colors(states: tuple[NDArray[np.float32], ...]) -> list[NDArray[np.uint8]]:
    """Return latent slices (C, rows, columns), the clean one last, as RGB images (rows, columns, 3).

    Red, green and blue are the three main components of the clean latent (gray for fewer channels), at three
    standard deviations of each.
    """
    channels, *size = states[-1].shape
    clean = states[-1].reshape(channels, -1)
    middle = clean.mean(1, keepdims=True)
    directions = np.linalg.svd(clean - middle, full_matrices=False)[0][:, : min(3, channels)]
    spread = np.maximum((directions.T @ (clean - middle)).std(1, keepdims=True), 1e-6)
    images: list[NDArray[np.uint8]] = []
    for frame in states:
        components = directions.T @ (frame.reshape(channels, -1) - middle) / (3 * spread)
        unit = np.clip((components + 1) / 2, 0, 1)
        if len(unit) < 3:
            unit = np.repeat(unit[:1], 3, axis=0)
        images.append(np.rint(255 * unit.T).astype(np.uint8).reshape(*size, 3))
    return images
