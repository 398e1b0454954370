"""The output of a run: terminal, report files and descriptions of checks."""
