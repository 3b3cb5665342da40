"""What runs under the interpreter of lfx's own environment. It imports nothing of Keyturn, only lfx and Python.

The server sends this folder as one archive (``adapters/lfx_process.py``); ``__main__`` becomes a process that has lfx
imported and forks for each run, so that a run begins in milliseconds and no run sees another's memory.
"""
