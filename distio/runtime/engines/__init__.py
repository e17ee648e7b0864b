"""Clusters whose workers live beside the worker processes of another engine: Dask, Ray."""
