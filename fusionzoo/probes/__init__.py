"""Probes: named identity modules in every model, and the context managers that listen to them or edit what passes."""

from __future__ import annotations

from fusionzoo.probes.point import Probe, probe_points

__all__ = ["Probe", "probe_points"]
