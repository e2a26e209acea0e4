"""Run the tiles of a picture on a Dask cluster."""
