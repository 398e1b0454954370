"""The catalogue of checks, running them, and judging the results."""
