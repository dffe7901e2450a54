"""What the bundled weights saw of x: the command that writes it, and that it is true of their training images."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest

from fusionzoo.cli.make_statistics import update_all
from fusionzoo.data import Planted, parse_spec
from fusionzoo.data.planted_saliency import PlantedSaliency
from fusionzoo.data.spec import GENERATED
from fusionzoo.errors import InputError
from fusionzoo.hub import records
from fusionzoo.hub.load import resolve
from fusionzoo.preprocess import Preprocess


@pytest.mark.parametrize(("name", "drawn"), [("planted", Planted), ("planted-saliency", PlantedSaliency)])
def test_quantiles_and_holes_come_from_the_training_images(
    name: str, drawn: type[Planted], checkpoint: Path, tmp_path: Path
) -> None:
    folder = tmp_path / checkpoint.name
    shutil.copytree(checkpoint, folder)
    records.update(folder, {"data": [{"name": name, "split": "train", "n": 3}]})
    before = records.read_record(folder)
    assert update_all(tmp_path, {}) == [folder.name]
    model, verification = resolve(folder).load()
    assert verification.ok
    depth = np.stack([drawn("train", n=3)[i]["x"].numpy() for i in range(3)])
    wanted = np.quantile(depth[depth > 0], [0.01, 0.25, 0.5, 0.75, 0.99])
    np.testing.assert_allclose(model.preprocess.x_quantiles, wanted, atol=2e-3)
    shares = (depth == 0).mean((1, 2, 3))
    np.testing.assert_allclose(model.preprocess.x_missing, [shares.mean(), shares.max()], atol=1e-4)
    after = records.read_record(folder)
    assert after.metrics == before.metrics and after.fingerprint == before.fingerprint
    assert after.files["model.safetensors"] == before.files["model.safetensors"]


def test_data_of_another_number_of_images_are_refused(checkpoint: Path, tmp_path: Path) -> None:
    shutil.copytree(checkpoint, tmp_path / checkpoint.name)
    records.update(tmp_path / checkpoint.name, {"data": [{"name": "planted", "split": "train"}]})
    with pytest.raises(InputError, match="not None as recorded"):
        update_all(tmp_path, {"planted": "planted"})


def test_bundled_weights_know_what_they_saw_and_their_data_look_like_it() -> None:
    for name, record in records.bundled().items():
        config = json.loads((records.bundled_folder(name) / "config.json").read_text(encoding="utf-8"))
        preprocess = Preprocess.from_dict(config["preprocess"])
        assert len(preprocess.x_quantiles) == 5 and len(preprocess.x_missing) == 2, name
        if (seen := record.data[0].name) in GENERATED:
            data = parse_spec(seen, split="test", limit=8)
            assert [preprocess.unlike(data[i]["x"]) for i in range(8)] == [None] * 8
            assert "m" in str(preprocess.unlike(data[0]["x"] * 20))
