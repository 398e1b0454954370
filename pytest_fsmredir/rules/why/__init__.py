"""Explains a failure: the path of its flow through the rules, and the rule that is at fault.

The model of the rules explains a fate that packets have shown. It never decides a verdict.
"""
