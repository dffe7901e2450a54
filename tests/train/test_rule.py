"""The rule as a training term: its values against NumPy and at their bounds, and that it moves both encoders."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from fusionzoo.errors import InputError
from fusionzoo.models import create_model
from fusionzoo.train import finetune
from fusionzoo.train.rule import class_share, consistent_and_specific, rule_loss
from fusionzoo.train.terms import losses
from tests.train.rooms import rooms, settings

K = 4


def by_hand(rgb: torch.Tensor, x: torch.Tensor, classes: np.ndarray) -> tuple[float, float]:
    """The header's equations, class by class and pair by pair, in NumPy."""
    flat = [np.moveaxis(v.double().numpy(), 1, -1).reshape(-1, v.shape[1])[classes.ravel() != 255] for v in (rgb, x)]
    k = classes.ravel()[classes.ravel() != 255]
    z = [(f - f.mean(0)) / f.std(0) for f in flat]
    weight, apart = {}, {}
    for c in np.unique(k):
        means = [v[k == c].mean(0) for v in z]
        n, shares = (k == c).sum(), [m @ m / (v[k == c] ** 2).sum(1).mean() for m, v in zip(means, z, strict=True)]
        known = [max(0, (n * r - 1) / (n - 1)) if n > 1 else 0 for r in shares]
        weight[c] = np.sqrt(known[0] * known[1])
        apart[c] = 1 - means[0] @ means[1] / np.linalg.norm(means[0]) / np.linalg.norm(means[1])
    consistency = sum(weight[c] * apart[c] for c in weight) / sum(weight.values())
    rows = np.array([1 - weight[c] for c in k])
    pairs = [np.cov(u, v, aweights=rows, ddof=0) for u in z[0].T for v in z[1].T]
    return consistency, float(np.mean([m[0, 1] ** 2 / (m[0, 0] * m[1, 1]) for m in pairs]))


def example(seed: int = 0) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    g = torch.Generator().manual_seed(seed)
    label = torch.randint(K, (2, 5, 6), generator=g)
    means = torch.randn(2, K, 3, generator=g)
    features = [m[label].movedim(-1, 1) + torch.randn(2, 3, 5, 6, generator=g) for m in means]
    label[0, 0] = 255
    return features[0], features[1], label


def test_both_terms_equal_their_equations() -> None:
    rgb, x, label = example()
    found = consistent_and_specific(rgb, x, label, K)
    assert [float(v) for v in found] == pytest.approx(by_hand(rgb, x, label.numpy()), abs=1e-5)
    large = label.repeat_interleave(4, 1).repeat_interleave(4, 2)  # labels of the input's size: the cells' centres
    assert [float(v) for v in consistent_and_specific(rgb, x, large, K)] == pytest.approx([float(v) for v in found])


@pytest.mark.parametrize("n", [1, 2, 5, 10, 50])
def test_a_rare_class_is_not_taken_for_a_shared_one(n: int) -> None:
    """Features that know nothing of the classes: how little of a class there is must not make it shared."""
    g = torch.Generator().manual_seed(n)
    label = torch.zeros(1, 16, 12, dtype=torch.long)
    label.view(-1)[:n] = 1
    rgb, x = (torch.randn(1, 256, 16, 12, generator=g) for _ in range(2))
    z = [v.flatten(2)[0].t() for v in (rgb, x)]  # (192, 256)
    member = torch.nn.functional.one_hot(label.flatten(), 2).float()
    count = member.sum(0)[:, None]
    known = [class_share(member.t() @ v / count, v, member, count)[1] for v in z]
    assert float(known[0] * known[1]) ** 0.5 < 0.03
    # and one that both know is shared at any number but one
    told = [class_share(torch.ones(2, 256), torch.ones(192, 256), member, count)[1] for _ in z]
    assert [float(v) for v in told] == pytest.approx([float(n > 1)] * 2)


def test_the_terms_at_their_bounds() -> None:
    rgb, x, label = example()
    assert float(consistent_and_specific(rgb, rgb, label, K)[0]) == pytest.approx(0, abs=1e-5)
    assert float(consistent_and_specific(rgb, -rgb, label, K)[0]) == pytest.approx(2, abs=1e-5)
    one = rgb[:, :1]
    assert float(consistent_and_specific(one, one, label, K)[1]) == pytest.approx(1, abs=1e-3)
    nothing = consistent_and_specific(rgb, x, torch.full_like(label, 255), K)
    assert [float(v) for v in nothing] == [0, 0]


def test_it_is_computed_in_float32_under_autocast() -> None:
    for seed in (1, 2, 3):
        rgb, x, label = example(seed)
        with torch.autocast("cpu", torch.bfloat16):
            found = rule_loss([(rgb, x), (x, rgb)], label, K)
        want = [sum(by_hand(a, b, label.numpy())) for a, b in ((rgb, x), (x, rgb))]
        assert found.dtype == torch.float32 and float(found) == pytest.approx(np.mean(want), abs=1e-5), seed


@pytest.mark.parametrize("strategy", ["sum", "hybrid", "cmx"])
def test_the_rule_reaches_both_encoders_of_any_strategy(strategy: str) -> None:
    torch.manual_seed(0)
    model = create_model(f"{strategy}_mobilenetv1-025_fpn", num_classes=K).train()
    rgb, x, label = torch.randn(2, 3, 64, 64), torch.randn(2, 1, 64, 64), torch.randint(K, (2, 64, 64))
    logits, auxiliary, _ = losses(model, rgb, x, label, {"rule": 0.1}, step=2)
    plain = losses(model, rgb, x, label, {})[1]
    assert set(auxiliary) == set(plain) | {"rule"} and logits.shape[:2] == (2, K)
    auxiliary["rule"].backward()
    for encoder in (model.rgb_encoder, model.x_encoder):
        assert any(p.grad is not None and float(p.grad.abs().max()) > 0 for p in encoder.parameters())
    assert all(point.tap is None for point in model.probe_points().values())


@pytest.mark.parametrize("name", ["sum_mobilenetv1-025_fpn", "rgb_only_mobilenetv1-025_fpn"])
def test_a_factor_of_zero_is_off(tmp_path: Path, name: str) -> None:
    """Of models without two streams, too."""
    data, losses = rooms(tmp_path / "d"), []
    for k, auxiliary in enumerate(({}, {"rule": 0.0})):
        run = settings(data, model=name, val_split="", auxiliary=auxiliary)
        finetune(run, tmp_path / str(k), step=lambda line: losses.append(line["loss"]), note=lambda text: None)
    assert losses[:2] == losses[2:] and len(losses) == 4


def test_one_stream_has_no_rule() -> None:
    model = create_model("rgb_only_mobilenetv1-025_fpn", num_classes=K)
    with pytest.raises(InputError, match="no two streams"):
        losses(model, torch.randn(1, 3, 32, 32), torch.randn(1, 1, 32, 32), torch.zeros(1, 32, 32).long(), {"rule": 1})
