import numpy as np
import pytest

from npstyle.errors import InputError
from npstyle.networks.convert import convert
from npstyle.networks.formats.batch_norm import fold
from npstyle.networks.verify import draw_picture
from npstyle.networks.weights import load_weights
from tests.networks import foreign as f
from tests.networks.test_convert import activations_of


def draw_tensors(rng, letter="D", bias=True):
    """The tensors of torchvision's VGG with batch normalisation, in float64, with few channels."""
    tensors, number, block = {}, 0, "1"
    for layer, (kernel, shift) in f.draw_values(rng, letter).items():
        if layer[4] != block:
            block, number = layer[4], number + 1
        n = len(kernel)
        tensors[f"features.{number}.weight"] = kernel / np.sqrt(9 * kernel.shape[1])
        if bias:
            tensors[f"features.{number}.bias"] = shift.astype(np.float64)
        norm = f"features.{number + 1}"
        tensors[f"{norm}.weight"] = rng.uniform(0.5, 1.5, n)
        tensors[f"{norm}.bias"] = rng.normal(0.5, 0.3, n)
        tensors[f"{norm}.running_mean"] = rng.standard_normal(n)
        tensors[f"{norm}.running_var"] = rng.uniform(0.3, 3, n)
        number += 3
    return {name: np.asarray(array, np.float64) for name, array in tensors.items()}


def test_a_folded_convolution_equals_the_convolution_and_the_normalisation(rng):
    K, x = rng.standard_normal((4, 3, 3, 3)), rng.standard_normal((3, 3, 3))
    b, gamma, beta, mean = rng.standard_normal((4, 4))
    variance = rng.uniform(0.5, 2, 4)
    folded, shifted = fold(K, b, gamma, beta, mean, variance)
    z = (K * x).sum(axis=(1, 2, 3)) + b
    expected = gamma * (z - mean) / np.sqrt(variance + 1e-5) + beta
    assert np.allclose((folded * x).sum(axis=(1, 2, 3)) + shifted, expected, rtol=1e-12)


def test_a_half_precision_kernel_is_folded_in_float32(rng):
    one = np.ones(1, np.float16)
    kernel, bias = fold(np.ones((1, 1, 1, 1), np.float16), one, one, one, one, one)
    assert kernel.dtype == bias.dtype == np.float32


@pytest.mark.parametrize("letter", "DE")
def test_a_network_with_batch_normalisation_is_read_and_its_source_says_so(rng, tmp_path, letter):
    tensors = draw_tensors(rng, letter)
    source = f.write_safetensors(tmp_path / "a.safetensors", tensors)
    weights = convert(source, tmp_path / "out.npz", "rgb")
    assert weights.source.endswith("batch normalisation folded into the convolutions)")
    parts = [f"0.{part}" for part in ("weight", "bias")]
    parts += [f"1.{part}" for part in ("weight", "bias", "running_mean", "running_var")]
    kernel, bias = fold(*(tensors[f"features.{part}"] for part in parts))
    assert np.array_equal(weights.tensors["conv1_1.weight"], kernel)
    assert np.array_equal(weights.tensors["conv1_1.bias"], bias)
    assert sum(name.endswith("weight") for name in weights.tensors) == {"D": 13, "E": 16}[letter]


@pytest.mark.peers
@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize("letter", "DE")
def test_activations_are_those_of_pytorch_in_evaluation(rng, tmp_path, letter, bias):
    torch = pytest.importorskip("torch")
    nn = torch.nn
    tensors = draw_tensors(rng, letter, bias)
    modules, block = [], "1"
    values = f.draw_values(rng, letter)
    for layer, (kernel, _) in values.items():
        if layer[4] != block:
            block = layer[4]
            modules.append(nn.AvgPool2d(2))
        conv = nn.Conv2d(kernel.shape[1], len(kernel), 3, padding=1, bias=bias)
        modules += [conv, nn.BatchNorm2d(len(kernel)), nn.ReLU()]
    network = nn.Module()
    network.features = nn.Sequential(*modules)
    network = network.double()
    state = {name: torch.from_numpy(array) for name, array in tensors.items()}
    network.load_state_dict(state, strict=False)
    network.eval()
    torch.save(network.state_dict(), tmp_path / "a.pth")
    weights = convert(tmp_path / "a.pth", tmp_path / "out.npz", "rgb")
    assert "batch normalisation folded into the convolutions" in weights.source
    x = (draw_picture() - weights.mean) * weights.scale
    x = torch.from_numpy(x).permute(2, 0, 1)[None]
    names, expected = iter(values), {}
    with torch.no_grad():
        for module in network.features:
            x = module(x)
            if isinstance(module, nn.ReLU):
                expected[next(names)] = x[0].permute(1, 2, 0).numpy()
    stored = load_weights(tmp_path / "out.npz")
    assert all(tensor.dtype == np.float64 for tensor in stored.tensors.values())
    # The network of a run has its kernels in float32.
    for name, F in activations_of(tmp_path / "out.npz").items():
        assert np.allclose(F, expected[name], rtol=1e-5, atol=1e-5 * expected[name].max()), name


def without_variance(tensors):
    del tensors["features.4.running_var"]
    return "features.4.running_var is missing"


def of_other_channels(tensors):
    tensors["features.4.bias"] = np.zeros(3)
    return "does not have the 2 channels"


def of_negative_variance(tensors):
    tensors["features.4.running_var"] -= 5
    return "conv1_2 contains NaN"


@pytest.mark.parametrize("damage", [without_variance, of_other_channels, of_negative_variance])
def test_a_damaged_normalisation_is_refused(rng, tmp_path, damage):
    tensors = draw_tensors(rng)
    says = damage(tensors)
    source = f.write_safetensors(tmp_path / "a.safetensors", tensors)
    with pytest.raises(InputError, match=says):
        convert(source, tmp_path / "out.npz")
