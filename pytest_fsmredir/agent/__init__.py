"""The agent: a program inside a pod that runs the traffic code on JSON commands.

It is copied into a pod as one zip archive. So it may import only the standard library, ``traffic``,
``sidecars.recorder`` and the parts of ``model`` that they use.
"""
