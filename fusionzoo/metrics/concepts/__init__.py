"""Concepts in features: set IoU of concept masks, semantic variance, Net2Vec, single units, directions, specificity,
dictionaries without labels.

It offers what its files name in `__all__`.
"""

# ruff: noqa: F403
import inspect

from fusionzoo.metrics.concepts.curve import *
from fusionzoo.metrics.concepts.dictionary import *
from fusionzoo.metrics.concepts.logistic import *
from fusionzoo.metrics.concepts.masks import *
from fusionzoo.metrics.concepts.net2vec import *
from fusionzoo.metrics.concepts.recipes import *
from fusionzoo.metrics.concepts.semantic_variance import *
from fusionzoo.metrics.concepts.specificity import *
from fusionzoo.metrics.concepts.statistics import *
from fusionzoo.metrics.concepts.units import *
from fusionzoo.metrics.concepts.vectors import *
from fusionzoo.metrics.concepts.weights import *

__all__ = [name for name, value in vars().items() if name[0] != "_" and not inspect.ismodule(value)]
