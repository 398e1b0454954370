"""The pods of a run: their manifests, injection, states and pool."""
