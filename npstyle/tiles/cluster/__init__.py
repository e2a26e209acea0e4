"""Tiles on a Dask cluster."""
