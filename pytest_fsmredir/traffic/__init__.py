"""Send and answer flows, with sockets and an event loop.

This imports only the standard library and :mod:`pytest_fsmredir.model.flow`, because the same code
runs in pods that contain only Python.
"""
