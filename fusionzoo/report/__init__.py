"""Dissection -> terminal table, HTML page, model card."""
