"""Networks that paint in PyTorch, whose autograd checks our hand-written derivatives.

Also used by tools/benchmark_training.py for timing.
"""

import numpy as np
import torch
import torch.nn.functional as functional

from npstyle.maths.conditional import ConditionalNorm
from npstyle.maths.layers import (
    Add,
    Conv,
    DepthwiseConv,
    GlobalPool,
    InstanceNorm,
    Pad,
    Relu,
    Relu6,
    Sigmoid,
    Upsample,
)


def tensor(array, dtype=torch.float64):
    """A leaf of PyTorch's graph."""
    return torch.tensor(np.ascontiguousarray(array), dtype=dtype, requires_grad=True)


def torch_layers(layers, dtype=torch.float64):
    """The arrays of layers as leaves of PyTorch's graph, by layer and name."""
    return {
        layer.name: {
            name: tensor(value, dtype)
            for name, value in vars(layer).items()
            if isinstance(value, np.ndarray)
        }
        for layer in layers
    }


def torch_forward(layers, arrays, x, code=None):
    """The output (1, channels, height, width) of a network, with the normalisations' scales."""
    outputs, norms = {"image": x}, {}
    for layer in layers:
        own = arrays[layer.name]
        match layer:
            case Conv():
                p = layer.padding
                if layer.padding_mode == "reflect":
                    x, p = functional.pad(x, [p] * 4, mode="reflect"), 0
                kernel = own["kernel"].permute(3, 2, 0, 1)
                x = functional.conv2d(x, kernel, own["bias"], layer.stride, p)
            case DepthwiseConv():
                kernel = own["kernel"].permute(2, 0, 1)[:, None]
                way = layer.stride, layer.padding, 1, len(kernel)
                x = functional.conv2d(x, kernel, own["bias"], *way)
            case ConditionalNorm() | InstanceNorm():
                scale, shift = own.get("scale"), own.get("shift")
                if isinstance(layer, ConditionalNorm):
                    scale = own["scale_weights"] @ code + own["scale_bias"]
                    shift = own["shift_weights"] @ code + own["shift_bias"]
                for computed in (scale, shift):
                    if computed.requires_grad:
                        computed.retain_grad()
                norms[layer.name] = {"scale": scale, "shift": shift}
                x = functional.instance_norm(x, weight=scale, bias=shift, eps=layer.epsilon)
            case Relu():
                x = functional.relu(x)
            case Relu6():
                x = functional.relu6(x)
            case Add():
                x = x + outputs[layer.skip]
            case Upsample():
                x = functional.interpolate(x, scale_factor=layer.factor, mode="nearest")
            case Pad():
                x = functional.pad(x, [layer.before, layer.after] * 2)
            case GlobalPool():
                x = x.mean((2, 3), keepdim=True)
            case Sigmoid():
                x = torch.sigmoid(x)
        outputs[layer.name] = x
    return x, norms


def planes(pixels, dtype=torch.float64):
    """(height, width, channels) -> (1, channels, height, width), as a leaf."""
    return tensor(pixels.transpose(2, 0, 1)[None], dtype)


def hwc(gradient):
    """(1, channels, height, width) -> (height, width, channels)."""
    return gradient.numpy()[0].transpose(1, 2, 0)


class TorchPainter:
    """A network with one style in PyTorch. Kernels are kept in PyTorch's own layout."""

    def __init__(self, network, dtype=torch.float64):
        self.network, self.dtype = network, dtype
        self.leaves = torch_layers(network.transformer, dtype)
        for own in self.leaves.values():
            if "kernel" in own:
                own["kernel"] = tensor(own["kernel"].detach().permute(3, 2, 0, 1), dtype)
        self.mean, self.scale = (
            torch.tensor(values, dtype=dtype).view(1, 3, 1, 1)
            for values in (network.mean, network.scale)
        )

    def paint(self, pixels):
        """The picture (1, 3, height, width) of a photo (height, width, 3), RGB, 0..255."""
        arrays = {
            layer: own | ({"kernel": own["kernel"].permute(2, 3, 1, 0)} if "kernel" in own else {})
            for layer, own in self.leaves.items()
        }
        image = (planes(pixels, self.dtype).detach() - self.mean) * self.scale
        output, _ = torch_forward(self.network.transformer, arrays, image)
        return output * self.network.output_scale

    def arrays(self, of=lambda leaf: leaf.detach()):
        """The weights in the layout of npstyle; or their gradients, `of=lambda leaf: leaf.grad`."""
        return {
            layer: {
                name: (of(leaf).permute(2, 3, 1, 0) if name == "kernel" else of(leaf)).numpy()
                for name, leaf in own.items()
            }
            for layer, own in self.leaves.items()
            if own
        }


class TorchTraining(TorchPainter):
    """Steps of a training of a network, judged by a `tests.peer.TorchObjective`."""

    def __init__(self, network, objective):
        super().__init__(network, objective.dtype)
        self.objective = objective
        leaves = [leaf for own in self.leaves.values() for leaf in own.values()]
        self.adam = torch.optim.Adam(leaves, lr=1e-3)

    def backward(self, photos):
        """Compute the gradient of the mean loss of photos (height, width, 3); return the loss."""
        self.adam.zero_grad()
        judge, total = self.objective, 0.0
        for photo in photos:
            with torch.no_grad():
                judge.photo = judge.activations(judge.tensor(photo), judge.content)
            loss = judge.loss(self.paint(photo)) / len(photos)
            loss.backward()
            total += loss.item()
        return total

    def step(self, photos, rate):
        """Take one step of Adam; return the loss before it."""
        loss = self.backward(photos)
        for group in self.adam.param_groups:
            group["lr"] = rate
        self.adam.step()
        return loss
