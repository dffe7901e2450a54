"""The protocol of a benchmark: everything that is held equal while only the fusion strategy changes.

A protocol is one flat, frozen record, stored with every result; results of two protocols never share a table. Learning
rates are chosen for each strategy from one small grid on validation blocks of the training split, the same budget for
each; the final runs train on `final_split` and meet `test_split` once.
"""

from __future__ import annotations

import hashlib
import json
import shlex
import tomllib
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from fusionzoo.data.validate import EMPTY
from fusionzoo.errors import InputError, check_known, unknown
from fusionzoo.files import dump_json
from fusionzoo.schema import decode, encode

__all__ = ["PROTOCOLS", "BenchProtocol", "protocol_for", "read_protocol"]


@dataclass(frozen=True)
class BenchProtocol:
    """What every row of a table has in common.

    Args:
        name: of the protocol, in tables and file names.
        encoder, decoder, decoder_args: of every model, as in `fusionzoo.create_model`.
        init: pretrained weights that the encoders start from, as in `Settings.init`; "" for random weights. `--init`
            goes before it.
        num_classes: of the data's label map; None: its default.
        select_split, select_on: training and validation part for the choice of the learning rate.
        final_split, test_split: training and test part of the final runs.
        train_images: at most that many training images; None: all.
        learning_rates: the grid; with one entry nothing is chosen. select_epochs: of these runs; None: `epochs`.
        encoder_lr_share: learning rate of pretrained encoders / that of new parts.
        rule, streams: factor of that term (`fusionzoo.train.terms`) in the rows `STRATEGY+rule`, `STRATEGY+streams`.
        dissect_images: test images that each final run is dissected on; 0: none.
        epochs, batch_size, size, base, scale, test_size, jitter, ema, balance, weight_decay, drop_modality, amp,
            empty: as in `fusionzoo.train.Settings`; `empty` of the tested images too.
        auxiliary: the same, for those strategies that have a loss of that name.
    """

    name: str
    encoder: str = "mobilenetv1-025"
    decoder: str = "fpn"
    decoder_args: dict[str, Any] = field(default_factory=dict)
    init: str = ""
    num_classes: int | None = None
    select_split: str = "train"
    select_on: str = "val"
    final_split: str = "train"
    test_split: str = "test"
    train_images: int | None = None
    learning_rates: tuple[float, ...] = (1e-3,)
    select_epochs: int | None = None
    encoder_lr_share: float = 0.3
    epochs: int = 8
    batch_size: int = 16
    size: tuple[int, int] = (96, 128)
    base: tuple[int, int] = (120, 160)
    scale: tuple[float, float] = (1.0, 1.6)
    test_size: tuple[int, int] | None = None
    jitter: float = 0.3
    ema: float = 0.995
    balance: float = 0.0
    weight_decay: float = 0.01
    auxiliary: dict[str, float] = field(default_factory=dict)
    rule: float = 0.1
    streams: float = 0.3
    dissect_images: int = 60
    drop_modality: float = 0.0
    amp: bool = False
    empty: str = "refuse"

    def __post_init__(self) -> None:
        if not self.name.replace("-", "").replace("_", "").isalnum():
            raise InputError(f"protocol name {self.name!r}: use letters, digits, '-' and '_'")
        check_known("choice for empty", self.empty, EMPTY)
        if not self.learning_rates or min(self.learning_rates) <= 0:
            raise InputError(f"protocol {self.name}: learning_rates {list(self.learning_rates)}; give positive numbers")

    def architecture(self, strategy: str) -> str:
        """The model's name with this encoder and decoder: `strategy_encoder_decoder`."""
        return f"{strategy}_{self.encoder}_{self.decoder}"

    def command(self, data: str, row: str, seed: int) -> str:
        """The command that repeats a run, with words in capitals for what lies elsewhere on another machine.

        >>> read_protocol("planted-2", epochs=1).command("planted-2", "sum", 0)
        'fusionzoo bench --data planted-2 --protocol planted-2 --set epochs=1 --strategies sum --seeds 0 --out OUT'
        """
        kind, colon, place = data.partition(":")
        part = place.partition("#")[2]
        usual = PROTOCOLS.get(self.name)
        words = ["fusionzoo bench --data", kind + (":PATH" if colon else "") + (f"#{part}" if part else "")]
        words += ["--protocol", f"{self.name}.toml" if usual is None else self.name]
        if usual is not None:
            held = encode(usual)
            changed = [f"{k}={json.dumps(v)}" for k, v in encode(self).items() if v != held[k] and k != "init"]
            words += [f"--set {shlex.quote(pair)}" for pair in changed]
        if self.init != (usual.init if usual else ""):
            words += ["--init", shlex.quote(self.init)]
        return " ".join([*words, "--strategies", row, "--seeds", str(seed), "--out OUT"])

    @property
    def key(self) -> str:
        """Eight hexadecimal digits that change when anything in the protocol but its grid of learning rates does.

        The grid says which runs there are; a run is the same under a wider one.

        >>> key, grid = read_protocol("nyu13").key, [1e-3]
        >>> key == read_protocol("nyu13", learning_rates=grid).key, key == read_protocol("nyu13", epochs=1).key
        (True, False)
        """
        held = {name: value for name, value in encode(self).items() if name != "learning_rates"}
        return hashlib.sha256(dump_json(held)).hexdigest()[:8]


PROTOCOLS = {
    "planted": BenchProtocol(
        "planted",
        decoder_args={"pyramid_channels": 96, "segmentation_channels": 32},
        train_images=1200,
        learning_rates=(1e-3, 3e-3),
        amp=True,
    ),
    "planted-2": BenchProtocol(
        "planted-2",
        decoder_args={"pyramid_channels": 96, "segmentation_channels": 32},
        train_images=1200,
        learning_rates=(6e-3, 1.2e-2, 2.4e-2),
        scale=(0.9, 1.3),
        jitter=0.1,
        balance=0.5,
        select_epochs=4,
    ),
    "nyu13": BenchProtocol(
        "nyu13",
        decoder_args={"pyramid_channels": 96, "segmentation_channels": 32},
        num_classes=13,
        final_split="trainval",
        learning_rates=(6e-3, 1.2e-2, 2.4e-2),
        epochs=12,
        select_epochs=4,
        size=(120, 160),
        balance=0.5,
    ),
    "scenes": BenchProtocol(
        "scenes", decoder="pool", train_images=1200, learning_rates=(1e-3, 3e-3, 6e-3), select_epochs=4
    ),
    "saliency": BenchProtocol(
        "saliency",
        decoder_args={"pyramid_channels": 96, "segmentation_channels": 32},
        train_images=600,
        learning_rates=(6e-3, 1.2e-2, 2.4e-2),
        scale=(0.9, 1.3),
        jitter=0.1,
        select_epochs=4,
    ),
    "folder": BenchProtocol("folder", learning_rates=(1e-3, 3e-3, 6e-3), epochs=20, select_epochs=6),
    "nyu40": BenchProtocol(
        "nyu40",
        encoder="timm-tf-efficientnet-lite0",
        decoder_args={"pyramid_channels": 128, "segmentation_channels": 64},
        init="efficientnet_lite0",
        num_classes=40,
        final_split="trainval",
        learning_rates=(1e-3, 3e-3, 6e-3),
        epochs=20,
        select_epochs=5,
        size=(128, 160),
        base=(168, 224),
        balance=0.5,
    ),
}
"""Protocols by name; the data set itself is named on the command line."""


def protocol_for(data: str) -> str:
    """Name of the protocol that suits the data where none is named.

    >>> [protocol_for(data) for data in ("folder:rooms", "nyuv2:here", "planted-2", "planted-scenes")]
    ['folder', 'nyu13', 'planted-2', 'scenes']
    """
    kind = data.partition(":")[0]
    usual = {"nyuv2": "nyu13", "nyuv2-scenes": "scenes", "planted-scenes": "scenes", "planted-saliency": "saliency"}
    return usual.get(kind, kind if kind in PROTOCOLS else "folder")


def read_protocol(name_or_file: str, **changes: Any) -> BenchProtocol:
    """A built-in protocol by name, or one from a TOML file of the fields of `BenchProtocol`.

    Args:
        changes: fields that are to be others; None leaves what the protocol says.

    Raises:
        UnknownNameError: no such protocol. InputError: an unknown field or a value of another type.

    >>> read_protocol("nyu13", epochs=1).epochs
    1
    """
    if name_or_file in PROTOCOLS:
        protocol = PROTOCOLS[name_or_file]
    elif name_or_file.endswith(".toml"):
        path = Path(name_or_file)
        try:
            values = tomllib.loads(path.read_text(encoding="utf-8"))
        except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
            raise InputError(f"{path} cannot be read as a protocol: {error}") from error
        protocol = decode(BenchProtocol, {"name": path.stem, **values}, str(path))
    else:
        raise unknown("protocol", name_or_file, PROTOCOLS, "or the path of a .toml file")
    given = {name: value for name, value in changes.items() if value is not None}
    return decode(BenchProtocol, {**encode(protocol), **given}, f"protocol {protocol.name}")
