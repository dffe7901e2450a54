"""Training. See tests/mutants.py."""

MUTANTS: list[tuple[str, str, list[tuple[str, str]]]] = []
