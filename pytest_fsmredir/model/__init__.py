"""The specified behaviour: policies, flows, fates, the oracle and the registry of checks.

Pure code: it opens no socket, starts no process, and imports no other part of the package except
:mod:`pytest_fsmredir.errors`.
"""
