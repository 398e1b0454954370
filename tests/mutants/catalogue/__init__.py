"""Mutants by kind. Their source is the history of real meshes, not the list of checks."""
