"""Images in all 48 orientations, anisotropic and turned out of the axes: do predictions lie where they do?"""

from __future__ import annotations

from itertools import permutations, product
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
import SimpleITK as sitk
from attempts import run_quietly
from volume_builders import rotation

ORIENTATIONS = [
    np.diag(signs) @ np.eye(3)[list(order)]
    for order in permutations(range(3))
    for signs in product((-1.0, 1.0), repeat=3)
]
ENDINGS = (".nii", ".nii.gz", ".mha", ".nrrd")
_FIELDS = ("sform_code", "qform_code", "srow_x", "srow_y", "srow_z", "quatern_b", "quatern_c", "quatern_d")
_OFFSETS = ("qoffset_x", "qoffset_y", "qoffset_z", "xyzt_units")


def torture(model: Path, work: Path) -> dict[str, Any]:
    """Predict all of them; how many there were, and which lie elsewhere."""
    faults: list[str] = []
    for ending in ENDINGS:
        images = work / ending[1:]
        images.mkdir(parents=True)
        for number, turn in enumerate(ORIENTATIONS):
            write(images / f"o{number}{ending}", turn @ rotation(3, number) if number % 2 else turn, number)
        out = work / f"{ending[1:]} out"
        code, said = run_quietly(["predict", str(images), "-m", str(model), "-o", str(out)])
        if code:
            faults.append(f"{ending}: {said.splitlines()[-1]}")
            continue
        faults += [
            f"{path.name} lies elsewhere"
            for path in sorted(images.iterdir())
            if place(path) != place(out / path.name)
        ]
    return {
        "orientations": len(ORIENTATIONS),
        "predicted": len(ENDINGS) * len(ORIENTATIONS),
        "faults": faults,
    }


def write(path: Path, direction: np.ndarray, seed: int) -> None:
    """Noise of 5 x 9 x 7 voxels of three sizes, in this direction."""
    rng = np.random.default_rng(seed)
    voxels, steps, origin = rng.normal(size=(7, 9, 5)), rng.uniform(0.4, 3.0, 3), rng.normal(0, 100, 3)
    if path.suffix in (".mha", ".nrrd"):
        image = sitk.GetImageFromArray(voxels.astype(np.float32))
        image.SetSpacing(steps.tolist())
        image.SetOrigin(origin.tolist())
        image.SetDirection(direction.ravel().tolist())
        sitk.WriteImage(image, str(path))
        return
    matrix = np.eye(4)
    matrix[:3, :3], matrix[:3, 3] = direction * steps, origin
    nib.save(nib.Nifti1Image(voxels.T.astype(np.float32), matrix), path)


def place(path: Path) -> list[bytes]:
    """All that the header says of where the voxels are, bit for bit."""
    if path.suffix in (".mha", ".nrrd"):
        image = sitk.ReadImage(str(path))
        parts = (image.GetSize(), image.GetSpacing(), image.GetOrigin(), image.GetDirection())
        return [np.asarray(part).tobytes() for part in parts]
    header = nib.load(path).header
    fields = [np.asarray(header[name]).tobytes() for name in (*_FIELDS, *_OFFSETS)]
    return [*fields, header["pixdim"][:4].tobytes(), np.asarray(header.get_data_shape()).tobytes()]
