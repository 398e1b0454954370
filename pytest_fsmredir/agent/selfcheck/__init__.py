"""The check that users put into their own pods, in modules. A command prints it as one file.

These modules import only the standard library and each other, and run on Python 3.8 or newer.
"""
