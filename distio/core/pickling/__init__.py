"""Programs and values as bytes, functions and classes of scripts included.

A dump has two parts. The *body* is the pickle of what was asked for. The *bundle* defines the
global variables that functions in the body name: it is the same for all fibers that run the same
functions, so one copy of it serves them all.

    dumping.py, loading.py   from objects to bytes and back; payloads.py: what the bytes look like
    pickler.py, finding.py   how each kind of object is reduced; what is named, found again
    scope.py                 what one dump collects: namespaces, the names needed of each, modules
    spaces.py                what one process has opened: namespaces, classes, sources of modules
    functions.py, classes.py, enums.py, code.py, modules.py, named.py, exceptions.py,
    context_vars.py, generators.py      one kind of object each
"""
