"""Subsets, concatenations, lists and users' own classes as data sets with names; what cannot be one, by name."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch.utils.data import ConcatDataset, DataLoader, IterableDataset, Subset, TensorDataset, random_split

from fusionzoo.data import Cached, Planted, WithGeometry, WithTransform
from fusionzoo.data.adapt import Adapted, adapt
from fusionzoo.errors import InputError

NAMES = ["wall", "floor", "box"]


def sample(seed=0, **more):
    g = torch.Generator().manual_seed(seed)
    return {
        "rgb": torch.randint(0, 256, (3, 8, 12), dtype=torch.uint8, generator=g),
        "x": torch.rand(1, 8, 12, generator=g) + 1,
        "label": torch.randint(0, 3, (8, 12), generator=g),
        **more,
    }


def made(data, **more):
    return adapt(data, class_names=NAMES, **more)


class Own:
    """A user's class: as little as a map-style data set can be."""

    def __len__(self):
        return 3

    def __getitem__(self, index):
        return sample(index, id=index + 100)


def test_our_data_sets_stay_as_they_are():
    base = Planted("test", n=2, size=(32, 48))
    for data in (base, Cached(base), WithTransform(base, dict), WithGeometry(base, None, ["depth_edge"])):
        assert made(data) is data


@pytest.mark.parametrize(
    "cut",
    [
        lambda d: Subset(d, range(1, 4)),
        lambda d: Subset(Subset(d, [5, 3, 2, 1]), [3, 2, 1]),
        lambda d: Subset(WithTransform(d, dict), [1, 2, 3]),
        lambda d: WithTransform(Subset(d, [1, 2, 3]), dict),
        lambda d: ConcatDataset([Subset(d, [1]), Subset(d, [2, 3])]),
    ],
)
def test_a_part_of_our_data_keeps_its_names_and_its_samples(cut):
    base = Planted("test", n=6, size=(32, 48), seed=3)
    part = made(cut(base))
    assert isinstance(part, Adapted) and len(part) == 3
    for name in (
        "name",
        "split",
        "class_names",
        "num_classes",
        "x_kind",
        "x_channels",
        "ignore_index",
        "concepts",
        "seed",
    ):
        assert getattr(part, name) == getattr(base, name), name
    for i in range(3):
        one, two = part[i], base[i + 1]
        assert one["id"] == two["id"] and all(torch.equal(one[k], two[k]) for k in ("rgb", "x", "label"))
    with pytest.raises(IndexError):
        part[3]
    assert torch.equal(next(iter(DataLoader(part, None, sampler=[2], num_workers=1)))["x"], part[2]["x"])


def test_a_list_and_a_users_class_take_their_names_from_the_model():
    for data in ([sample(0), sample(1), sample(2)], tuple(sample(i) for i in range(3)), Own()):
        found = adapt(data, class_names=NAMES, x_kind="thermal", x_channels=1)
        assert (found.class_names, found.num_classes, found.x_kind, found.ignore_index) == (NAMES, 3, "thermal", 255)
        assert found.name == type(data).__name__ and found.concepts == {} and len(found) == 3
        assert torch.equal(found[1]["label"], sample(1)["label"])
    assert [made(Own())[i]["id"] for i in range(3)] == ["100", "101", "102"]
    assert made([sample()])[0]["id"] == "0"


def test_what_a_users_class_says_of_itself_counts():
    class Named(Own):
        name, split, x_kind, ignore_index = "mine", "val", "thermal", 9
        class_names = ("a", "b")

    found = made(Subset(Named(), [0, 2]))
    assert (found.name, found.split, found.x_kind, found.ignore_index) == ("mine", "val", "thermal", 9)
    assert found.class_names == ["a", "b"] and found.num_classes == 2

    class Counts(Own):
        num_classes = 7

    with pytest.raises(InputError, match="num_classes 7, but 3 class names"):
        made(Counts())


def test_arrays_and_small_integers_become_what_the_models_take():
    one = {k: v.numpy() for k, v in sample().items()}
    one["label"] = one["label"].astype(np.uint16)
    one["rgb"] = one["rgb"][:, :, ::-1]  # a view with a negative stride
    found = made([one, sample(1, label=sample(1)["label"].to(torch.uint8))])
    assert found[0]["label"].dtype == found[1]["label"].dtype == torch.int64
    assert torch.equal(found[0]["rgb"], sample()["rgb"].flip(2))
    assert torch.equal(found[1]["label"], sample(1)["label"])


def test_parts_that_differ_are_refused():
    class Other(Own):
        class_names = ["x", "y", "z"]

    class Thermal(Own):
        x_kind = "thermal"

    base = Planted("test", n=2, size=(32, 48))
    with pytest.raises(InputError, match="parts of this data differ: class_names"):
        made(ConcatDataset([base, Other()]))
    with pytest.raises(InputError, match="parts of this data differ: x_kind is depth and thermal"):
        made(ConcatDataset([base, Thermal()]))
    train = Planted("train", n=2, size=(32, 48))
    assert made(ConcatDataset([train, base])).split == "train + test"


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (DataLoader([1, 2]), "give its data set of single samples, loader.dataset"),
        (type("Stream", (IterableDataset,), {"__iter__": lambda s: iter(())})(), "has no length .* list"),
        (iter([sample()]), "has no length .* list"),
        ((s for s in [sample()]), "has no length"),
        (sample(), "this is one sample, not a data set; give a list of samples"),
        ("planted", "'planted' is a name; .*parse_spec"),
        ({"a": 1}, "dict is no data set"),
        (None, "NoneType is no data set"),
        (torch.zeros(2, 3, 4, 4), "Tensor is no data set"),
    ],
)
def test_what_is_no_data_set_is_named(data, message):
    with pytest.raises(InputError, match=message):
        made(data)


@pytest.mark.parametrize(
    ("item", "message"),
    [
        ((1, 2, 3), "list, sample 0 is a tuple, wanted a dict with rgb"),
        ({"image": 1, "depth": 2}, "has image, depth; rgb is missing"),
        (sample(label=torch.zeros(1, 8, 12).long()), r"label is torch.int64 \(1, 8, 12\), wanted integers \(H, W\)"),
        (sample(label=torch.zeros(8, 12)), "label is torch.float32"),
        (sample(x=torch.ones(8, 12)), r"x has shape \(8, 12\), wanted \(1, H, W\)"),
        (sample(x=torch.ones(3, 8, 12)), r"x has shape \(3, 8, 12\), wanted \(1, H, W\)"),
        (sample(rgb=[[1]]), "rgb is a list, wanted a tensor or an array"),
    ],
)
def test_what_is_no_sample_is_named(item, message):
    with pytest.raises(InputError, match=message):
        made([item])[0]
    with pytest.raises(InputError, match="rgb|wanted a dict"):
        made(TensorDataset(torch.zeros(2, 3)))[0]


def test_the_description_tells_other_samples_apart():
    base = Planted("test", n=6, size=(32, 48))
    same = [made(Subset(base, [0, 1])).describe() for _ in range(2)]
    assert same[0] == same[1] != made(Subset(base, [0, 2])).describe()
    assert made([sample(0), sample(1)]).describe() != made([sample(0), sample(2)]).describe()
    one, two = (made(random_split(base, [4, 2], torch.Generator().manual_seed(s))[0]).describe() for s in (0, 1))
    assert one != two
