"""Which runs a benchmark needs: strategies that fit the protocol's encoder, learning rates to choose from, seeds."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import torch

from fusionzoo.bench.protocol import BenchProtocol
from fusionzoo.bench.results import RunResult, best_rate, select_scores
from fusionzoo.errors import InputError, check_known, unknown
from fusionzoo.models import FusionModel, create_model, list_fusions, list_models
from fusionzoo.models.presets import encoder_of
from fusionzoo.schema import typed
from fusionzoo.train.terms import TERMS

__all__ = [
    "PUBLISHED", "Run", "Variant", "architecture", "build", "chosen_rates", "final_runs", "published", "select_runs",
    "strategies", "variant",
]  # fmt: skip

PUBLISHED = "published-"
"""Begins the name of a row that trains a published architecture whole, with encoders and decoder of its own."""
SELECT_SEED = 1000
"""Seed of the runs that choose the learning rate; none of the final ones."""


@dataclass(frozen=True)
class Variant:
    """What one row of a table trains: a registered strategy, options of its blocks, terms of the training."""

    fusion: str
    options: dict[str, Any]
    terms: tuple[str, ...]


def variant(row: str) -> Variant:
    """The variant that a row's name says: `STRATEGY[@OPTION=VALUE...][+TERM...]`, each TERM of `fusionzoo.train.terms`
    at most once and in their order, so that a training has one name.

    Raises:
        InputError: an option without a value, terms twice or in another order. UnknownNameError: another term.

    >>> variant("hybrid_trust@trust=false+rule")
    Variant(fusion='hybrid_trust', options={'trust': False}, terms=('rule',))
    """
    named, *terms = row.split("+")
    for term in terms:
        check_known("training term", term, TERMS, f"STRATEGY+TERM, here {row!r}")
    if terms != (ordered := [term for term in TERMS if term in terms]):
        raise InputError(f"{row!r} is another name of {'+'.join([named, *ordered])!r}; write that")
    fusion, *given = named.split("@")
    options = {}
    for pair in given:
        key, equals, value = pair.partition("=")
        if not equals or not key:
            raise InputError(f"{row!r}: {pair!r} is no option; write STRATEGY@OPTION=VALUE")
        options[key] = typed(value)
    return Variant(fusion, options, tuple(terms))


@dataclass(frozen=True)
class Run:
    """One training: `strategy` at `learning_rate` with `seed`; phase "select" or "final"."""

    strategy: str
    phase: str
    seed: int
    learning_rate: float

    @property
    def name(self) -> str:
        """File name without ending: unique in a plan.

        >>> Run("concat", "final", 2, 1e-3).name
        'concat.final.s2.lr0.001'
        """
        return f"{self.strategy}.{self.phase}.s{self.seed}.lr{self.learning_rate:g}"


def strategies(patterns: str | Sequence[str], protocol: BenchProtocol) -> tuple[list[str], dict[str, str]]:
    """(strategies that match and can be built with the protocol's encoder, those that cannot -> the reason).

    Args:
        patterns: "all", or names and fnmatch patterns, in a list or parted by commas; each with `@OPTION=VALUE` and
            `+TERM` behind it where wanted, see `variant`. `published-NAME` is a published architecture as it is
            (`published-cmx_*`), trained from random weights by the same protocol.

    Raises:
        UnknownNameError: a pattern that matches nothing.
    """
    asked = [p.strip() for p in patterns.split(",")] if isinstance(patterns, str) else list(patterns)
    names: list[str] = []
    for pattern in asked:
        name = variant(pattern).fusion
        if name.startswith(PUBLISHED):
            whole = name.removeprefix(PUBLISHED)
            found = published(whole)
            if not found:
                known = [each.removeprefix(PUBLISHED) for each in published()]
                raise unknown("published architecture", whole, known, "fusionzoo list --architectures")
        elif not (found := list_fusions("*" if name == "all" else name)):
            hint = f"fusionzoo list --fusions; {PUBLISHED}NAME is a published architecture"
            raise unknown("fusion strategy", name, list_fusions(), hint)
        names += [row for each in found if (row := each + pattern[len(name) :]) not in names]
    fitting, refused = [], {}
    for name in names:
        try:
            with torch.device("meta"):
                model = build(name, protocol, num_classes=2)
            for term in variant(name).terms:
                TERMS[term].points(model)
        except InputError as error:
            refused[name] = str(error)
        else:
            fitting.append(name)
    return fitting, refused


def published(pattern: str = "*") -> list[str]:
    """Rows that train a published architecture whose name matches.

    >>> published("mfn*")
    ['published-mfnet']
    """
    return [PUBLISHED + name for name in list_models(pattern) if encoder_of(name) is None]


def architecture(row: str, protocol: BenchProtocol) -> str:
    """Name of the model that a row trains.

    >>> from fusionzoo.bench import read_protocol
    >>> architecture("sum+rule", read_protocol("nyu13")), architecture("published-mfnet", read_protocol("nyu13"))
    ('sum_mobilenetv1-025_fpn', 'mfnet')
    """
    name = variant(row).fusion
    return name.removeprefix(PUBLISHED) if name.startswith(PUBLISHED) else protocol.architecture(name)


def build(row: str, protocol: BenchProtocol, **options: Any) -> FusionModel:
    """The model that a row trains, with random weights. `options`: num_classes, x_channels."""
    made = variant(row)
    if made.options:  # baselines have none
        options["fusion_args"] = made.options
    if not row.startswith(PUBLISHED):
        options["decoder_args"] = protocol.decoder_args
    return create_model(architecture(row, protocol), **options)


def select_runs(names: Iterable[str], protocol: BenchProtocol) -> list[Run]:
    """The runs that choose each strategy's learning rate; none where the grid has one entry."""
    if len(protocol.learning_rates) == 1:
        return []
    return [Run(name, "select", SELECT_SEED, lr) for name in names for lr in protocol.learning_rates]


def chosen_rates(names: Iterable[str], protocol: BenchProtocol, results: Iterable[RunResult]) -> dict[str, float]:
    """Strategy -> the learning rate with the best validation mIoU; the smaller of two equal ones.

    Strategies whose grid is not finished, or of which every run failed, are left out.
    """
    if len(protocol.learning_rates) == 1:
        return dict.fromkeys(names, protocol.learning_rates[0])
    results = list(results)
    tried = {(r.strategy, r.learning_rate) for r in results if r.phase == "select"}
    scores = select_scores(results)
    whole = [name for name in names if all((name, rate) in tried for rate in protocol.learning_rates)]
    return {name: best_rate(scores[name]) for name in whole if name in scores}


def final_runs(rates: dict[str, float], seeds: Sequence[int]) -> list[Run]:
    """The final runs, seed by seed, so that a table of all strategies stands early."""
    return [Run(name, "final", seed, lr) for seed in seeds for name, lr in rates.items()]
