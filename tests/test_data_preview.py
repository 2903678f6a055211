"""The preview shows what training gets, and counts what is there."""

import json
from pathlib import Path

import numpy as np

from vaegan.commands.preview import contact_sheet, summary
from vaegan.data import DataConfig, TrainingBatches, open_dataset, to_uint8


def test_contact_sheet_shows_the_first_training_images(tmp_path: Path) -> None:
    np.save(tmp_path / "a.npy", np.random.default_rng(0).integers(0, 256, (80, 32, 32, 3), dtype=np.uint8))
    dataset = open_dataset(tmp_path / "a.npy", DataConfig(size=32), cache_dir=tmp_path)
    sheet = np.asarray(contact_sheet(dataset, count=6, seed=5))
    assert sheet.shape == (2 * 66 + 2, 3 * 66 + 2, 3)
    fifth = sheet[68:132:2, 68:132:2]
    assert np.array_equal(fifth, to_uint8(TrainingBatches(dataset, batch_size=6, seed=5).at(0).images)[4])
    assert contact_sheet(dataset, count=999).size[0] > 500


def test_summary_counts_everything(tmp_path: Path) -> None:
    values = np.random.default_rng(0).integers(0, 256, (80, 16, 16), dtype=np.uint8)
    np.savez(tmp_path / "a.npz", images=values, labels=np.arange(80) % 2)
    found = summary(open_dataset(tmp_path / "a.npz", DataConfig(size=16), cache_dir=tmp_path))
    assert found["usable"] == 80 == sum(found["sides"].values())
    assert found["labels"] == {"class": {"0": 40, "1": 40}}
    assert found["channels"] == 1
    json.dumps(found)
    drawn = summary(open_dataset("faces:64", DataConfig(size=16), cache_dir=tmp_path))
    assert set(drawn["labels"]["smile"]) == {"lowest", "mean", "highest"}
