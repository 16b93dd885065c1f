"""Does a model notice images that are none of its kind?

    python benchmarks/unlike.py MODEL --set SET --data-root DATA

MODEL is a shipped model's name or a run's folder, SET the data set that it was trained on. Its own test
images (of the run's splits.json, else of the split in sets.py), the same changed in ways that nobody would
take for one of them, and images of all other sets are predicted. The result has, for each group, the share
that is told of as unlike the training images (`flagged`), as of another kind, flipped or inverted alone
(`kind`), the area under the ROC curve of the distance against the own test images, and the mean confidence.

Images are fed as they are; grey images to a model for colour as three equal channels, colour images to no
model for grey ones, for the tool refuses them. Of volumes and films a model for 2D images gets the middle
slice, a model for volumes films as stacks of slices 8 mm apart.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ldseg.data.cases import Case
from ldseg.data.dataset import DataOptions, DataSet, open_dataset
from ldseg.data.loading import load_image, load_input
from ldseg.data.phantom import make_phantom
from ldseg.data.splits import evenly_spaced, read_splits
from ldseg.data.volume import Axes, Volume
from ldseg.errors import InputError
from ldseg.inference.out_of_distribution import OTHER_KIND
from ldseg.inference.output import LABELS
from ldseg.inference.predictor import Predictor
from ldseg.runs.files import SPLITS_FILE
from ldseg.zoo.catalogue import find_model
from records import as_a_command, commit, write_result
from sets import SETS, open_set, set_aside

OTHERS = {
    **{name: (chosen.folder, chosen.options) for name, chosen in SETS.items()},
    "lidc": ("LIDC_4rater_sample/training", DataOptions(label_threshold=127)),
}
PHANTOMS = 20
SLICE_MM = 8.0
Array = NDArray[np.float32]


def main() -> None:
    arguments = parse()
    as_a_command(arguments.threads)
    predictor = Predictor.load(find_model(arguments.model), "cpu")
    if predictor.detector is None:
        raise SystemExit("the model does not know its training images; run ldseg calibrate")
    dataset, test, split = own_test(arguments)
    own = [load_image(dataset, case) for case in evenly_of(test, arguments.most)]
    groups: dict[str, list[dict[str, Any]]] = {"own": [measure(predictor, image) for image in own]}
    for name, change in changes(predictor).items():
        groups[name] = [measure(predictor, image.with_array(change(image), "image")) for image in own]
    for name, images in others(predictor, arguments).items():
        groups[name] = [measure(predictor, image) for image in images]
    name = Path(arguments.model).name
    settings = predictor.settings
    header = {
        "benchmark": "unlike",
        "data": arguments.set,
        "split": split,
        "model": name,
        "preset": settings.preset,
        "seed": settings.training.seed,
        "budget_minutes": settings.training.cpu_minutes or settings.training.minutes,
        "command": f"python benchmarks/unlike.py {name} --set {arguments.set} --data-root DATA",
        "commit": commit(),
    }
    summaries = {name: summary(groups["own"], found) for name, found in groups.items() if found}
    result = {
        **header,
        "changes": [one.way for one in predictor.detector.changes],
        "groups": summaries,
        "images": groups,
        "records": [{**header, **one} for one in figures(summaries, list(changes(predictor)))],
    }
    print(write_result(f"unlike-{name}", result))
    for group, found in summaries.items():
        print(f"{group:22s}", "  ".join(f"{key} {value:.3f}" for key, value in found.items()))


def own_test(arguments: argparse.Namespace) -> tuple[DataSet, list[Case], str]:
    """Return the model's own data set, its test cases and a description of the split."""
    path = Path(arguments.model) / SPLITS_FILE
    if not path.is_file():
        dataset, splits = open_set(arguments.set, arguments.data_root)
        return dataset, *set_aside(dataset, splits)
    folder, options = OTHERS[arguments.set]
    dataset, splits = open_dataset(arguments.data_root / folder, options), read_splits(path)
    test = [case for case in dataset.cases if case.name in splits.test]
    return dataset, test, f"of the run: {len(splits.part('all').train)} train, {len(test)} test"


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("model")
    parser.add_argument("--set", choices=tuple(OTHERS), required=True)
    parser.add_argument("--data-root", type=Path, required=True)
    parser.add_argument("--most", type=int, default=64, help="images of a group")
    parser.add_argument("--threads", type=int, default=1)
    return parser.parse_args()


def evenly_of(items: list[Any], most: int) -> list[Any]:
    """At most so many, evenly spaced."""
    kept = set(evenly_spaced(list(range(len(items))), most))
    return [item for number, item in enumerate(items) if number in kept]


def measure(predictor: Predictor, image: Volume) -> dict[str, Any]:
    """Distance, ways and confidence of one image; one that is refused is told of too."""
    try:
        _, found = predictor.predict_maps(image, "image", predictor.sampling(), 0, (LABELS,))
    except InputError as problem:
        return {"refused": str(problem)}
    assert predictor.detector is not None
    known = {OTHER_KIND, *(change.way for change in predictor.detector.changes)}
    ways = list(found.out_of_distribution)
    kind = [way for way in ways if way in known]
    return {"distance": found.distance, "ways": ways, "kind_ways": kind, "confidence": found.confidence}


def summary(own: list[dict[str, Any]], found: list[dict[str, Any]]) -> dict[str, float]:
    """Return the figures of a group."""
    taken = [one for one in found if "refused" not in one]
    refused = len(found) - len(taken)
    told_of = {"images": len(found), "refused": refused / len(found)}
    for name, told in (("flagged", "ways"), ("kind", "kind_ways")):
        told_of[name] = (refused + sum(bool(one[told]) for one in taken)) / len(found)
    if taken:
        near = np.array([one["distance"] for one in own])
        far = np.array([one["distance"] for one in taken])
        greater, equal = far[:, None] > near, far[:, None] == near
        told_of["auroc"] = float(greater.mean() + 0.5 * equal.mean())
        told_of["distance"] = float(np.median(far))
        told_of["least_distance"], told_of["largest_distance"] = float(far.min()), float(far.max())
        told_of["confidence"] = float(np.mean([one["confidence"] for one in taken]))
    return told_of


def figures(groups: dict[str, dict[str, float]], changed: list[str]) -> list[dict[str, Any]]:
    """Return the worst of the other sets and of the changes, beside the own images."""
    own = groups["own"]
    others = [found for name, found in groups.items() if name not in ("own", *changed)]
    values = {
        "unlike_auroc": min(found.get("auroc", 1.0) for found in others),
        "unlike_others_flagged": min(found["flagged"] for found in others),
        "unlike_changed_flagged": min(groups[name]["flagged"] for name in changed),
        "confidence_own": own["confidence"],
        "confidence_others": max(found.get("confidence", 0.0) for found in others),
    }
    shown = [{"metric": "unlike_own_flagged", "value": own["kind"], "cases": int(own["images"])}]
    return shown + [{"metric": metric, "value": value} for metric, value in values.items()]


def changes(predictor: Predictor) -> dict[str, Callable[[Volume], Array]]:
    """What is done to the model's own test images; flips that training mirrored are of its kind."""
    random = np.random.default_rng(0)

    def noise(image: Volume) -> Array:
        low, high = image.array.min(), image.array.max()
        return random.uniform(low, high, image.array.shape).astype(np.float32)

    def constant(image: Volume) -> Array:
        return np.full_like(image.array, np.median(image.array), dtype=np.float32)

    def flip(axis: int) -> Callable[[Volume], Array]:
        return lambda image: np.flip(image.array, 1 + axis).astype(np.float32)

    plan = predictor.plan
    made: dict[str, Callable[[Volume], Array]] = {
        "black": lambda image: np.zeros_like(image.array, dtype=np.float32),
        "constant": constant,
        "noise": noise,
        "inverted": lambda image: (image.array.max() + image.array.min() - image.array).astype(np.float32),
    }
    axes = [axis for axis, name in enumerate(plan.axes) if name != "t" and axis not in plan.mirror_axes]
    made |= {f"flipped along {plan.axes[axis]}": flip(axis) for axis in axes}
    return made


def others(predictor: Predictor, arguments: argparse.Namespace) -> dict[str, list[Volume]]:
    """Images of the other sets, as far as the model takes their kind."""
    plan, channels = predictor.plan, len(predictor.plan.channels)
    found: dict[str, list[Volume]] = {}
    for name, (folder, options) in OTHERS.items():
        if name == arguments.set:
            continue
        dataset = open_dataset(arguments.data_root / folder, options)
        images = converted(dataset, plan.axes, channels, arguments.most)
        found[name] = list(images)
    phantoms = [make_phantom(plan.axes, _phantom_shape(plan.axes), seed)[0] for seed in range(PHANTOMS)]
    found["phantom"] = [_in_channels(image, channels) for image in phantoms]
    return {name: images for name, images in found.items() if images}


def converted(dataset: DataSet, axes: Axes, channels: int, most: int) -> Iterator[Volume]:
    """Images of a set for a model of `axes` and so many channels; none where it takes no such images."""
    for case in evenly_of(list(dataset.cases), most):
        try:
            image = _with_axes(load_input(case, channels, dataset.axes), axes)
        except InputError:
            image = None
        if image is not None:
            yield image


def _in_channels(image: Volume, channels: int) -> Volume:
    return image.with_array(np.repeat(image.array.astype(np.float32), channels, axis=0), "image")


def _with_axes(image: Volume, axes: Axes) -> Volume | None:
    """Return the image with these axes, or None if it has too few."""
    if image.axes == axes:
        return image
    if axes == "yx":
        middle = image.array[:, image.shape[0] // 2]
        flat = (1.0, 0.0, 0.0, 1.0)
        return Volume(middle, image.spacing[1:], (0.0, 0.0), flat, "yx", "image", physical=image.physical)
    if axes == "zyx" and image.axes == "tyx":
        straight = (1.0, 0.0, 0.0, 0.0, 1.0, 0.0, 0.0, 0.0, 1.0)
        middle = tuple(slice(n // 2 - n // 5, n // 2 + n // 5) for n in image.shape[1:])
        stack = image.array[(slice(None), slice(0, 6), *middle)]
        return Volume(stack, (SLICE_MM, *image.spacing[1:]), (0.0,) * 3, straight, "zyx", "image")
    return None


def _phantom_shape(axes: Axes) -> tuple[int, ...]:
    return {"yx": (160, 160), "zyx": (36, 50, 36), "tyx": (12, 96, 96)}[axes]


if __name__ == "__main__":
    main()
