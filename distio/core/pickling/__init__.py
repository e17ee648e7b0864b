"""Programs and values as bytes, functions and classes of scripts included.

A dump has two parts. The *body* is the pickle of what was asked for. The *bundle* defines the
global variables that functions in the body name: it is the same for all fibers that run the same
functions, so one copy of it serves them all.

    pickler.py     dump and load: the reducers of all kinds of objects, by type
    scope.py       what one dump collects: namespaces, the names needed of each, modules
    spaces.py      what one process has opened: namespaces, classes, sources of modules
    functions.py, classes.py, enums.py, code.py, modules.py, named.py    one kind of object each
"""
