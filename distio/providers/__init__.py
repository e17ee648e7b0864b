"""Providers of hosts for workers: this machine, ssh, a batch system.

`Cluster.start(provider, workers=N)` starts a coordinator here, and N workers where the provider
has hosts. A provider of one's own is a class with the methods of `Provider`.
"""

from distio._public import publish
from distio.providers._kubernetes import Kubernetes, job_manifest
from distio.providers._local import Local
from distio.providers._slurm import Slurm
from distio.providers._ssh import SSH
from distio.runtime.provider import Command, Ended, Pending, Provider, Running, State

__all__ = [
    "SSH",
    "Command",
    "Ended",
    "Kubernetes",
    "Local",
    "Pending",
    "Provider",
    "Running",
    "Slurm",
    "State",
    "job_manifest",
]

publish(__name__, globals())
