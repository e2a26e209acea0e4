"""Readers of other programs' files of weights, one chapter each; `npstyle.networks.convert`
chooses.

All of them read files that nobody vouches for: sizes are checked before memory is taken, nothing in
a file is ever executed, and whatever is wrong is told in one sentence.
"""
