"""Networks as data: architecture, weights, and the files they come from."""
