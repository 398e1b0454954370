"""What is right: policies, flows, fates, the oracle and the registry of checks.

Pure code: nothing here opens a socket, starts a process or imports another part of the package
but :mod:`pytest_fsmredir.errors`.
"""
