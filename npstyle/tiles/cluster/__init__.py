"""Run the tiles of one picture on several machines: a Dask cluster.

`cluster` connects to Dask, `tiles` sends the tiles and adds up the results, `jobs` handles lost
results and stragglers, and `worker` holds the tasks that run on the workers.

Estimated scaling
-----------------
With VGG-19, the five style layers and conv4_2, an evaluation needs 3.6e5 multiplications per pixel
forward and as many backward. With the first pass and the halos (1.34 times the pixels for tiles of
1024) that makes 1.45e6. A machine with two cores takes about 10 s per megapixel
(`tools/benchmark_tiles.py`).

Each pixel of a float32 tile causes three transfers of 12 bytes: its network input for each of the
two passes, and its gradient. With the halos that makes 48 bytes. The Gram matrices of a tile are
6.1e5 numbers, 2.4 MB, which adds 2.3 bytes per pixel for tiles of 1024. The derivatives with
respect to the Gram matrices go to each worker once, another 2.4 MB. The content targets stay on the
workers. Dask's scheduler keeps the tiles of the photo, 16 bytes per pixel with the halos, so that
it can recompute the targets of a lost worker.

Time of an evaluation with workers of two such cores, and the time that the transfers take on the
caller's link at 10 Gbit/s:

==========  =========  ==========  ===========  ============  ======
gigapixels  1 worker   10 workers  100 workers  1000 workers  link
==========  =========  ==========  ===========  ============  ======
1           2.8 h      17 min      1.7 min      10 s          40 s
10          28 h       2.8 h       17 min       1.7 min       7 min
100         12 days    28 h        2.8 h        17 min        67 min
==========  =========  ==========  ===========  ============  ======

The link therefore limits the useful number of workers to about 250, whatever the size of the
picture. The caller's memory may run out earlier: the pixels, the gradient and the search take 264
bytes per pixel, 0.26 TB for a gigapixel, in addition to the L-BFGS history, which can be on disk.
From ten gigapixels on, the scheduler's memory is a limit too, with 0.16 TB. Beyond that, the search
itself would have to be distributed: its arrays would stay with the workers of the tiles, only the
inner products of `npstyle.search.lbfgs`, some twenty numbers per step, would travel to the caller,
and workers of adjacent tiles would exchange halos.

Measured on one machine with two cores (`tools/benchmark_cluster.py`, 1024x768, one thread each):
with the built-in network and tiles of 256, one worker took 1.26 times as long as no cluster, and
two workers were 1.72 times as fast as one. With VGG-19 and tiles of 512 the factors were 1.05 and
1.71. The gradients were equal. (Losses always have the same bits. Gradients are added in the order
of arrival, so float64 rounding may differ where halos overlap.)
"""
