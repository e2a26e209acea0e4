"""Networks as data: architecture, weights, and the file formats they are read from."""
