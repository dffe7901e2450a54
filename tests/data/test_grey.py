"""Depth as a grey picture: against numpy's interpolation; a whole dissection of a DFormer on it."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from fusionzoo.data import Planted
from fusionzoo.data.grey import CURVE, WithGrey, grey
from fusionzoo.dissect import dissect
from fusionzoo.errors import InputError
from fusionzoo.models import create_model


def test_grey_is_the_interpolated_curve() -> None:
    depth = torch.rand(1, 30, 40, generator=torch.Generator().manual_seed(0), dtype=torch.float64) * 6 + 0.7
    depth[0, :3, :5] = 0
    values = depth[depth > 0].numpy()
    share = (depth[0].numpy() - values.min()) / (values.max() - values.min())
    want = np.floor(np.interp(share, np.linspace(0, 1, 9), CURVE))
    want[depth[0].numpy() == 0] = 0
    assert np.array_equal(grey(depth)[0].numpy(), want.astype(np.uint8))
    assert grey(depth).max() == 255 and int(grey(depth)[0, 0, 0]) == 0
    assert torch.equal(grey(3 * depth), grey(depth))  # the metric scale is lost


def test_images_without_contrast_are_black() -> None:
    assert not grey(torch.zeros(1, 4, 5)).any() and not grey(torch.full((1, 4, 5), 2.0)).any()
    with pytest.raises(InputError, match=r"wanted \(1, H, W\)"):
        grey(torch.zeros(4, 5))


def test_a_dformer_is_dissected_on_grey_depth() -> None:
    data = WithGrey(Planted("test", n=2, size=(48, 64)))
    assert data.x_kind == "grey" and data.describe()["x_kind"] == "grey" and 0 <= float(data[0]["x"].min())
    with pytest.raises(InputError, match="made from depth, but x of planted is grey"):
        WithGrey(data)
    model = create_model("dformer_tiny", num_classes=data.num_classes)
    model.set_classes(data.class_names)
    with pytest.raises(InputError, match="the model takes 1-channel grey, planted gives 1-channel depth"):
        dissect(model, data.dataset, progress=False)
    result = dissect(model, data, progress=False, metrics=["segmentation"])
    assert result.model.modalities == ["rgb", "grey"] and set(result.segmentation) == {
        "both",
        "without_rgb",
        "without_x",
    }
