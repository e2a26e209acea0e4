"""The engine on the processor, with NumPy."""
