"""TwoStream: two encoders run stage by stage, a FusionBlock per stage, an smp decoder, a head.

    rgb --stage 1--> r1 --+--stage 2--> r2 --+-- ...
                          | fuse             | fuse          fused 1..5 -> decoder -> head -> logits at the input size
    x   --stage 1--> x1 --+--stage 2--> x2 --+-- ...

What the streams carry on with is the strategy's `interaction`: their own features ("none"), fused into the RGB stream
("inject"), or both rectified ("exchange"). A strategy that embeds x by itself (`FusionBlock.x_embed`) has no x encoder.
"""

from __future__ import annotations

import inspect
from collections.abc import Mapping
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
from fusionzoo.schema import refuse_unknown

__all__ = ["TwoStream"]


class TwoStream(FusionModel):
    """A two-encoder fusion network.

    Args:
        fusion: a registered strategy (`fusionzoo.list_fusions()`).
        encoder: an encoder name (`mobilenetv1-050`, smp's, or `tu-` and timm's), used for both
            streams, or RGB's alone (`FusionBlock.x_embed`).
        decoder: one of `fusionzoo.models.DECODERS`.
        num_classes: K of the logits.
        x_channels: Cx of the second input.
        fusion_args, decoder_args: options of the strategy's and the decoder's constructor.
        preprocess: normalisation that belongs to the weights.

    Raises:
        UnknownNameError: unknown strategy, encoder or decoder.
        InputError: an encoder that cannot run stage by stage beside a strategy whose streams interact.

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
        x_channels: int = 1,
        fusion_args: dict[str, Any] | None = None,
        decoder_args: dict[str, Any] | None = None,
        preprocess: Preprocess | dict[str, Any] | None = None,
    ) -> None:
        super().__init__(num_classes, x_channels, preprocess)
        self.model_args |= {"fusion_args": dict(fusion_args or {}), "decoder_args": dict(decoder_args or {})}
        strategy: type[FusionBlock] = fusions.get(fusion)
        self.interaction, self.task = strategy.interaction, decoder_task(decoder)
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
            if isinstance(known[key], bool) and not isinstance(value, bool):
                raise InputError(f"fusion strategy {fusion!r}: {key} is true or false, not {value!r}")
        channels = out_channels(self.rgb_encoder)
        self._empty = [c == 0 for c in channels]
        used = used_stages(decoder, channels)
        last = max(used)
        fused = {i for i in range(1, last) if channels[i] > 0} | set(used) if self.interaction != "none" else set(used)
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
        return self.logits(self.head(self.decoder(self.features(rgb, x))))

    @property
    def loss_factors(self) -> dict[str, float]:
        blocks: list[FusionBlock] = [getattr(self, f"stage{i}").fusion for i in self.fused_stages]
        return {name: factor for block in blocks for name, factor in block.loss_factors.items()}

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
