"""Probes: named identity modules in every model, and the context managers that listen to them or edit what passes."""

from __future__ import annotations

from fusionzoo.probes.intervene import Edit, edit, intervene, mean_ablate, only, patch, project_out, swap, zero
from fusionzoo.probes.point import Probe, assert_untapped, probe_points, select
from fusionzoo.probes.reuse import Reuse
from fusionzoo.probes.tape import Listener, Tape, listen, probe

__all__ = [
    "Edit",
    "Listener",
    "Probe",
    "Reuse",
    "Tape",
    "assert_untapped",
    "edit",
    "intervene",
    "listen",
    "mean_ablate",
    "only",
    "patch",
    "probe",
    "probe_points",
    "project_out",
    "select",
    "swap",
    "zero",
]
