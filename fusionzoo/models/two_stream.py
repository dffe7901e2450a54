"""TwoStream: two encoders run stage by stage, a FusionBlock per stage, an smp decoder, a head.

    rgb --stage 1--> r1 --+--stage 2--> r2 --+-- ...
                          | fuse             | fuse          fused 1..5 -> decoder -> head -> logits at the input size
    x   --stage 1--> x1 --+--stage 2--> x2 --+-- ...

What the streams carry on with is the strategy's `interaction`: their own features ("none"), fused into the RGB stream
("inject"), or both rectified ("exchange"). A strategy that embeds x by itself (`FusionBlock.x_embed`) has no x encoder.

A joint model (`num_scenes`) also says the scene type, as EMSANet does (Seichter et al., IJCNN 2022). The head is ours:
`pool` and a head on the same fused features, stages 2 to 5, which are then fused whatever the decoder reads.
"""

from __future__ import annotations

import copy
import inspect
from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from typing import Any

from torch import Tensor

from fusionzoo.errors import FusionZooError, InputError
from fusionzoo.fusion.base import FusionBlock
from fusionzoo.models.base import FusionModel, head
from fusionzoo.models.decoders import build_decoder, decoder_task, used_stages
from fusionzoo.models.families import as_read, stage_modules, why_whole
from fusionzoo.models.stages import Stage, build_encoder, empty_like_stage1, has_stages, out_channels, run_stage
from fusionzoo.preprocess import Preprocess
from fusionzoo.probes.point import Probe
from fusionzoo.probes.tape import probe
from fusionzoo.registry import fusions
from fusionzoo.schema import check_option, refuse_unknown
from fusionzoo.tasks import CLASSIFICATION

__all__ = ["SCENE", "SCENE_FACTOR", "SCENE_LOGITS", "TwoStream"]

SCENE = "scene"
"""Name of the loss of the scene type among the auxiliary losses; of samples' scene types too."""
SCENE_FACTOR = 0.25
"""Of the scene type's cross-entropy beside the segmentation loss, EMSANet's for NYUv2 (semantic 1, scene 0.25)."""
SCENE_LOGITS = "scene_logits"
"""The probe that a joint model's scores of scene types, (B, S, 1, 1), pass in every forward pass."""


class TwoStream(FusionModel):
    """A two-encoder fusion network.

    Args:
        fusion: a registered strategy (`fusionzoo.list_fusions()`).
        encoder: an encoder name (`mobilenetv1-050`, smp's, or `tu-` and timm's), used for both
            streams, or RGB's alone (`FusionBlock.x_embed`).
        decoder: one of `fusionzoo.models.DECODERS`.
        num_classes: K of the logits.
        num_scenes: scene types of a joint model, see `scenes`; 0: none.
        x_channels: Cx of the second input.
        fusion_args, decoder_args: options of the strategy's and the decoder's constructor.
        preprocess: normalisation that belongs to the weights.

    Raises:
        UnknownNameError: unknown strategy, encoder or decoder.
        InputError: an encoder that cannot run stage by stage beside a strategy whose streams interact; scene types
            beside the decoder `pool`.

    >>> import torch
    >>> model = TwoStream("concat", "mobilenetv1-025", "fpn", num_classes=5)
    >>> model(torch.zeros(1, 3, 65, 70), torch.zeros(1, 1, 65, 70)).shape
    torch.Size([1, 5, 65, 70])
    """

    def __init__(
        self,
        fusion: str = "concat",
        encoder: str = "mobilenetv1-050",
        decoder: str = "fpn",
        *,
        num_classes: int = 13,
        num_scenes: int = 0,
        x_channels: int = 1,
        fusion_args: dict[str, Any] | None = None,
        decoder_args: dict[str, Any] | None = None,
        preprocess: Preprocess | dict[str, Any] | None = None,
    ) -> None:
        super().__init__(num_classes, x_channels, preprocess)
        self.model_args |= {"fusion_args": dict(fusion_args or {}), "decoder_args": dict(decoder_args or {})}
        strategy: type[FusionBlock] = fusions.get(fusion)
        self.interaction, self.task = strategy.interaction, decoder_task(decoder)
        if num_scenes < 0 or (num_scenes and self.task == CLASSIFICATION):
            raise InputError(
                f"num_scenes is {num_scenes} beside the decoder {decoder!r}; give 0 or more, and none with pool, which"
                " says one class of the whole image itself"
            )
        self.num_scenes, self.scene_names = num_scenes, [f"scene {i}" for i in range(num_scenes)]
        if not num_scenes:
            del self.model_args["num_scenes"]
        self.rgb_encoder = build_encoder(encoder, 3)
        self.x_encoder = build_encoder(encoder, x_channels) if strategy.x_embed is None else None
        if not has_stages(self.rgb_encoder) and self.interaction != "none":
            raise InputError(
                f"encoder {encoder!r} {why_whole(self.rgb_encoder)}, and {fusion!r} (interaction {self.interaction!r})"
                " runs between the stages; take a resnet, efficientnet, mit or convnext encoder, or a strategy with"
                " interaction 'none'"
            )
        options = dict(fusion_args or {})
        given = ("channels", "level", "depth", "place")
        known = {key: p.default for key, p in inspect.signature(strategy).parameters.items() if key not in given}
        refuse_unknown(options, known, f"fusion strategy {fusion!r}", " has no option")
        for key, value in options.items():
            check_option(f"fusion strategy {fusion!r}", key, value, known[key])
        channels = out_channels(self.rgb_encoder)
        self._empty = [c == 0 for c in channels]
        used = {*used_stages(decoder, channels), *(used_stages("pool", channels) if num_scenes else ())}
        last = max(used)
        fused = {i for i in range(1, last) if channels[i] > 0} | used if self.interaction != "none" else used
        self.depth = len(channels) - 1
        self.fused_stages = tuple(sorted(fused))
        for i in range(1, self.depth + 1):
            block = None
            if i in fused:
                try:
                    block = strategy(channels[i], level=i, depth=self.depth, **options)
                except (TypeError, ValueError, ArithmeticError, RuntimeError) as error:
                    if not options or isinstance(error, FusionZooError):
                        raise
                    raise InputError(f"fusion strategy {fusion!r} cannot be built with {options}: {error}") from error
            stage = Stage(channels[i], block)
            if strategy.x_embed is not None and channels[i] > 0:
                before = channels[i - 1] if i > 1 else 0  # 0: the image
                stage.embed = strategy.x_embed(before or x_channels, channels[i], 2 if before or i == 1 else 4)
            setattr(self, f"stage{i}", stage)
        self.decoder = build_decoder(decoder, channels, decoder_args)
        self.head = head(self.decoder.out_channels, num_classes, self.decoder.head_kernel)
        self.logits = Probe(num_classes, role="logits", modality="fused", meaning="class scores before upsampling")
        if num_scenes:
            self.scene_decoder = build_decoder("pool", channels)
            self.scene_head = head(self.scene_decoder.out_channels, num_scenes, self.scene_decoder.head_kernel)
            self.scene_logits = Probe(num_scenes, role="logits", modality="fused", meaning="scores of scene types")

    def features(self, rgb: Tensor, x: Tensor) -> list[Tensor]:
        """[rgb image, stage 1, ..., stage 5]: fused where a stage is fused, else the RGB stream's own feature."""
        of_rgb = stage_modules(self.rgb_encoder)
        of_x = None if self.x_encoder is None else stage_modules(self.x_encoder)
        staged = self.interaction != "none" or (of_rgb is not None and of_x is not None)
        whole = None if staged or self.x_encoder is None else (self.rgb_encoder(rgb), self.x_encoder(x))
        out, r, d = [rgb], rgb, x
        for i in range(1, self.depth + 1):
            stage: Stage = getattr(self, f"stage{i}")
            if whole is None:
                r = run_stage(self.rgb_encoder, i, r, of_rgb)
                if self.x_encoder is not None:
                    d = run_stage(self.x_encoder, i, d, of_x)
                elif not self._empty[i]:
                    d = stage.embed(d)
            else:
                r, d = whole[0][i], whole[1][i]
            if self._empty[i]:
                out.append(empty_like_stage1(rgb))
                continue
            r, d = stage.rgb(r), stage.x(d)
            if i not in self.fused_stages:
                out.append(as_read(self.rgb_encoder, i, r))
                continue
            fused = stage.fusion(r, d)
            out.append(as_read(self.rgb_encoder, i, fused.fused))
            if self.interaction == "exchange":
                r, d = fused.rgb, fused.x
            elif self.interaction == "inject":
                r = fused.fused
        return out

    def scores(self, rgb: Tensor, x: Tensor) -> Tensor:
        return self.scores_and_sides(rgb, x)[0]

    def scores_and_sides(self, rgb: Tensor, x: Tensor) -> list[Tensor]:
        """[class scores of pixels, and of a joint model those of scene types (B, S, 1, 1)]."""
        features = self.features(rgb, x)
        types = [self.scene_logits(self.scene_head(self.scene_decoder(features)))] if self.num_scenes else []
        return [self.logits(self.head(self.decoder(features))), *types]

    def both(self, rgb: Tensor | None = None, x: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """(logits of pixels (B, K, H, W), logits of scene types (B, S, 1, 1)) of a joint model, of one pass.

        Raises:
            InputError: the model has no scene types.
        """
        self._with_scenes()
        logits, types = self._all_sized(rgb, x, 1, sides=True)
        return logits, types

    def _with_scenes(self) -> None:
        if not self.num_scenes:
            raise InputError(f"{self.architecture or 'this model'} has no scene types; finetune it on joint data"
                             " (nyuv2-joint:PATH), or give num_scenes")  # fmt: skip

    def scenes(self) -> TwoStream:
        """A view of a joint model that says the scene type: `view(rgb, x) -> logits (B, S, 1, 1)`.

        Its task is classification, its `decoder`, `head`, `logits` and classes are those of the scene types, and all
        its modules and parameters are this model's own: what moves, trains or edits one does so to the other. It is
        made anew at each call. The config is that of the same model with the decoder `pool`.

        Raises:
            InputError: the model has no scene types.

        >>> import torch
        >>> joint = TwoStream("concat", "mobilenetv1-025", "fpn", num_classes=5, num_scenes=3)
        >>> view = joint.scenes()
        >>> view(torch.zeros(1, 3, 65, 70), None).shape, view.head is joint.scene_head
        (torch.Size([1, 3, 1, 1]), True)
        """
        self._with_scenes()
        view = copy.copy(self)
        for name, value in vars(self).items():
            if isinstance(value, dict):  # of modules, parameters, hooks, arguments
                setattr(view, name, value.copy())
        vars(view).pop("_compiled_call_impl", None)  # of `model.compile()`, bound to this model
        for part in ("decoder", "head", "logits"):
            setattr(view, part, getattr(self, f"scene_{part}"))
            delattr(view, f"scene_{part}")
        view.task, view.num_scenes, view.scene_names = CLASSIFICATION, 0, []
        view.num_classes, view.class_names = self.num_scenes, list(self.scene_names)
        view.model_args |= {"decoder": "pool", "decoder_args": {}, "num_classes": self.num_scenes}
        del view.model_args["num_scenes"]
        if self.architecture:
            view.architecture = "_".join([*self.architecture.split("_")[:-1], "pool"])
        return view

    def set_scenes(self, names: Sequence[str]) -> None:
        """Names the scene types; InputError unless there are `num_scenes` of them."""
        if len(names) != self.num_scenes:
            raise InputError(f"{len(names)} scene names for {self.num_scenes} scene types")
        self.scene_names = [str(n) for n in names]

    def config(self) -> dict[str, Any]:
        return super().config() | ({"scene_names": self.scene_names} if self.num_scenes else {})

    @property
    def loss_factors(self) -> dict[str, float]:
        blocks: list[FusionBlock] = [getattr(self, f"stage{i}").fusion for i in self.fused_stages]
        of_blocks = {name: factor for block in blocks for name, factor in block.loss_factors.items()}
        return of_blocks | ({SCENE: SCENE_FACTOR} if self.num_scenes else {})

    def losses(self, rgb: Tensor, x: Tensor, *, step: int = 1) -> tuple[Tensor, dict[str, Tensor]]:
        """(logits, auxiliary losses): each loss name of the strategy, averaged over stages."""
        blocks: dict[int, FusionBlock] = {i: getattr(self, f"stage{i}").fusion for i in self.fused_stages}
        names = {i: {n: f"stage{i}.fusion.{n}" for n in block.loss_probes} for i, block in blocks.items()}
        wanted = [name for of_block in names.values() for name in of_block.values()]
        tapes: AbstractContextManager[Mapping[str, Tensor]] = nullcontext({})
        if wanted:
            tapes = probe(self, *wanted, detach=False, clone=False, trace=True)
        with tapes as tape:
            logits = self._sized(rgb, x, step)
        seen = {i: {n: tape[name] for n, name in of_block.items()} for i, of_block in names.items()}
        by_stage = [block.losses(seen[i]) for i, block in blocks.items()]
        values: dict[str, list[Tensor]] = {}
        for losses in by_stage:
            for name, value in losses.items():
                values.setdefault(name, []).append(value)
        return logits, {name: sum(of[1:], of[0]) / len(of) for name, of in sorted(values.items())}
