"""Implementations under test: the built-in reference, init commands, rules templates, plug-ins."""
