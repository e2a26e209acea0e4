"""The same objective in PyTorch, whose autograd checks our hand-written derivatives.

Also used by tools/benchmark.py for timing.
"""

from dataclasses import replace

import numpy as np
import torch
import torch.nn.functional as functional

from npstyle.maths.layers import Conv, Pool, Relu


class TorchObjective:
    """`npstyle.engine.objective.StyleObjective` with PyTorch's forward pass and autograd."""

    def __init__(self, network, photo, painting, settings, dtype=torch.float64):
        self.settings, self.dtype = settings, dtype
        self.content = {network.canonical(n): w for n, w in settings.content_layers.items()}
        self.style = {network.canonical(n): w for n, w in settings.style_layers.items()}
        self.parameters = {
            layer.name: (
                torch.tensor(np.ascontiguousarray(layer.kernel.transpose(3, 2, 0, 1)), dtype=dtype),
                torch.tensor(layer.bias, dtype=dtype),
            )
            for layer in network.layers
            if isinstance(layer, Conv)
        }
        # Only the network's description is kept, so the weights are in memory once.
        empty = np.empty(0)
        self.network = replace(
            network,
            layers=tuple(
                replace(layer, kernel=empty, bias=empty) if isinstance(layer, Conv) else layer
                for layer in network.layers
            ),
        )
        with torch.no_grad():
            found = self.activations(self.tensor(photo), self.content)
            self.photo = {name: found[name] for name in self.content}
            found = self.activations(self.tensor(painting), self.style)
            self.painting = {name: self.gram(found[name]) for name in self.style}

    def tensor(self, pixels):
        """(height, width, 3) -> (1, 3, height, width), still RGB pixels."""
        return torch.tensor(pixels.transpose(2, 0, 1)[None].copy(), dtype=self.dtype)

    def activations(self, pixels, wanted):
        order = [2, 1, 0] if self.network.channel_order == "BGR" else [0, 1, 2]
        mean, scale = (
            torch.tensor(values, dtype=self.dtype).view(1, 3, 1, 1)
            for values in (self.network.mean, self.network.scale)
        )
        x = (pixels[:, order] - mean) * scale
        found, last = {}, ""
        for layer in self.network.layers:
            match layer:
                case Conv():
                    weight, bias = self.parameters[layer.name]
                    padding = layer.padding
                    if layer.padding_mode == "replicate":
                        x = functional.pad(x, [padding] * 4, mode="replicate")
                        padding = 0
                    x = functional.conv2d(x, weight, bias, layer.stride, padding)
                    last = layer.name
                case Relu():
                    x = functional.relu(x)
                    found[last] = x
                case Pool(mode="avg"):
                    x = functional.avg_pool2d(x, layer.size, layer.stride)
                case Pool():
                    x = functional.max_pool2d(x, layer.size, layer.stride)
            if set(wanted) <= set(found):
                break
        return {name: found[name] for name in wanted}

    @staticmethod
    def gram(activation):
        F = activation.reshape(activation.shape[1], -1)
        return F @ F.T / F.shape[1]

    def loss(self, pixels):
        settings = self.settings
        found = self.activations(pixels, {**self.content, **self.style})
        mse = functional.mse_loss
        total = pixels.new_zeros(())
        for name, weight in self.content.items():
            F, P = found[name], self.photo[name]
            term = mse(F, P) if settings.scaling == "means" else 0.5 * ((F - P) ** 2).sum()
            total = total + settings.content_weight * weight * term
        for name, weight in self.style.items():
            G, A = self.gram(found[name]), self.painting[name]
            N = len(G)
            if settings.scaling == "means":
                term = mse(G, A) / N**2
            else:
                term = ((G - A) ** 2).sum() / (4 * N**2)
            total = total + settings.style_weight * weight * term
        right = pixels[..., 1:] - pixels[..., :-1]
        below = pixels[..., 1:, :] - pixels[..., :-1, :]
        return total + settings.tv_weight * ((right**2).sum() + (below**2).sum())

    def __call__(self, pixels):
        """Loss and gradient (height, width, 3) at pixels (height, width, 3)."""
        x = self.tensor(pixels).requires_grad_()
        loss = self.loss(x)
        loss.backward()
        return loss.item(), x.grad.numpy()[0].transpose(1, 2, 0).astype(np.float64)
