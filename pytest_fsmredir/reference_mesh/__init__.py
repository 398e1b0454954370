"""The reference mesh: a small mesh in FSM's group and shape, to try webhook mode on.

``admission``, ``api``, ``roles``, ``sidecar`` and ``webhook`` run in the cluster from one image, on
the standard library alone; the other modules install it.
"""
