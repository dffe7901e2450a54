"""Every published whole model against the values of its original: outputs, inner values, sizes, keys."""

from __future__ import annotations

import zlib

import numpy as np
import pytest
import torch
from torch import Tensor

from fusionzoo.errors import CheckFailed, InputError, UnknownNameError
from fusionzoo.hub.originals import model
from fusionzoo.models import FusionModel, build
from fusionzoo.probes.point import Probe
from tests.parity.reader import FOLDER, Parity, made_input, model_kinds, read

pytestmark = pytest.mark.skipif(not FOLDER.is_dir(), reason=f"no reference values: {FOLDER} is absent")

KINDS = model_kinds()
HEAVY = {"dplnet_mit_b5", "dveformer", "emsaformer", "emsaformer_emsanet", "hdbformer_swin_b", "stitchfusion_mit_b2_2m"}
"""Large, and of encoders and decoders that others here hold too, but for HDBFormer."""
ROUNDING = {"full_sigma_tiny": 1e-4, "full_tokenfusion_mit_b0 masks_rgb": 5e-5}
"""Where other kernels than the original's differ by more than 1e-5: Sigma's scores (`test_sigma_in_float64` shows why)
and TokenFusion's token scores, a softmax behind a stack of small score networks (1.3e-5 with AVX2 kernels, all else of
that model within 2e-6)."""
UNCALLED = {"dplnet_mit_b5": "rgb.head."}
"""Beginning of the keys of what an original registers and never calls: its converter leaves it out."""


def near(got: Tensor, want: Tensor, what: str, relative: float = 1e-5) -> None:
    assert got.shape == want.shape, what
    limit = relative * max(1.0, float(want.abs().max()))
    worst = float((got - want).abs().max())
    assert worst <= limit, f"{what}: {worst:.3g} > {limit:.3g}"


def flat(out: object) -> list[Tensor]:
    """Tensors of nested tuples and lists, in order."""
    return [out] if isinstance(out, Tensor) else [t for part in out for t in flat(part)]  # type: ignore[attr-defined]


def watch(module: torch.nn.Module, paths: list[str]) -> dict[str, Tensor]:
    seen: dict[str, Tensor] = {}
    for path in paths:
        shown = module.get_submodule(f"original.{path}")
        assert isinstance(shown, Probe)

        def tap(value: Tensor, path: str = path) -> Tensor:
            seen[path] = value.detach().clone()
            return value

        shown.tap = tap
    return seen


def stacked_input(shape: list[int]) -> Tensor:
    """The one input of originals that take both modalities as four channels; MFNet's stored one shows the rule."""
    n = np.random.RandomState(zlib.crc32(b"input.rgbt")).standard_normal(int(np.prod(shape))).astype(np.float32)
    return torch.from_numpy(n.reshape(shape))


def test_the_stored_stacked_input_follows_the_rule() -> None:
    x = read("full_mfnet").inputs["x"]
    assert torch.equal(x, stacked_input(list(x.shape)))


@pytest.mark.parametrize("kind", ["cmx_mit_b0", "cmnext_b2_2m"])
def test_stored_inputs_follow_the_rule(kind: str) -> None:
    inputs = read(f"full_{kind}").inputs
    for key, value in inputs.items():
        assert torch.equal(value, made_input(key, list(value.shape), "img" in inputs)), key


def check_outputs(parity: Parity, out: list[Tensor]) -> None:
    want = parity.meta["outputs"]
    assert len(out) == len(want)
    for got, (key, stats) in zip(out, want.items(), strict=True):
        assert list(got.shape) == stats["shape"], key
        rounding = ROUNDING.get(f"{parity.name} {key}", ROUNDING.get(parity.name, 1e-5))
        if key in parity.outputs:
            near(got, parity.outputs[key], f"{parity.name} output {key}", rounding)
        scale = max(1.0, stats["absmax"])
        assert float(got.abs().max()) == pytest.approx(stats["absmax"], abs=rounding * scale)
        assert float(got.double().mean()) == pytest.approx(stats["mean"], abs=1e-6 * scale)
        assert float(got.double().std()) == pytest.approx(stats["std"], abs=1e-6 * scale)


@pytest.mark.parametrize("kind", [pytest.param(k, marks=pytest.mark.slow) if k in HEAVY else k for k in KINDS])
def test_the_original_and_ours(kind: str) -> None:
    """Parameters, key table, outputs, inner values; then what our side of the model promises."""
    parity = read(f"full_{kind}")
    module = model(kind, parity.state, parity.meta["ctor"])
    uncalled = {k: v for k, v in parity.state.items() if k.startswith(UNCALLED.get(kind, "none"))}
    spared = sum(v.numel() for k, v in uncalled.items() if k.endswith(("weight", "bias")))
    assert sum(p.numel() for p in module.parameters()) == parity.meta["params"] - spared
    aliases = parity.meta.get("aliases", {})
    assert {k: list(parity.state[k].shape) for k in module.keys if k not in aliases} == {
        k: v[0] for k, v in parity.meta["state_dict"].items() if k not in aliases and k not in uncalled
    }
    seen = watch(module, list(parity.probes))
    if not parity.outputs and list(parity.inputs) == ["x"]:
        parity.inputs["x"] = stacked_input(parity.meta["inputs"]["x"])
    with torch.inference_mode():
        check_outputs(parity, flat(module(*parity.inputs.values())))
    for key, want in parity.probes.items():
        near(seen[key], want, f"{kind} probe {key}")
    ours = module.module
    assert isinstance(ours, FusionModel)
    points = ours.probe_points()
    assert ours.levels and all(name in points for level in ours.levels.values() for name in level.values())
    with torch.device("meta"):
        twin = build(ours.config())
    assert {k: v.shape for k, v in twin.state_dict().items()} == {k: v.shape for k, v in ours.state_dict().items()}


@pytest.mark.slow
def test_sigma_in_float64() -> None:
    """Sigma's decoder divides by the deviation of pixels that are almost constant, which enlarges rounding.

    Exact arithmetic from the stored features of the encoder on is within 1.2e-5 of the stored scores; from the
    images on, it is as far from them as float32 is: the distance is the original's own rounding.
    """
    parity = read("full_sigma_tiny")
    ours = model("sigma_tiny", parity.state, parity.meta["ctor"]).module.double()
    want = parity.outputs["out"]
    with torch.inference_mode():
        inputs = [v.double() for v in parity.inputs.values()]
        features = ours.features(*inputs)
        for i, feature in enumerate(features):
            near(feature, parity.probes[f"backbone.{i}"], f"stage {i}", 3e-6)
        near(ours.decoder([parity.probes[f"backbone.{i}"].double() for i in range(4)]), want, "decoder", 1.2e-5)
        exact = ours.decoder(features)
        near(exact, want, "from the images", 5e-5)
        near(ours.float().scores(*parity.inputs.values()), exact, "float32", 6e-5)


@pytest.mark.parametrize("kind", [k for k in KINDS if k == "mfnet"])
def test_wrong_keys_are_refused(kind: str) -> None:
    parity = read(f"full_{kind}")
    with pytest.raises(CheckFailed, match="unmapped: surplus.weight"):
        model(kind, {**parity.state, "surplus.weight": torch.zeros(1)}, parity.meta["ctor"])
    gone = sorted(parity.state)[0]
    with pytest.raises(CheckFailed, match=f"missing: {gone}"):
        model(kind, {k: v for k, v in parity.state.items() if k != gone}, parity.meta["ctor"])
    with pytest.raises(CheckFailed, match=gone):
        model(kind, {**parity.state, gone: torch.zeros(*parity.state[gone].shape, 2)}, parity.meta["ctor"])
    with pytest.raises(InputError, match="constructor arguments lack"):
        model(kind, parity.state, {})


def test_unknown_kind_names_the_closest() -> None:
    with pytest.raises(UnknownNameError, match="did you mean 'mfnet'"):
        model("mfnte", {}, {})
