"""Small arrays, run through the textbook: which numbers made an output, and which a gradient.

Nothing here knows how a function works. Which inputs an output reads is found with NaN: one input
becomes NaN, and the outputs that become NaN have read it. How much of a gradient an output sends to
an input is found with the textbook's backward function, given an upstream gradient that is 1 at one
output and 0 elsewhere.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from npstyle import maths
from npstyle.maths.array import Array


@dataclass(frozen=True)
class Example:
    """A function at small arrays.

    Attributes
    ----------
    name : str
        Of the function; unique in the atlas.
    module : str
        The textbook's page that it belongs to.
    about : str
        What the arrays are, a plain sentence.
    x, upstream : arrays
        The input, and the derivative of a loss with respect to the output.
    function : callable
        From x to the output.
    backward : callable
        (upstream, x) -> derivative with respect to x.
    symbols : (str, str)
        Names of the input and of the output in the formulas.
    sentence : callable, optional
        (values read, all of x, index of the output) -> how the output is made of them. By default
        the function is linear, and the output a weighted sum.
    others : tuple of (name, array)
        Further arrays to show, such as a kernel.
    layout : callable
        Arranges an array as a matrix to look at.
    """

    name: str
    module: str
    about: str
    x: Array
    upstream: Array
    function: Callable[[Array], Array]
    backward: Callable[[Array, Array], Array]
    symbols: tuple[str, str]
    sentence: Callable[[Array, Array, tuple[int, ...]], str] | None = None
    others: tuple[tuple[str, Array], ...] = ()
    layout: Callable[[Array], Array] = lambda array: array.reshape(array.shape[0], -1)


@dataclass(frozen=True)
class Cell:
    """A number to point at: its id, what it lights up, and what is said about it."""

    id: str
    value: str
    lights: str = ""
    says: str = ""


@dataclass(frozen=True)
class Grid:
    """A matrix of cells with a name."""

    name: str
    rows: tuple[tuple[Cell, ...], ...]


def grids(example: Example) -> tuple[Grid, ...]:
    """Run an example: input, other arrays, output, upstream gradient and gradient."""
    x, g, name = example.x, example.upstream, example.name
    y, gradient = example.function(x), example.backward(g, x)
    reads, slopes = read_by(example), jacobian(example)
    X, Y = example.symbols
    cells: dict[str, list[Cell]] = {"x": [], "y": [], "dx": [], "dy": []}
    at_x, at_y = _places(example, x), _places(example, y)
    for i in range(x.size):
        place = at_x[i]
        to = " ".join(f"{name}-y{o}" for o in np.flatnonzero(reads[:, i]))
        count = _counted(int(reads[:, i].sum()), "output")
        says = f"{X}{place} = {_number(x.flat[i])} is read by {count}"
        cells["x"].append(Cell(f"{name}-x{i}", _number(x.flat[i]), to, says))
        of = np.flatnonzero(slopes[:, i] * g.ravel())
        terms = [f"{_number(g.flat[o])} × {_number(slopes[o, i])}" for o in of]
        made = f"{_sum(terms)} = {_number(gradient.flat[i])}" if terms else "0: nothing arrives"
        says = f"∂L/∂{X}{place} = {made}"
        to = " ".join(f"{name}-dy{o}" for o in of)
        cells["dx"].append(Cell(f"{name}-dx{i}", _number(gradient.flat[i]), to, says))
    for o in range(y.size):
        place, value = at_y[o], _number(y.flat[o])
        made = _output(example, reads[o], slopes[o], y, o)
        to = " ".join(f"{name}-x{i}" for i in np.flatnonzero(reads[o]))
        says = f"{Y}{place} = {made} = {value}" if made else f"{Y}{place} = {value}, a constant"
        cells["y"].append(Cell(f"{name}-y{o}", value, to, says))
        of = np.flatnonzero(slopes[o] * g.flat[o])
        says = f"∂L/∂{Y}{place} = {_number(g.flat[o])} goes to {_counted(len(of), 'input')}"
        to = " ".join(f"{name}-dx{i}" for i in of)
        cells["dy"].append(Cell(f"{name}-dy{o}", _number(g.flat[o]), to, says))
    return (
        _grid(f"input {X}", x, cells["x"], example),
        *(_plain(title, array, f"{name}-{k}") for k, (title, array) in enumerate(example.others)),
        _grid(f"output {Y}", y, cells["y"], example),
        _grid(f"gradient ∂L/∂{X}", x, cells["dx"], example),
        _grid(f"arriving ∂L/∂{Y}", y, cells["dy"], example),
    )


def read_by(example: Example) -> Array:
    """Find which inputs each output reads: a bool array (outputs, inputs)."""
    found = []
    for i in range(example.x.size):
        spoilt = example.x.copy()
        spoilt.flat[i] = np.nan
        with np.errstate(invalid="ignore"):
            found.append(np.isnan(example.function(spoilt)).ravel())
    return np.stack(found, axis=1)


def jacobian(example: Example) -> Array:
    """Return the derivatives of all outputs, by the backward function: (outputs, inputs)."""
    rows = []
    for o in range(example.upstream.size):
        unit = np.zeros_like(example.upstream)
        unit.flat[o] = 1.0
        rows.append(example.backward(unit, example.x).ravel())
    return np.stack(rows)


def _output(example: Example, reads: Array, slopes: Array, y: Array, o: int) -> str:
    """Say how an output is made."""
    if example.sentence is not None:
        index = tuple(int(k) for k in np.unravel_index(o, y.shape))
        return example.sentence(example.x.ravel()[reads], example.x, index)
    values = example.x.ravel()
    terms = [f"{_number(values[i])} × {_number(slopes[i])}" for i in np.flatnonzero(reads)]
    rest = float(y.flat[o] - values[reads] @ slopes[reads])
    return " + ".join([*terms, *([_number(rest)] if abs(rest) > 1e-9 else [])])


def _grid(name: str, array: Array, cells: list[Cell], example: Example) -> Grid:
    places = example.layout(np.arange(array.size).reshape(array.shape))
    return Grid(name, tuple(tuple(cells[k] for k in row) for row in places))


def _plain(name: str, array: Array, start: str) -> Grid:
    rows = enumerate(array.reshape(array.shape[0], -1))
    return Grid(
        name,
        tuple(
            tuple(Cell(f"{start}-{r}-{k}", _number(v)) for k, v in enumerate(row))
            for r, row in rows
        ),
    )


def _places(example: Example, array: Array) -> dict[int, str]:
    """Return row and column of every entry of an array, as it is shown."""
    shown = example.layout(np.arange(array.size).reshape(array.shape))
    if shown.size == 1:
        return {0: ""}
    return {int(flat): f"[{r}, {k}]" for (r, k), flat in np.ndenumerate(shown)}


def _counted(count: int, what: str) -> str:
    return f"{count or 'no'} {what}" + ("s" if count != 1 else "")


def _number(value: float) -> str:
    return f"{float(value) + 0.0:.3g}".replace("-", "−")  # -0.0 + 0.0 is 0.0


def _sum(terms: list[str]) -> str:
    return " + ".join(terms)


def _joined(values: Array) -> str:
    return ", ".join(map(_number, values))


def _conv() -> Example:
    x = np.array([[1, 0, 2, 1, 0], [0, 3, 1, 0, 2], [2, 1, 0, 1, 1], [1, 0, 2, 3, 0],
                  [0, 1, 1, 0, 2]], float)[..., None]  # fmt: skip
    kernel = np.array([[1, 0, -1], [2, 0, -2], [1, 0, -1]], float)
    g = np.zeros((5, 5, 1))
    g[1, 1], g[2, 3], g[4, 4], g[3, 1] = 1, -2, 1, 0.5
    K = kernel[..., None, None]
    return Example(
        "conv2d",
        "npstyle.maths.conv",
        "A 5x5 input, a 3x3 kernel, stride 1, one row and column of zeros around the input.",
        x,
        g,
        lambda x: maths.conv2d(x, K, None, 1, 1),
        lambda g, x: maths.conv2d_backward(g, K, x.shape, 1, 1),
        ("X", "Z"),
        others=(("kernel K", kernel),),
    )


def _pools() -> list[Example]:
    x = np.array([[1, 3, 0, 2], [2, 0, 4, 1], [5, 1, 2, 2], [0, 1, 3, 6]], float)[..., None]
    g = np.array([[4, -2], [1, 8]], float)[..., None]
    squares = [f"{v:g}²" for v in range(10)]

    def rms(values: Array, x: Array, index: tuple[int, ...]) -> str:
        return f"√(({' + '.join(squares[int(v)] for v in values)}) / {len(values)})"

    return [
        Example(
            "avg_pool2d",
            "npstyle.maths.pooling",
            "A 4x4 input, windows of 2x2 that touch.",
            x,
            g,
            lambda x: maths.avg_pool2d(x, 2),
            lambda g, x: maths.avg_pool2d_backward(g, x.shape, 2),
            ("X", "Y"),
        ),
        Example(
            "max_pool2d",
            "npstyle.maths.pooling",
            "The same input; all four numbers of a window are read, and one of them, the winner, "
            "receives the gradient.",
            x,
            g,
            lambda x: maths.max_pool2d(x, 2),
            lambda g, x: maths.max_pool2d_backward(g, x, 2),
            ("X", "Y"),
            lambda values, x, index: f"max({_joined(values)})",
        ),
        Example(
            "l2_pool2d",
            "npstyle.maths.pooling",
            "The same input; the larger numbers of a window receive more of the gradient.",
            x,
            g,
            lambda x: maths.l2_pool2d(x, 2),
            lambda g, x: maths.l2_pool2d_backward(g, x, 2),
            ("X", "Y"),
            rms,
        ),
    ]


def _paddings() -> list[Example]:
    x = np.arange(1.0, 10.0).reshape(3, 3, 1)
    g = np.array([[1, 0, 2, 0, 1], [0, 1, 0, 3, 0], [2, 0, 1, 0, 4], [0, 5, 0, 1, 0],
                  [1, 0, 2, 0, 1]], float)[..., None]  # fmt: skip
    kinds = [
        ("zero_pad", maths.zero_pad, maths.zero_pad_backward,
         "The zeros are constants: the gradient that arrives at them goes nowhere."),
        ("replicate_pad", maths.replicate_pad, maths.replicate_pad_backward,
         "A number at the edge is copied, and collects the gradients of its copies."),
        ("reflect_pad", maths.reflect_pad, maths.reflect_pad_backward,
         "The row and the column next to the edge are copied beyond it."),
    ]  # fmt: skip

    def example(
        name: str, pad: Callable[..., Array], back: Callable[..., Array], about: str
    ) -> Example:
        return Example(
            name,
            "npstyle.maths.padding",
            f"A 3x3 input with one row and column more on each side. {about}",
            x,
            g,
            lambda x: pad(x, 1),
            lambda g, x: back(g, 1),
            ("X", "Y"),
        )

    return [example(*kind) for kind in kinds]


def _pointwise() -> list[Example]:
    z = np.array([[-2, 1, 0.5], [3, -1, 0], [7, 2, -4]], float)[..., None]
    g = np.array([[1, 2, 3], [-1, 5, 4], [2, -2, 1]], float)[..., None]
    blocks = np.array([[1, 2], [3, 4]], float)[..., None]
    at_blocks = np.arange(1.0, 17.0).reshape(4, 4, 1)
    return [
        Example(
            "relu",
            "npstyle.maths.relu",
            "The gradient passes where the output is above 0; at exactly 0 it does not.",
            z,
            g,
            maths.relu,
            lambda g, z: maths.relu_backward(g, maths.relu(z)),
            ("Z", "F"),
            lambda values, x, index: f"max({_joined(values)}, 0)",
        ),
        Example(
            "upsample",
            "npstyle.maths.upsampling",
            "Each number of a 2x2 input becomes a block of 2x2.",
            blocks,
            at_blocks,
            lambda x: maths.upsample(x, 2),
            lambda g, x: maths.upsample_backward(g, 2),
            ("X", "Y"),
        ),
    ]


def _gram() -> Example:
    F = np.array([[[1, 0, 2], [0, 1, 3]], [[2, 1, 0], [1, 0, 1]]], float)

    def products(values: Array, x: Array, index: tuple[int, ...]) -> str:
        rows = x.reshape(-1, x.shape[2]).T[list(index)]
        return _sum([f"{_number(a)} × {_number(b)}" for a, b in rows.T])

    return Example(
        "gram",
        "npstyle.maths.gram",
        "Three channels at 2x2 positions. As in the formulas, each row is a channel and each "
        "column a position. An entry of G reads two channels, at all positions.",
        F,
        np.array([[1, 0, 2], [0, -1, 0], [1, 0, 0]], float),
        maths.gram,
        lambda D, F: maths.gram_backward(D, F),
        ("F", "G"),
        products,
        layout=lambda array: (
            array.reshape(-1, array.shape[2]).T if array.ndim == 3 else array.reshape(3, 3)
        ),
    )


def _norm() -> Example:
    x = np.array([[1, 2, 3], [2, 6, 2], [3, 2, 6]], float)[..., None]
    g = np.zeros((3, 3, 1))
    g[1, 1], g[0, 0] = 1, -0.5
    a, b = np.array([2.0]), np.array([1.0])

    def normalized(values: Array, x: Array, index: tuple[int, ...]) -> str:
        m, s = x.mean(), x.std()
        return f"2 × ({_number(x[index])} − {_number(m)}) / {_number(s)} + 1"

    return Example(
        "instance_norm",
        "npstyle.maths.normalization",
        "One channel of 3x3, scale 2 and shift 1. Every output reads every input, through the mean "
        "and the variance; so each input receives gradient from every output that has some.",
        x,
        g,
        lambda x: maths.instance_norm(x, a, b),
        lambda g, x: maths.instance_norm_backward(g, x, a),
        ("X", "Y"),
        normalized,
    )


def _variation() -> Example:
    x = np.array([[1, 2, 4], [1, 5, 4], [0, 2, 3]], float)[..., None]
    return Example(
        "total_variation",
        "npstyle.maths.variation",
        "A 3x3 picture; its total variation is one number.",
        x,
        np.ones((1,)),
        lambda x: np.atleast_1d(maths.total_variation(x)),
        lambda g, x: g[0] * maths.total_variation_backward(x),
        ("X", "T"),
        lambda values, x, index: "the sum of all squared differences of neighbours",
    )


def _checkerboard() -> Example:
    x = np.array([[9, 1, 8, 2], [3, 4, 3, 5], [8, 1, 9, 0], [4, 3, 2, 4]], float)[..., None]
    return Example(
        "checkerboard",
        "npstyle.maths.checkerboard",
        "One window of 4x4 pixels, in cells of 2x2 whose upper left pixels are bright.",
        x,
        np.ones((1,)),
        lambda x: np.atleast_1d(maths.checkerboard_loss(x, 2, 4)),
        lambda g, x: g[0] * maths.checkerboard_loss_backward(x, 2, 4),
        ("X", "E"),
        lambda values, x, index: "the squares of the four means R - m, times the number of cells",
    )


def examples() -> list[Example]:
    """Return all examples."""
    layers = [_conv(), *_pools(), *_paddings(), *_pointwise(), _norm()]
    return [*layers, _gram(), _variation(), _checkerboard()]
