"""Judging one pod that somebody else has made, as it runs."""
