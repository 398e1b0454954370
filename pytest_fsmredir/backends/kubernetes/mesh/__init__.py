"""The mesh API of the checks, on pods of a cluster."""
