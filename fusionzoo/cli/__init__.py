"""The command line: one small file a command, each imported only when it runs. `main` is the entry point."""

from __future__ import annotations

from fusionzoo.cli.group import main

__all__ = ["main"]
