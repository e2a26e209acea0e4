"""The parts of the verification laboratory; `npstyle.lab.gradcheck` is its door.

`probes` looks at one function along one line, `trial` makes any function and backward function
such a scalar one, `methods` are the five ways to check it, `battery` is npstyle's own derivatives.
"""
