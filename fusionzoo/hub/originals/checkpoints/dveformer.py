"""DVEFormer (github.com/TUI-NICR/DVEFormer, Apache-2.0): official keys to ours; embeddings alone, and linear probes."""

from __future__ import annotations

from functools import partial
from typing import Any

from fusionzoo.errors import InputError
from fusionzoo.hub.originals.checkpoints.emsaformer import DEPTH_NOTES, LICENCE_NOTE, MLP, load_joint
from fusionzoo.hub.originals.checkpoints.source import Source
from fusionzoo.hub.originals.keys import Arguments, Loaded, State

PLACE = "decoders.dense_visual_embedding_decoder"
PROBE = "linear_probing_head.weight"


def headless(state: State) -> bool:
    """Whether these are embeddings without a probe."""
    return PROBE not in state and any(key.startswith(PLACE) for key in state)


def dveformer(upsamplings: int, state: State, ctor: Arguments) -> Loaded:
    """`n_upsamplings`: None or 2 is the full model, 0 the reduced one; without it the `kind`'s. A file without a linear
    probe gives the embeddings themselves; of one with a probe that alone learns.
    """
    ctor.only(rgbd_encoder_backbone="swin-multi-t-v2-128", context_module="ppm", embedding_dim=768)
    ctor.only(n_channels=[256, 128, 64, 64])
    given = ctor("n_upsamplings", upsamplings)
    if given not in (None, 0, 2):
        raise InputError(f"{ctor.what}: n_upsamplings {given!r} is not supported; only 0, 2 and None (which is 2)")
    alone = headless(state) and not ctor.what.endswith("_probe")
    args: dict[str, Any] = {"embeddings_only": True}
    if not alone:
        args = {"num_classes": ctor("num_classes"), "linear_probe": True}
    name = "dveformer_reduced" if given == 0 else "dveformer"
    extra = {} if alone else {PROBE: "classify.weight"}
    return load_joint(name, state, MLP, PLACE, extra, joined=ctor("n_channels_out", 512), **args)


_KINDS = {"dveformer": 2, "dveformer_reduced": 0}
MODELS = {f"{name}{end}": partial(dveformer, count) for name, count in _KINDS.items() for end in ("", "_probe")}
SOURCES = {
    name: Source(
        kind=name,
        ctor={"n_upsamplings": count},
        classes=("num_classes", PROBE),
        sizes={"n_channels_out": f"{PLACE}.fuse.conv.weight"},
        headless=headless,
        licence="apache-2.0",
        licence_note=LICENCE_NOTE,
        origin="github.com/TUI-NICR/DVEFormer",
        citation="Fischedick et al., Efficient Prediction of Dense Visual Embeddings, IROS 2025",
        notes="Released for raw depth: holes are 0 after standardising. Without a linear probe the scores are the"
        " embeddings; `with_classes` of the model makes classes of text or mean embeddings. " + DEPTH_NOTES,
    )
    for name, count in _KINDS.items()
}
