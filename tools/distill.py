r"""Distillation of a large network into a small one: the mathematics of `tools/train_builtin.py`.

Let F_t (positions, N_t) be the teacher's activation of a layer, and F (positions, N) the student's.
The student is good if a linear map M predicts the teacher's activation from its own:

    L = sum_l w_l |F_t - F M|^2 / |F_t|^2

For a given student, the best map is the least-squares solution M = S^-1 T with the second moments
S = F^T F and T = F^T F_t. There dL/dM = 0, so the derivative with respect to F is that at fixed M,

    dL/dF = 2 w_l (F M - F_t) M^T / |F_t|^2

The Gram matrices follow: if F_t = F M, the teacher's Gram matrix is M^T G M. A picture whose Gram
matrix at the student equals the painting's then has the painting's Gram matrix at the teacher as
well. For this reason the map has no constant term, and the error is relative to the sum of squares
of all channels, so that channels with large activations count most.

The derivatives with respect to the student's kernels and biases are those of `npstyle.engine.cpu`.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from npstyle.engine.cpu import (
    avg_pool2d,
    avg_pool2d_backward,
    conv2d,
    conv2d_backward,
    conv2d_backward_weights,
    relu,
    relu_backward,
)
from npstyle.maths.array import Array
from npstyle.networks.architecture import ConvSpec, LayerSpec, PoolSpec

Tensors = dict[str, Array]
""""conv1_1.weight" (kernel height, kernel width, in, out) and "conv1_1.bias" (out,), ..."""

FITS = 6
"""Number of least-squares fits in `fit_rectified`."""

RIDGE = 1e-4
"""Added to the diagonal of S, relative to its mean; bounds M if two filters are nearly equal."""


def student_forward(
    layers: Sequence[LayerSpec], tensors: Tensors, image: Array
) -> tuple[dict[str, Array], list[Array]]:
    """Run the student on a preprocessed image (height, width, 3).

    Returns
    -------
    activations : dict of arrays (height, width, channels), by convolution
    inputs : list of arrays
        The input of each layer, and at the end the output of the last; for `student_backward`.
    """
    activations, inputs = {}, [image]
    for index, layer in enumerate(layers):
        if isinstance(layer, ConvSpec):
            kernel, bias = tensors[f"{layer.name}.weight"], tensors[f"{layer.name}.bias"]
            image = conv2d(image, kernel, bias, layer.stride, layer.padding)
        elif isinstance(layer, PoolSpec):
            image = avg_pool2d(image, layer.size, layer.stride)
        else:
            image = relu(image)
            activations[layers[index - 1].name] = image
        inputs.append(image)
    return activations, inputs


def student_backward(
    layers: Sequence[LayerSpec],
    tensors: Tensors,
    inputs: list[Array],
    at_activations: Mapping[str, Array],
) -> Tensors:
    """Derivatives of the loss with respect to all kernels and biases, by the names of the tensors.

    Parameters
    ----------
    layers, tensors
        As for `student_forward`.
    inputs : list
        From `student_forward`.
    at_activations : dict of arrays (height, width, channels), by convolution
        dL/dF of the losses at this activation, without the gradient from deeper layers.
    """
    gradients: Tensors = {}
    gradient = np.zeros_like(inputs[-1])
    for index in range(len(layers) - 1, -1, -1):
        layer, before = layers[index], inputs[index]
        if isinstance(layer, ConvSpec):
            kernel = tensors[f"{layer.name}.weight"]
            at_kernel, at_bias = conv2d_backward_weights(
                gradient, before, kernel.shape[:2], layer.stride, layer.padding
            )
            gradients[f"{layer.name}.weight"] = at_kernel
            gradients[f"{layer.name}.bias"] = at_bias
            if index > 0:
                gradient = conv2d_backward(
                    gradient, kernel, before.shape, layer.stride, layer.padding
                )
        elif isinstance(layer, PoolSpec):
            gradient = avg_pool2d_backward(gradient, before.shape, layer.size, layer.stride)
        else:
            own = at_activations.get(layers[index - 1].name)
            if own is not None:
                gradient = gradient + own
            gradient = relu_backward(gradient, inputs[index + 1])
    return gradients


@dataclass
class Bridge:
    """The linear map from the student's activation of one layer to the teacher's.

    Attributes
    ----------
    S, T : float64 arrays (N, N) and (N, N_t)
        Second moments F^T F and F^T F_t of all activations added so far.
    energy : float
        |F_t|^2 of the same activations.
    """

    S: Array
    T: Array
    energy: float

    @classmethod
    def empty(cls, student_channels: int, teacher_channels: int) -> "Bridge":
        """Return a map without any activations."""
        return cls(
            np.zeros((student_channels, student_channels)),
            np.zeros((student_channels, teacher_channels)),
            0.0,
        )

    def fade(self, keep: float) -> None:
        """Multiply all moments by `keep`, so that older activations count less."""
        self.S *= keep
        self.T *= keep
        self.energy *= keep

    def add(self, F: Array, F_t: Array) -> None:
        """Add the moments of a pair of activations, (positions, N) and (positions, N_t)."""
        self.S += F.T @ F
        self.T += F.T @ F_t
        self.energy += float(np.vdot(F_t, F_t))

    def solve(self) -> Array:
        """Return M (N, N_t), the least-squares map of the activations added so far."""
        ridge = RIDGE * np.trace(self.S) / len(self.S)
        return np.linalg.solve(self.S + ridge * np.eye(len(self.S)), self.T)

    def unexplained(self) -> float:
        """Return the unexplained variance |F_t - F M|^2 / |F_t|^2 with the least-squares map M."""
        M = self.solve()
        explained = 2 * np.vdot(M, self.T) - np.vdot(M, self.S @ M)
        return float(1 - explained / self.energy)


def bridge_loss(F: Array, F_t: Array, M: Array) -> tuple[float, Array]:
    """Return |F_t - F M|^2 / |F_t|^2 and its derivative with respect to F, (positions, N).

    Parameters
    ----------
    F, F_t : arrays (positions, N) and (positions, N_t)
    M : array (N, N_t)
    """
    difference = F @ M - F_t
    energy = float(np.vdot(F_t, F_t))
    return float(np.vdot(difference, difference)) / energy, (2 / energy) * (difference @ M.T)


def choose_channels(second_moments: Array, count: int) -> list[int]:
    """Choose the channels that predict the others best, one after another.

    With C = F_t^T F_t, channel j explains sum_i C_ij^2 / C_jj of the sum of squares. The best
    channel is chosen, the rest C - C_j C_j^T / C_jj replaces C, and so on.

    Parameters
    ----------
    second_moments : array (N_t, N_t)
        C.
    count : int
        Number of channels to choose.
    """
    C = second_moments.astype(np.float64)
    floor = 1e-9 * C.trace() / len(C)
    chosen: list[int] = []
    for _ in range(count):
        power = np.where(C.diagonal() > floor, C.diagonal(), np.inf)
        explained = (C**2).sum(axis=0) / power
        explained[chosen] = -1
        best = int(explained.argmax())
        chosen.append(best)
        C = C - np.outer(C[:, best], C[best]) / max(C[best, best], floor)
    return chosen


def fit_rectified(
    inputs: Sequence[Array], targets: Sequence[Array]
) -> tuple[tuple[Array, Array], float]:
    """Fit a 3x3 convolution with padding 1 whose output after the ReLU is that of the targets.

    A least-squares fit of Z would also spend effort on negative values, which the ReLU removes.
    Therefore the fit is repeated. Each time, a negative target is replaced by 0 where the fit is
    positive, and by the value of the fit where that is negative too.

    Parameters
    ----------
    inputs : arrays (height, width, channels in)
    targets : arrays (height, width, channels out)
        Pre-activations Z.

    Returns
    -------
    (kernel, bias) : float32 arrays (3, 3, channels in, channels out) and (channels out,)
    left : float
        Squared error after the ReLU, relative to the sum of squares of the rectified targets.
    """
    channels, filters = inputs[0].shape[2], targets[0].shape[2]
    columns = [patches(image) for image in inputs]
    S: Any = sum((C.T @ C).astype(np.float64) for C in columns)
    size = np.sqrt(S.diagonal())
    S = S / np.outer(size, size) + 1e-5 * np.eye(len(S))
    wanted = [target.reshape(-1, filters) for target in targets]
    for _ in range(FITS):
        T: Any = sum((C.T @ Z).astype(np.float64) for C, Z in zip(columns, wanted, strict=True))
        fit = (np.linalg.solve(S, T / size[:, None]) / size[:, None]).astype(np.float32)
        missed = energy = 0.0
        for k, (C, target) in enumerate(zip(columns, targets, strict=True)):
            Z = target.reshape(-1, filters)
            own = C @ fit
            missed += float(((np.maximum(own, 0) - np.maximum(Z, 0)) ** 2).sum())
            energy += float((np.maximum(Z, 0) ** 2).sum())
            wanted[k] = np.where(Z > 0, Z, np.minimum(own, 0))
    return (fit[:-1].reshape(3, 3, channels, filters), fit[-1]), missed / energy


def patches(image: Array) -> Array:
    """Return the 3x3 windows around all positions, and a 1: (positions, 9 channels + 1)."""
    padded = np.pad(image, ((1, 1), (1, 1), (0, 0)))
    windows = np.lib.stride_tricks.sliding_window_view(padded, (3, 3), axis=(0, 1))
    columns = windows.transpose(0, 1, 3, 4, 2).reshape(image.shape[0] * image.shape[1], -1)
    return np.concatenate([columns, np.ones((len(columns), 1), image.dtype)], axis=1)
