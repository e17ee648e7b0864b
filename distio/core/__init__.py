"""One fiber, purely: operations, the interpreter that steps a fiber, fibers as bytes.

The modules of this package know no threads, sockets, clocks or randomness.
"""
