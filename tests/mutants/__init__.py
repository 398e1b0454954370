"""Test the suite: it must find each of these broken rule sets.

``python -m tests.mutants`` runs the checks against every mutant and prints the score.
"""
