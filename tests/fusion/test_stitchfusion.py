"""StitchFusion's adapters and MMSFormer's fusion of any number of modalities."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from fusionzoo.errors import UnknownNameError
from fusionzoo.fusion.stitchfusion import VARIANTS, Adapters, Mix
from fusionzoo.models import create_model
from fusionzoo.probes import probe
from tests.compare import SAME, distance, off_zero


def test_mix_equals_its_equations() -> None:
    torch.manual_seed(0)
    mix = Mix(32, 3).eval()
    for norm in (mix.norm1, mix.norm2):
        norm.running_mean.normal_()
        norm.running_var.uniform_(0.5, 2)
    maps = list(torch.randn(3, 2, 32, 5, 7))
    with torch.no_grad():
        z = F.conv2d(torch.cat(maps, 1), mix.join.weight, mix.join.bias)
        u = mix.norm1(mix.point1(mix.widen(z)))
        kernel = torch.zeros(32, 1, 7, 7)  # one kernel of all three, and u itself
        kernel[:, :, 3, 3] = 1
        for conv in mix.depthwise:
            rim = (7 - conv.kernel_size[0]) // 2
            kernel += F.pad(conv.weight, (rim,) * 4)
        bias = sum(conv.bias for conv in mix.depthwise)
        want = mix.narrow(F.gelu(mix.norm2(mix.point2(F.conv2d(u, kernel, bias, padding=3, groups=32)))))
        gate = torch.sigmoid(mix.excite.expand(mix.excite.reduce(F.adaptive_avg_pool2d(z, 1)).relu()))
        torch.testing.assert_close(mix(maps), want + gate * z, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("variant", VARIANTS)
def test_adapters_give_every_stream_what_the_others_have(variant: str) -> None:
    torch.manual_seed(0)
    adapters = off_zero(Adapters(16, 3, variant)).eval()
    assert len(adapters.between) == {"pair": 3, "directed": 6, "shared": 1}[variant]
    streams, normed, norm = list(torch.randn(3, 2, 6, 16)), list(torch.randn(3, 2, 6, 16)), nn.LayerNorm(16)
    with torch.inference_mode(), probe(adapters, "*") as tape:
        out = adapters(streams, norm, normed, nn.Identity())
        for j in range(3):
            given = sum(adapters.between[adapters.names[i + 1, j + 1]](normed[i]) for i in range(3) if i != j)
            assert distance(out[j], streams[j] + given) < SAME
    first = tape["given.1_2"].norm(dim=2, keepdim=True) / streams[1].norm(dim=2, keepdim=True)
    torch.testing.assert_close(tape["ratio.1_2"], first)


def test_a_new_adapter_gives_nothing_and_an_unknown_variant_is_named() -> None:
    adapters = Adapters(16, 2)
    streams = list(torch.randn(2, 1, 3, 16))
    out = adapters(streams, nn.LayerNorm(16), streams, nn.Identity())
    assert all(torch.equal(a, b) for a, b in zip(out, streams, strict=True))
    with pytest.raises(UnknownNameError, match="did you mean 'pair'"):
        Adapters(16, 2, "pairs")


def test_modalities_may_be_exchanged_but_for_what_joins_them() -> None:
    """In the shared encoder every modality is treated alike: the features of two that change places do."""
    torch.manual_seed(0)
    model = off_zero(create_model("stitchfusion_mit_b0", num_classes=3, auxiliaries=2, adapters="shared"))
    rgb, one, two = torch.randn(3, 1, 3, 32, 64)
    names = ("stage5.rgb", "stage5.maps.0", "stage5.maps.1")
    with torch.inference_mode():
        seen = []
        for inputs in ((rgb, torch.cat([one, two], dim=1)), (two, torch.cat([one, rgb], dim=1))):
            with probe(model, *names) as tape:
                model(*inputs)
            seen.append([tape[name] for name in names])
    for a, b in zip(seen[0], reversed(seen[1]), strict=True):
        assert distance(a, b) < SAME
