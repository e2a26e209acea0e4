"""The kernels: one chapter each, a formula, its derivative, and the two functions that run them.

Activations are arrays (height, width, channels), kernels (kernel height, kernel width, channels
in, channels out). Every function takes and returns plain arrays of any float dtype.
"""
