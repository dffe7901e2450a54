"""Names -> models: `strategy_encoder_decoder` from its parts; published architectures have names of their own."""

from __future__ import annotations

import inspect
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import fusionzoo.fusion  # noqa: F401  registers the strategies
from fusionzoo.errors import InputError, check_known, unknown
from fusionzoo.models.base import FORMAT_VERSION, FusionModel
from fusionzoo.models.baselines import BASELINES, Baseline
from fusionzoo.models.decoders import DECODERS
from fusionzoo.models.stages import encoder_token, known_encoders
from fusionzoo.models.two_stream import TwoStream
from fusionzoo.preprocess import Preprocess
from fusionzoo.registry import architectures, fusions, match, wrappers
from fusionzoo.schema import refuse_unknown

__all__ = ["build", "create_model", "list_fusions", "list_models"]

NAMED_ENCODERS = ("mobilenetv1-025", "mobilenetv1-050", "mobilenetv1-075", "mobilenetv1-100", "resnet18", "resnet50",
                  "mit-b0", "mit-b2")  # fmt: skip
NAMED_DECODERS = ("fpn", "unet", "segformer", "upernet")
_CONFIG_KEYS = ("format_version", "architecture", "model_args", "preprocess", "modalities", "class_names", "input_size",
                "scene_names")  # fmt: skip

_WEIGHTS = (
    "a new model has random weights; fusionzoo.from_pretrained(NAME) gives a trained one, and fusionzoo finetune"
    " --init imagenet trains one whose encoders begin with ImageNet's"
)
_CHANNELS = "rgb has 3 channels, and x_channels is the number of the other input's"
ELSEWHERE = {
    "pretrained": _WEIGHTS, "weights": _WEIGHTS, "encoder_weights": _WEIGHTS, "checkpoint_path": _WEIGHTS,
    "in_chans": _CHANNELS, "in_channels": _CHANNELS,
    "class_names": "num_classes says how many; model.set_classes([...]) names them",
    "encoder_name": "the encoder is a part of the name, or encoder=...",
    "activation": "logits come out; softmax them where probabilities are wanted",
}  # fmt: skip
"""Arguments of other libraries' models -> what takes their place here."""


def list_fusions(patterns: str | Sequence[str] = "*", exclude: str | Sequence[str] = ()) -> list[str]:
    """Registered fusion strategies, then the baselines, that match; natural order.

    >>> "hybrid" in list_fusions(), list_fusions("conc*")
    (True, ['concat'])
    """
    return match([*fusions, *BASELINES], patterns, exclude)


def list_models(patterns: str | Sequence[str] = "*", exclude: str | Sequence[str] = ()) -> list[str]:
    """Model names that match: published architectures, and every strategy with a few common encoders and decoders.

    `create_model` takes any other `strategy_encoder_decoder` as well.
    """
    composed = [f"{f}_{e}_{d}" for f in [*fusions, *BASELINES] for e in NAMED_ENCODERS for d in NAMED_DECODERS]
    return match([*architectures, *composed], patterns, exclude)


def create_model(
    name: str,
    *,
    encoder: str | None = None,
    decoder: str | None = None,
    fusion: str | None = None,
    num_classes: int | None = None,
    x_channels: int | None = None,
    x_kind: str | None = None,
    **options: Any,
) -> FusionModel:
    """The model called `name`, with random weights, in eval mode as every loaded model is; call `.train()` to train.

    Without `x_kind` and `preprocess`, one channel of x is taken for depth in metres, several for 8-bit pictures (HHA).

    Args:
        name: `strategy_encoder_decoder` ('-' for '_' inside the encoder) or a published name.
        encoder, decoder, fusion: replace that part of a composed name.
        num_classes, x_channels: 13 and 1 by default.
        x_kind: what x is ("depth", "thermal", ...; several modalities "depth+event+lidar"), where no `preprocess` says
            it; the normalisation is then `Preprocess.of` it, and x_channels follows.
        options: `fusion_args`, `decoder_args`, `preprocess`, or what a published architecture takes.

    Raises:
        UnknownNameError: no such name or part; the closest ones are given.

    >>> create_model("hybrid_mobilenetv1-025_fpn", num_classes=4).num_classes
    4
    >>> create_model("sum_mobilenetv1-025_fpn", x_kind="depth+thermal").modalities
    ('rgb', 'depth', 'thermal')
    """
    named = {"encoder": encoder, "decoder": decoder, "fusion": fusion, "num_classes": num_classes}
    named["x_channels"] = x_channels
    if x_kind is not None:
        if options.get("preprocess") is not None:
            raise InputError("give x_kind or preprocess, which says it too; not both")
        options["preprocess"] = Preprocess.of(x_kind)
        named["x_channels"] = options["preprocess"].x_channels if x_channels is None else x_channels
    given: dict[str, Any] = {k: v for k, v in named.items() if v is not None} | options
    if "." in name or "/" in name:
        raise InputError(
            f"{name!r} looks like a checkpoint or a path; create_model takes an architecture"
            " ('hybrid_mobilenetv1-025_fpn'); to load weights use fusionzoo.from_pretrained(...)"
        )
    if name in architectures:
        name = architectures.current(name)
        builder = architectures.get(name)
        _refuse_unknown(given, inspect.signature(builder).parameters, name)
        model = builder(**given)
        model.architecture = name
        return model.eval()
    return _compose(_parse(name) | given).eval()


def _refuse_unknown(given: Mapping[str, Any], known: Iterable[str], name: str) -> None:
    """InputError for an argument that the model does not have; what other libraries call so is said."""
    known = set(known)
    for key in given:
        if key in ELSEWHERE and key not in known:
            raise InputError(f"{name}: unknown key {key!r}; {ELSEWHERE[key]}")
    refuse_unknown(given, known, name, ": unknown key")


def _parse(name: str) -> dict[str, Any]:
    pieces = name.rsplit("_", 2)
    if len(pieces) != 3:
        raise unknown("model", name, list_models(), "fusionzoo list --architectures; form: strategy_encoder_decoder")
    fusion = next((f for f in [*fusions, *BASELINES] if pieces[0].startswith(f"{f}_")), None)
    if fusion is not None and pieces[0] not in fusions and pieces[1] not in map(encoder_token, known_encoders()):
        encoder = f"{pieces[0]}_{pieces[1]}".removeprefix(f"{fusion}_").replace("_", "-")
        raise InputError(f"{name}: '-' stands for '_' within the encoder's name: {fusion}_{encoder}_{pieces[2]}")
    return dict(zip(("fusion", "encoder", "decoder"), pieces, strict=True))


def _compose(args: dict[str, Any]) -> FusionModel:
    args = args | {"fusion": fusions.current(args.get("fusion", ""))}
    fusion = args["fusion"]
    check_known("fusion strategy", fusion, [*fusions, *BASELINES], "fusionzoo list --fusions")
    check_known("decoder", str(args.get("decoder")), DECODERS)
    cls = Baseline if fusion in BASELINES else TwoStream
    _refuse_unknown(args, inspect.signature(cls).parameters, fusion)
    model = cls(**args)
    model.architecture = f"{fusion}_{encoder_token(args['encoder'])}_{args['decoder']}"
    return model


def encoder_of(name: str) -> str | None:
    """The encoder in a composed name; None for a published one.

    >>> encoder_of("sum_mit-b0_fpn"), encoder_of("cmx_mit_b0")
    ('mit-b0', None)
    """
    return None if name in architectures else _parse(name)["encoder"]


def encodes_x(name: str) -> bool:
    """Whether a composed model of this name has two encoders, one of them for x.

    >>> encodes_x("sum_mit-b0_fpn"), encodes_x("prompt_mit-b0_fpn"), encodes_x("dplnet_mit_b0")
    (True, False, False)
    """
    strategy = "" if name in architectures else _parse(name)["fusion"]
    return strategy == "late" or (strategy in fusions and fusions.get(strategy).x_embed is None)


def is_architecture(name: str) -> bool:
    """Whether `create_model` would take `name` by its form: a published name, or one that begins with a strategy."""
    if name in architectures:
        return True
    strategy = name.rsplit("_", 2)[0]
    return "." not in name and "/" not in name and (strategy in fusions or strategy in BASELINES)


def build(config: dict[str, Any]) -> FusionModel:
    """The model that `FusionModel.config()` described, with random weights. Every key must be known.

    Raises:
        InputError: an unknown or missing key, a wrong type, another format version.
    """
    if not isinstance(config, dict):
        raise InputError("a config is a JSON object")
    refuse_unknown(config, _CONFIG_KEYS, "config.json", ": unknown key")
    for key in ("format_version", "architecture", "model_args", "preprocess"):
        if key not in config:
            raise InputError(f"config.json lacks {key!r}: it was not written by fusionzoo, or is damaged")
    if config["format_version"] != FORMAT_VERSION:
        raise InputError(
            f"config.json has format version {config['format_version']!r}; this fusionzoo reads {FORMAT_VERSION}"
        )
    name, args = config["architecture"], config["model_args"]
    if not isinstance(name, str) or not isinstance(args, dict) or not isinstance(config["preprocess"], dict):
        raise InputError("config.json: architecture must be text, model_args and preprocess objects")
    try:
        preprocess = Preprocess.from_dict(config["preprocess"])
        if name in architectures:
            model = create_model(name, **args, preprocess=preprocess)
        elif name in wrappers:
            model = wrappers.get(name)(**args, preprocess=preprocess)
        elif "fusion" not in args:
            hint = "import the module that registers it (fusionzoo.registry.architectures), or register its class there"
            raise unknown("architecture", name, architectures, hint)
        else:
            model = _compose(args | {"preprocess": preprocess})
            rest = model.architecture.removeprefix(model.model_args["fusion"])
            if name != f"{args['fusion']}{rest}":  # where the strategy was renamed, both are the old name
                raise InputError(
                    f"config.json names architecture {name!r}, but its model_args make {model.architecture!r}"
                )
        if config.get("class_names") is not None:
            model.set_classes(config["class_names"])
        if config.get("scene_names") is not None:
            if not isinstance(model, TwoStream):
                raise InputError(f"config.json has scene_names, and {name} says no scene types")
            model.set_scenes(config["scene_names"])
        if config.get("input_size") is not None:
            height, width = config["input_size"]
            model.input_size = (int(height), int(width))
    except (TypeError, KeyError, AttributeError) as error:
        if isinstance(error, LookupError) and hasattr(error, "exit_status"):
            raise
        raise InputError(f"config.json does not describe a model: {error}") from error
    return model.eval()
