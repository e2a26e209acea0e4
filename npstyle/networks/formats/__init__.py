"""Readers of the weights files of other programs, one module per format.

`npstyle.networks.convert` chooses the reader. The readers do not trust a file: they check sizes
before they allocate memory, they execute nothing, and they report each error in one sentence.
"""
