"""The pure machinery of one fiber: operations, the interpreter that steps a fiber, its bytes.

The modules of this package know no threads, sockets, clocks or randomness.
"""
