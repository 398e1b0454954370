"""Judging the judge: broken rule sets that the suite has to catch, one by one.

``python -m tests.mutants`` runs the checks against every mutant and prints the score.
"""
