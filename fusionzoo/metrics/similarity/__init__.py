"""Similarity of representations: CKA, CCA, Procrustes, predictivity, RSA, mutual k-NN, and their null.

It offers what its files name in `__all__`.
"""

# ruff: noqa: F403
import inspect

from fusionzoo.metrics.similarity.cka import *
from fusionzoo.metrics.similarity.matrices import *
from fusionzoo.metrics.similarity.minibatch import *
from fusionzoo.metrics.similarity.moments import *
from fusionzoo.metrics.similarity.null import *
from fusionzoo.metrics.similarity.samples import *

__all__ = [name for name, value in vars().items() if name[0] != "_" and not inspect.ismodule(value)]
