"""The folders of a cross-validation's folds."""

from __future__ import annotations

from pathlib import Path

from ldseg.runs.folds import begun_folds, fold_folder, fold_folders


def _begin(run: Path, fold: int, *names: str) -> None:
    folder = fold_folder(run, fold)
    folder.mkdir()
    for name in names:
        (folder / name).touch()


def test_trained_folds_are_listed_by_number(tmp_path: Path) -> None:
    for fold in (10, 2, 0):
        _begin(tmp_path, fold, "settings.json", "model.safetensors")
    _begin(tmp_path, 1, "settings.json")
    (tmp_path / "fold_old").mkdir()
    assert [path.name for path in fold_folders(tmp_path)] == ["fold_0", "fold_2", "fold_10"]
    assert [path.name for path in begun_folds(tmp_path)] == ["fold_0", "fold_1", "fold_2", "fold_10"]


def test_a_run_without_folds_has_none(tmp_path: Path) -> None:
    (tmp_path / "model.safetensors").touch()
    assert fold_folders(tmp_path) == []
