"""Feed-forward style networks: one pass paints a photo."""
