r"""Adam: steps whose length hardly depends on the size of the gradient.

In step t = 1, 2, ..., let g_t be the gradient of a loss at the weights theta_(t-1). Adam keeps a
running mean m of g and a running mean v of g^2, both of which begin at 0:

    m_t = beta_1 m_(t-1) + (1 - beta_1) g_t
    v_t = beta_2 v_(t-1) + (1 - beta_2) g_t^2

Written out, m_t is a weighted sum of all gradients so far:

    m_t = (1 - beta_1) sum_k beta_1^(t-k) g_k        k = 1, ..., t

    (1 - beta_1) sum_k beta_1^(t-k) = 1 - beta_1^t

The coefficients of the sum add up to less than 1, so m_t is too small at first. Division by
1 - beta_1^t makes it a mean. The same holds for v. The direction d_t of the step, and the step, are

    d_t = (m_t / (1 - beta_1^t)) / (sqrt(v_t / (1 - beta_2^t)) + epsilon)
    theta_t = theta_(t-1) - rate d_t

The first direction is g / (|g| + epsilon), so each weight moves by `rate`, whatever its gradient.
Later d_t is close to 1 or -1 where the gradients agree in sign, and small where they alternate.

Source: Kingma and Ba, "Adam: a method for stochastic optimization" (ICLR 2015, arXiv 1412.6980),
algorithm 1.
"""

import numpy as np

from npstyle.maths.array import Array

BETA_1 = 0.9
"""Share of m that is kept from one step to the next; the paper's value."""

BETA_2 = 0.999
"""Share of v that is kept from one step to the next; the paper's value."""

EPSILON = 1e-8
"""Added to the square root of v, so that no division is by 0; the paper's value."""


def adam_direction(
    gradient: Array, mean: Array, square: Array, t: int
) -> tuple[Array, Array, Array]:
    """Return the new m and v of a step, and its direction d.

    Parameters
    ----------
    gradient, mean, square : arrays of the same shape
        g, and m and v of the previous step; zeros before the first.
    t : int
        Number of the step, from 1.

    Returns
    -------
    mean, square, direction : arrays of the same shape
        theta becomes theta - rate d.
    """
    mean = BETA_1 * mean + (1 - BETA_1) * gradient
    square = BETA_2 * square + (1 - BETA_2) * gradient**2
    unbiased_mean = mean / (1 - BETA_1**t)
    unbiased_square = square / (1 - BETA_2**t)
    return mean, square, unbiased_mean / (np.sqrt(unbiased_square) + EPSILON)
