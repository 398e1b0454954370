"""Correct implementations that differ from the reference: the suite must pass each of them.

Each is an init command by docs/reference/contract.md. They share the code that reads the lists, but
no rule.
"""
