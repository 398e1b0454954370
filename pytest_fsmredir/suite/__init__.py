"""Load the catalogue of checks, run the checks, and judge the results."""
