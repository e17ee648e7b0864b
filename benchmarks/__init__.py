"""How fast distio is, and what its peers take for the same.

Each file asks one question, or a few about one subject. Most have a list `QUESTIONS` (see
`benchmarks.harness`): then distio and its peers are measured in turns, each in a process of its own
that has a limit, and the report takes the question up. The others print tables of their own.

    make bench                   # all of them; writes benchmarks/report.md
    make bench QUICK=1           # a first look: less work, the peers that start at once
    make bench-compare REV=HEAD  # distio as it is beside distio at a commit
    .venvs/bench/bin/python -m benchmarks.locks  # one file; --help tells the options

==================  ===========================================================  ===============
file                question                                                     goal
==================  ===========================================================  ===============
with peers
--------------------------------------------------------------------------------------------------
roundtrip.py        how long until a worker has answered a call? Also beside a   ≤ 10 echoes of
                    busy thread, and on one core                                 bare ZeroMQ
tiny_calls.py       how long does each of many calls take that do nothing?       ≤ 1.3 joblib
cpu.py              how long do calls take that compute, on two workers?         ≥ 1.8 of a
                                                                                 thread, 1.1 joblib
scaling.py          what do more workers bring, up to one for each core?      as a pool
interpreter.py      how long do pure steps, many fibers, many yields take?       ≤ 1/2 raffiot
locks.py            how long until a contended lock has gone to the next one?    ≤ 1.5 asyncio
queues.py           how long does an item take through a queue?                  ≤ 2 asyncio
startup.py          how long do two workers take to start and to have a result,  ≤ 0.6 s, 0.3 s
                    what do they cost while they are idle?
loss.py             how much later do calls end if a worker is killed?           ≤ 0.3 s, 50 ms
large.py            what do large values cost, and in memory?                     —
grid_search.py      how long does a grid search of scikit-learn take?            ≤ 1.1 loky
glance.py           what README shows: some of these, as a table
of distio alone
--------------------------------------------------------------------------------------------------
coordinator.py      what does a shipped fiber cost the coordinator's machine?    flat
levels.py           what do the levels of snapshots cost?                        5 %, 20 %
with tables of their own
--------------------------------------------------------------------------------------------------
main_job.py         how much faster is indexing the standard library?            ≥ 1.6
hosts.py            how much do workers over ssh compute?                        ≥ 0.9
engines.py          how much do workers beside Dask's, or in actors of Ray?      ≥ 0.9
curve.py            what do keys cost on TCP?                                    ≤ 1.5
memory.py           how much memory does a sleeping fiber take?                  ≤ 1,000 bytes
sleepers.py         the same on a cluster, of fibers that sleep for long?        ≤ 1,000 bytes
cancelling.py       how long does it take to cancel fibers, losers, a run?       ≤ 0.3 s, 30 µs
snapshot.py         how long does it take to pickle a fiber that waits?          ≤ 30 µs
suspension.py       what does it cost to save a fiber before it acts?            ≤ 60 µs
drain.py            how long until a worker's 10,000 fibers have moved?          ≤ 1 s
dump.py             how long until 100,000 fibers are listed?                    ≤ 2 s
durable.py          how many suspensions a second are durable, what does a       ≥ 5,000, 10 %,
                    journal cost, how soon is a cluster back?                    2 s
journal.py          what does the private journal of a local cluster cost?       15 %, 10 %
simulation.py       how many steps does a simulation do in a second?             ≥ 20,000
soak.py             does the memory of a server stay flat? (`make soak`)         flat
==================  ===========================================================  ===============

Times depend on what else the machine does; the peers tell how much of it was to be had.
"""
