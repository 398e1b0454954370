"""Sending flows and answering them: sockets and an event loop, nothing else.

Imports the standard library and :mod:`pytest_fsmredir.model.flow` only, because the same code is
put into pods that hold no more than Python.
"""
