"""DVEFormer: EMSAFormer's encoder with a head of text-aligned embeddings, classes by a linear probe or by any vectors.

Paper: Fischedick et al., "Efficient Prediction of Dense Visual Embeddings via Distillation and RGB-D Transformers",
IROS 2025. Origin: github.com/TUI-NICR/DVEFormer (Apache-2.0); written here from the equations.

    encoder, context, MLP decoder: EMSAFormer's, joined map of 512 channels, 768 outputs in place of classes
    full: 3x3 and two learned upsamplings, to the input size; reduced: 1x1, at stride 4
    scores = W e / |e|,  W (K, 768) without bias: a linear probe, or a unit vector for each class (then cosines)

The embeddings were trained towards Alpha-CLIP's of a segment, less 0.65 of the whole image's. Parameters of what makes
the embeddings: 56,281,912 (full), 53,120,824 (reduced); the probe adds 768 a class. Depth by default in metres.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial

from torch import Tensor, nn
from torch.nn.functional import normalize

from fusionzoo.errors import InputError
from fusionzoo.models.published._swin_v2 import JointSwin
from fusionzoo.models.published.emsaformer import MLPDecoder
from fusionzoo.models.published.esanet import PyramidPooling
from fusionzoo.preprocess import Preprocess
from fusionzoo.probes.point import Probe
from fusionzoo.registry import architectures

__all__ = ["EMBEDDING", "DVEFormer"]

EMBEDDING = 768
"""Length of an embedding."""


class DVEFormer(JointSwin):
    """DVEFormer.

    Args:
        upsamplings: 2 (embeddings at the input size) or 0 (at stride 4); the names `dveformer` and `dveformer_reduced`
            fix it.
        num_classes: K; None is NYU Depth v2's 40, and 768 where there are no classes (`embeddings_only`).
        x_channels, preprocess, width, drop: see JointSwin.
        embeddings_only: no last layer: the scores are the embeddings as they come, K of them.
        linear_probe: nothing but the last layer learns, as published.
        joined: channels of the decoder's joined map.
    """

    def __init__(
        self,
        upsamplings: int,
        num_classes: int | None = None,
        x_channels: int = 1,
        preprocess: Preprocess | None = None,
        width: int = 128,
        drop: float = 0.2,
        embeddings_only: bool = False,
        linear_probe: bool = False,
        joined: int = 512,
    ) -> None:
        num_classes = num_classes or (EMBEDDING if embeddings_only else 40)
        super().__init__(num_classes, x_channels, preprocess, width, drop)
        self.model_args |= {"num_classes": num_classes}
        if embeddings_only and (num_classes != EMBEDDING or linear_probe):
            raise InputError(f"embeddings alone are {EMBEDDING} channels and have no probe; leave num_classes out")
        self.context = PyramidPooling(self.channels[3], self.channels[3], mode="bilinear")
        self.decoder = MLPDecoder(self.channels, EMBEDDING, width=joined, upsamplings=upsamplings)
        self.embedding = Probe(EMBEDDING, role="embedding", modality="fused", meaning="embeddings before normalisation")
        self.requires_grad_(not linear_probe)
        self.classify = None if embeddings_only else nn.Conv2d(EMBEDDING, num_classes, 1, bias=False)
        self.logits = Probe(num_classes, role="logits", modality="fused", meaning="class scores of unit embeddings")

    def embeddings(self, rgb: Tensor, x: Tensor) -> Tensor:
        """(B, 768, H, W), or at a quarter of both sides (reduced); their lengths say nothing."""
        *skips, deepest = self.features(rgb, x)
        return self.embedding(self.decoder(self.context(deepest), skips))

    def scores(self, rgb: Tensor, x: Tensor) -> Tensor:
        found = self.embeddings(rgb, x)
        return self.logits(found if self.classify is None else self.classify(normalize(found, dim=1)))

    def with_classes(self, vectors: Tensor, names: Sequence[str] | None = None) -> DVEFormer:
        """A model with the same weights that classifies by `vectors` (K, 768), of texts or of class means: its scores
        are cosines, -1 .. 1.

        Raises:
            InputError: vectors of another length, not finite, or zero.
        """
        if vectors.ndim != 2 or vectors.shape[1] != EMBEDDING:
            raise InputError(f"vectors are {tuple(vectors.shape)}, wanted (classes, {EMBEDDING})")
        lengths = vectors.norm(dim=1)
        if not bool((lengths > 0).all()) or not bool(lengths.isfinite().all()):
            raise InputError("a class vector is zero or not finite: it has no direction")
        own = dict(self.model_args) | {"embeddings_only": False, "num_classes": len(vectors)}
        model = DVEFormer(len(self.decoder.head.upsample), preprocess=self.preprocess, **own)
        state = {key: value for key, value in self.state_dict().items() if key != "classify.weight"}
        weight = normalize(vectors.float(), dim=1)[:, :, None, None]
        model.load_state_dict({**state, "classify.weight": weight}, strict=True)
        if names is not None:
            model.set_classes(names)
        return model.to(next(iter(self.parameters()))).train(self.training)


architectures.add("dveformer", partial(DVEFormer, 2))
architectures.add("dveformer_reduced", partial(DVEFormer, 0))
