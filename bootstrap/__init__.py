"""Set-up of a bare machine: the venv, its pinned packages and, where the host's is too old, a private C runtime.

Runs before anything is installed, with whatever Python 3 the host has: standard library only, syntax of Python 3.8.
"""
