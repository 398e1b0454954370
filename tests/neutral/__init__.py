"""Correct implementations that are nothing like the reference: the suite must leave them in peace.

Each is an init command by docs/contract.md. They share what reads the lists, and no rule.
"""
