"""EMSAFormer and DVEFormer in a narrow form: the encoder against torchvision's Swin V2, sizes, probes, vectors."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor
from torch.nn.functional import cosine_similarity
from torchvision.models.swin_transformer import PatchMergingV2, SwinTransformer, SwinTransformerBlockV2

from fusionzoo.errors import CheckFailed, InputError
from fusionzoo.hub.originals.checkpoints.emsaformer import ENCODER, constants, semantic
from fusionzoo.hub.originals.keys import without_constants
from fusionzoo.models import FusionModel, build, create_model
from fusionzoo.models.published._swin_v2 import JointSwin, SwinV2Block
from fusionzoo.probes import listen
from tests.compare import SAME, distance
from tests.declared import check_declaration

NAMES = ("emsaformer", "emsaformer_emsanet", "dveformer", "dveformer_reduced")


def images(height: int, width: int, batch: int = 2) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(5)
    return tuple(torch.randn(batch, c, height, width, generator=generator) for c in (3, 1))  # type: ignore[return-value]


@pytest.fixture(params=NAMES, scope="module")
def model(request: pytest.FixtureRequest) -> FusionModel:
    torch.manual_seed(0)
    return create_model(request.param, num_classes=5, width=32)


def torchvisions(model: JointSwin) -> SwinTransformer:
    """torchvision's Swin V2 of these sizes, with the weights of `model`; its patch embedding is not used."""
    whole = SwinTransformer(
        [4, 4], 32, [2, 2, 6, 2], [1, 2, 4, 8], [8, 8], num_classes=1,
        block=SwinTransformerBlockV2, downsample_layer=PatchMergingV2,
    ).eval()  # fmt: skip
    names = {"merge.reduce": "reduction", "merge.norm": "norm", "attention.log_scale": "attn.logit_scale",
             "attention.bias_mlp": "attn.cpb_mlp", "attention.qkv": "attn.qkv", "attention.project": "attn.proj",
             "norm1": "norm1", "norm2": "norm2", "widen": "mlp.0", "narrow": "mlp.3"}  # fmt: skip
    state = whole.state_dict()
    for key, value in model.state_dict().items():
        place, _, rest = key.partition(".fusion.")
        if not rest:
            continue
        group = 2 * int(place[-1]) - 3
        if rest.startswith("blocks."):
            _, number, rest = rest.split(".", 2)
            prefix = f"features.{group}.{number}"
        else:
            prefix = f"features.{group - 1}"
        ours = next(n for n in names if rest.startswith(n))
        state[f"{prefix}.{names[ours]}{rest.removeprefix(ours)}"] = value
    state |= {f"norm.{leaf}": model.state_dict()[f"norm.{leaf}"] for leaf in ("weight", "bias")}
    whole.load_state_dict(state, strict=True)
    return whole


@pytest.mark.parametrize("size", [(32, 64), (72, 40), (65, 134)])
@torch.inference_mode()
def test_the_encoder_is_torchvisions(size: tuple[int, int]) -> None:
    """Windows that cover a side, that do not, and maps that are filled up; weights large enough to tell."""
    torch.manual_seed(1)
    model = JointSwin(width=32).eval()
    for value in model.parameters():
        value.add_(torch.randn_like(value) * (0.3 if value.ndim < 2 else value[0].numel() ** -0.5))
    whole = torchvisions(model)
    rgb, x = images(*size)
    value = model.embed(rgb, x)
    for i, got in enumerate(model.features(rgb, x)):
        for part in whole.features[max(1, 2 * i) : 2 * i + 2]:
            value = part(value)
        want = (whole.norm(value) if i == 3 else value).movedim(3, 1)
        torch.testing.assert_close(got, want, rtol=1e-4, atol=1e-4)


@torch.inference_mode()
def test_any_size_alone_and_in_a_batch(model: FusionModel) -> None:
    rgb, x = images(33, 50)
    both = model.eval()(rgb, x)
    assert both.shape == (2, 5, 33, 50)
    torch.testing.assert_close(
        both[1:], model(rgb[1:], x[1:]), rtol=1e-4, atol=1e-5 * max(1.0, float(both.abs().max()))
    )
    assert model.scores(rgb, x).shape[1] == 5  # sides that are no multiples of 32


@torch.inference_mode()
def test_probes_fire_once_and_the_config_makes_the_model(model: FusionModel) -> None:
    points = model.eval().probe_points()
    count = dict.fromkeys(points, 0)

    def tally(point: str, value: Tensor) -> None:
        count[point] += 1
        check_declaration(points[point], value, point, {"B": 2})

    rgb, x = images(32, 64)
    with listen(model, dict.fromkeys(count, tally)):
        want = model(rgb, x)
    assert set(count.values()) == {1}
    assert model.levels[2] == {"rgb": "stage2.rgb", "x": "stage2.x", "fused": "stage2.fusion.fused"}
    assert model.levels[5] == {"fused": "stage5.fusion.fused"}
    twin = build(model.config())
    twin.load_state_dict(model.state_dict(), strict=True)
    assert distance(twin(rgb, x), want) < SAME


def test_side_scores_train_every_parameter() -> None:
    model = create_model("emsaformer_emsanet", num_classes=3, width=32)
    out = model.train().scores_and_sides(*images(32, 64))
    assert [tuple(v.shape[2:]) for v in out] == [(32, 64), (4, 8), (2, 4), (1, 2)]
    sum(v.square().mean() for v in out).backward()
    assert [k for k, p in model.named_parameters() if p.grad is None] == []


def test_classes_of_vectors() -> None:
    """Scores are cosines between embeddings and vectors; what has no classes gives the embeddings themselves."""
    torch.manual_seed(2)
    bare = create_model("dveformer_reduced", embeddings_only=True, width=32).eval()
    assert bare.num_classes == 768 and bare.classify is None
    vectors = torch.randn(3, 768) * 5
    model = bare.with_classes(vectors, ["wall", "bed", "lamp"])
    assert model.class_names == ["wall", "bed", "lamp"] and model.config()["model_args"]["num_classes"] == 3
    rgb, x = images(32, 64)
    with torch.inference_mode():
        found = bare.scores(rgb, x)
        want = torch.stack([cosine_similarity(found, v.view(1, -1, 1, 1), dim=1) for v in vectors], dim=1)
        torch.testing.assert_close(model.scores(rgb, x), want, rtol=1e-4, atol=1e-5)
        assert build(model.config()).num_classes == 3
    for wrong, words in ((vectors[:, :5], r"\(3, 5\), wanted \(classes, 768\)"), (vectors * 0, "zero or not finite")):
        with pytest.raises(InputError, match=words):
            bare.with_classes(wrong)
    with pytest.raises(InputError, match="leave num_classes out"):
        create_model("dveformer", embeddings_only=True, num_classes=5, width=32)
    probe = create_model("dveformer_reduced", num_classes=4, linear_probe=True, width=32)
    assert [k for k, p in probe.named_parameters() if p.requires_grad] == ["classify.weight"]
    with pytest.raises(InputError, match="decoder is 'ham'; EMSAFormer has 'mlp' and 'emsanet'"):
        type(create_model("emsaformer", width=32))("ham")


def test_a_file_of_several_tasks() -> None:
    """The semantic decoder's keys as of that task alone, the other tasks' left out by name, all else untouched."""
    one, helper = torch.ones(1), "decoders.panoptic_helper."
    state = dict.fromkeys(
        ["encoder.backbone.layer_4.1.weight", f"{helper}semantic_decoder.fuse.conv.weight",
         f"{helper}instance_decoder.fuse.conv.weight", "decoders.scene_decoder.head.bias", "decoders.normal_decoder.w"],
        one,
    )  # fmt: skip
    assert set(semantic(state)) == {
        "encoder.backbone.layer_4.1.weight",
        "decoders.semantic_decoder.fuse.conv.weight",
        "decoders.normal_decoder.w",
    }
    assert semantic(semantic(state)).keys() == semantic(state).keys()


def test_constants_are_compared() -> None:
    fixed = constants(ENCODER)
    with torch.device("meta"):
        model = create_model("emsaformer")
    assert {type(model.get_submodule(module)).__name__ for _, module in fixed.values()} == {"CosineAttention"}
    assert len(fixed) == 24
    table, index = (f"{ENCODER}layer_3.5.5.attn.{n}" for n in ("relative_coords_table", "relative_position_index"))
    state = {key: value for key, (value, _) in fixed.items()}
    assert without_constants({**state, "a": torch.ones(1)}, fixed, "swin") == {"a": torch.ones(1)}
    for key, value, words in (
        (table, state[table] + 0.1, f"{table} has other values"),
        (index, state[index][:9], "index is (9,), wanted (4096,)"),
    ):
        with pytest.raises(CheckFailed) as error:
            without_constants({**state, key: value}, fixed, "swin")
        assert words in str(error.value)
    with pytest.raises(CheckFailed, match=f"missing: {table}"):
        without_constants({k: v for k, v in state.items() if k != table}, fixed, "swin")


@torch.inference_mode()
def test_filled_up_windows_in_half_precision() -> None:
    """Keys of filled-up positions are zero, and the least length that float32 divides by is zero in float16."""
    torch.manual_seed(0)
    block, tokens = SwinV2Block(32, 1, moved=False).eval(), torch.randn(1, 5, 6, 32)
    wanted = block(tokens)
    assert distance(wanted, block.half()(tokens.half()).float()) < 0.01
