"""What runs inside a pod: the traffic code behind a line of JSON commands.

Standard library only. It is put into a pod as one zip archive, so nothing here may import beyond
``traffic``, ``sidecars.recorder`` and the parts of ``model`` that they use.
"""
