"""Networks that paint in one pass, run fast: bound, forward, and backward to picture and weights.

The mathematics is that of `npstyle.maths.network`. The modules:

- `bind`: a list of layers prepared once; upsampling joins the convolution behind it
- `subpixel`: that convolution, without the enlarged image
- `passes`: forward and backward
- `memory`: how much memory a pass takes, counted before it starts
"""
