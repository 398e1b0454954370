"""The reference mesh: a small mesh with FSM's API group and webhook, to try webhook mode with.

``admission``, ``api``, ``roles``, ``sidecar`` and ``webhook`` run in the cluster from one image and
need only the standard library. The other modules install the mesh.
"""
