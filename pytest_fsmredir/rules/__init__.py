"""A model of the packet filter rules in a pod: read, walk, and compare with the document.

The model proposes flows and explains fates. It never decides a verdict: a packet does.
"""
