"""Plain functions on threads, worker processes and clusters, for callers that know no programs.

`_session.py` is the heart: one program that takes calls from threads and starts a fiber for each.
`_places.py` says where a session runs, `_calls.py` what a fiber does. `_feed.py` has the pieces of
one `map`, `_pool.py` the futures of one `Executor`. Users see `_map.py` and `_executor.py`.
"""
