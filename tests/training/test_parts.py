from __future__ import annotations

import pickle
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn
from training_setup import Setup

from ldseg.errors import InputError
from ldseg.preprocessing.cache import build_cache
from ldseg.runs.saved_model import load_model
from ldseg.settings import TrainingSettings
from ldseg.training.budget import make_budget
from ldseg.training.ema import ema_decay, update_ema
from ldseg.training.log_files import append_record, drop_records_after, read_records
from ldseg.training.patch_dataset import PatchDataset, central_patch, loader_workers
from ldseg.training.train_step import learning_rate
from ldseg.training.validation import Validation, validate
from ldseg.utils.distributed import DistributedContext


@pytest.fixture
def dataset(setup: Setup, tmp_path: Path) -> PatchDataset:
    cache = build_cache(setup.dataset, setup.dataset.cases, setup.plan, tmp_path / "cache")
    return PatchDataset(cache, cache.names, setup.plan, setup.settings.augment, seed=0)


def test_a_patch_depends_on_its_index_alone(dataset: PatchDataset) -> None:
    first = dataset[5]
    dataset[2]
    again = dataset[5]
    assert torch.equal(first[0], again[0])
    assert torch.equal(first[1], again[1])
    assert not torch.equal(first[0], dataset[11][0])


def test_another_process_makes_the_same_patches(dataset: PatchDataset) -> None:
    """Sent to it whole, as where processes do not start as copies of this one."""
    sent = pickle.loads(pickle.dumps(dataset))
    assert all(torch.equal(one, other) for one, other in zip(sent[5], dataset[5], strict=True))


def test_beside_a_gpu_other_processes_prepare_patches(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("ldseg.training.patch_dataset.usable_cores", lambda: 6)
    cpu, gpu = torch.device("cpu"), torch.device("cuda")
    assert (loader_workers(cpu, None), loader_workers(gpu, None), loader_workers(gpu, 2)) == (0, 5, 2)
    assert [loader_workers(gpu, None, DistributedContext(0, size)) for size in (2, 8)] == [2, 0]


def test_an_epoch_visits_every_case_once(dataset: PatchDataset) -> None:
    count = len(dataset.names)
    for epoch in range(3):
        seen = {dataset._case_name(epoch * count + place) for place in range(count)}
        assert seen == set(dataset.names)


def test_patches_have_the_planned_size_and_legal_labels(dataset: PatchDataset, setup: Setup) -> None:
    for number in range(10):
        image, labels = dataset[number]
        assert image.shape == (1, *setup.plan.patch)
        assert labels.shape == setup.plan.patch
        assert image.dtype == torch.float32
        assert set(labels.unique().tolist()) <= {-1, 0, 1}


def test_augmentation_moves_labels_with_the_image(dataset: PatchDataset) -> None:
    for number in range(10):
        image, labels = dataset[number]
        assert image[0][labels == 1].mean() > image[0][labels == 0].mean()


def test_the_validation_patch_holds_the_structure(dataset: PatchDataset, setup: Setup) -> None:
    for name in dataset.names:
        _, labels = central_patch(dataset.cache, name, setup.plan)
        assert int((labels == 1).sum()) == 144


@pytest.mark.parametrize("given", [{}, {"steps": 3, "minutes": 1.0}, {"steps": 0}, {"minutes": -1.0}])
def test_a_budget_is_one_positive_number(given: dict[str, float]) -> None:
    with pytest.raises(InputError, match="training"):
        make_budget(TrainingSettings(**given), 5)  # type: ignore[arg-type]


def test_epochs_are_counted_in_steps() -> None:
    budget = make_budget(TrainingSettings(epochs=3), steps_per_epoch=5)
    for _ in range(15):
        assert budget.progress() < 1
        budget.start_step()
        budget.end_step()
    assert budget.progress() == 1


def test_the_average_forgets_its_start() -> None:
    average, model = nn.Linear(1, 1), nn.Linear(1, 1)
    nn.init.constant_(average.weight, 100.0)
    nn.init.constant_(model.weight, 1.0)
    for step in range(200):
        update_ema(average, model, ema_decay(0.999, step))
    assert average.weight.item() == pytest.approx(1.0, abs=0.01)


def test_the_learning_rate_rises_then_falls() -> None:
    settings = TrainingSettings(warmup=10, learning_rate=1.0)
    rates = [learning_rate(settings, step, step / 100) for step in range(101)]
    assert int(np.argmax(rates)) in range(8, 12)
    assert rates[0] == pytest.approx(0.1, rel=0.01)
    assert rates[-1] == pytest.approx(0.01)


def test_a_line_cut_short_by_a_crash_does_not_spoil_the_log(tmp_path: Path) -> None:
    append_record(tmp_path, {"event": "losses", "step": 1})
    append_record(tmp_path, {"event": "losses", "step": 2})
    with (tmp_path / "log.jsonl").open("a") as file:
        file.write('{"event": "lo')
    assert [r["step"] for r in read_records(tmp_path)] == [1, 2]
    drop_records_after(tmp_path, 1)
    assert [r["step"] for r in read_records(tmp_path)] == [1]


def test_a_model_that_ignores_the_image_or_whose_latent_is_constant_is_reported() -> None:
    fine = Validation(0.8, (0.8,), shuffled_dice=0.3, ceiling=0.95, latent_spread=0.5)
    assert fine.warnings() == []
    bad = Validation(0.7, (0.7,), shuffled_dice=0.69, ceiling=0.95, latent_spread=0.001)
    assert any("hardly used" in w and "pure_noise_share" in w for w in bad.warnings())
    assert any("collapsed" in w for w in bad.warnings())
    (warning,) = Validation(0.7, (0.7,), shuffled_dice=0.69, ceiling=None, latent_spread=None).warnings()
    assert "hardly used" in warning
    assert "noise" not in warning  # a model without a latent has none


def test_empty_label_maps_do_not_say_that_the_latent_has_collapsed(make_model: Callable[..., Path]) -> None:
    model = load_model(make_model("yx"), torch.device("cpu"))
    x, empty = torch.randn(1, 16, 16), torch.zeros(16, 16, dtype=torch.int16)
    some = empty.clone()
    some[4:9, 3:12] = 1
    found, mixed = (
        validate(model.segmenter, [(x, y), (-x, empty)], model.settings, torch.device("cpu"))
        for y in (empty, some)
    )
    assert found.latent_spread is None
    assert mixed.latent_spread is not None
