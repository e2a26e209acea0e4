"""State dictionaries like those of PyTorch's fast_neural_style, and the network in PyTorch."""

import numpy as np

PUBLISHED = (32, 64, 128)
"""Channels of the published networks."""


def _shapes(widths, blocks, decoder):
    """Output and input channels and kernel sizes of the convolutions, in order, with their norms.

    `decoder` has the channels of deconv1 and deconv2.
    """
    one, two, three = widths
    yield "conv1", "in1", (one, 3, 9)
    yield "conv2", "in2", (two, one, 3)
    yield "conv3", "in3", (three, two, 3)
    for k in range(1, blocks + 1):
        yield f"res{k}.conv1", f"res{k}.in1", (three, three, 3)
        yield f"res{k}.conv2", f"res{k}.in2", (three, three, 3)
    yield "deconv1", "in4", (decoder[0], three, 3)
    yield "deconv2", "in5", (decoder[1], decoder[0], 3)
    yield "deconv3", None, (3, decoder[1], 9)


def draw_tensors(rng, widths=(4, 6, 8), blocks=2, decoder=None, running=False):
    """Random values by their names, such that the output fills the range of pixels and exceeds it.

    `running`: with the running means and variances of versions before 0.4.
    """
    tensors = {}
    for conv, norm, (filters, channels, size) in _shapes(widths, blocks, decoder or widths[1::-1]):
        kernel = rng.standard_normal((filters, channels, size, size))
        kernel *= (100 if norm is None else 1) / np.sqrt(channels * size**2)
        shift = rng.normal(128 if norm is None else 0, 0.3, filters)
        tensors[f"{conv}.conv2d.weight"], tensors[f"{conv}.conv2d.bias"] = kernel, shift
        if norm:
            tensors[f"{norm}.weight"] = rng.uniform(0.5, 1.5, filters)
            tensors[f"{norm}.bias"] = rng.normal(0, 0.3, filters)
        if norm and running:
            tensors[f"{norm}.running_mean"] = rng.standard_normal(filters)
            tensors[f"{norm}.running_var"] = rng.uniform(0.5, 2, filters)
    return {name: array.astype(np.float32) for name, array in tensors.items()}


def torch_network(widths=PUBLISHED, blocks=5):
    """The network as a module of PyTorch, whose state dictionary has the published names."""
    import torch
    from torch import nn

    class Mirrored(nn.Module):
        """A convolution of the image mirrored at its edges, enlarged before if asked."""

        def __init__(self, channels, filters, size, stride=1, enlarge=1):
            super().__init__()
            self.conv2d = nn.Conv2d(channels, filters, size, stride)
            self.border, self.enlarge = [size // 2] * 4, enlarge

        def forward(self, x):
            if self.enlarge > 1:
                x = nn.functional.interpolate(x, scale_factor=self.enlarge, mode="nearest")
            return self.conv2d(nn.functional.pad(x, self.border, mode="reflect"))

    class Residual(nn.Module):
        def __init__(self, channels):
            super().__init__()
            self.conv1, self.conv2 = (Mirrored(channels, channels, 3) for _ in range(2))
            self.in1, self.in2 = (nn.InstanceNorm2d(channels, affine=True) for _ in range(2))

        def forward(self, x):
            y = torch.relu(self.in1(self.conv1(x)))
            return x + self.in2(self.conv2(y))

    class Painter(nn.Module):
        def __init__(self):
            super().__init__()
            one, two, three = widths
            self.conv1, self.conv2 = Mirrored(3, one, 9), Mirrored(one, two, 3, 2)
            self.conv3 = Mirrored(two, three, 3, 2)
            for k in range(1, blocks + 1):
                setattr(self, f"res{k}", Residual(three))
            self.deconv1 = Mirrored(three, two, 3, enlarge=2)
            self.deconv2 = Mirrored(two, one, 3, enlarge=2)
            self.deconv3 = Mirrored(one, 3, 9)
            for k, channels in enumerate((*widths, two, one), start=1):
                setattr(self, f"in{k}", nn.InstanceNorm2d(channels, affine=True))

        def forward(self, x):
            for conv, norm in zip(("conv1", "conv2", "conv3"), ("in1", "in2", "in3"), strict=True):
                x = torch.relu(getattr(self, norm)(getattr(self, conv)(x)))
            for k in range(1, blocks + 1):
                x = getattr(self, f"res{k}")(x)
            x = torch.relu(self.in4(self.deconv1(x)))
            return self.deconv3(torch.relu(self.in5(self.deconv2(x))))

    return Painter()
