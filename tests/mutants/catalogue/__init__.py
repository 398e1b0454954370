"""Mutants by kind; the field's history is the source, not the list of checks."""
