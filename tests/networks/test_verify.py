from dataclasses import replace

import numpy as np
import pytest

from npstyle.errors import InputError
from npstyle.networks.verify import check_activations, draw_picture, layer_means, with_check
from npstyle.networks.weights import find_weights, load_weights, save_weights


@pytest.fixture
def weights():
    return with_check(load_weights(find_weights("builtin")))


def test_the_picture_fills_the_range_of_pixels_and_stays_inside():
    picture = draw_picture()
    assert picture.shape == (48, 64, 3)
    assert 0 <= picture.min() < 30
    assert 225 < picture.max() <= 255


def test_the_means_agree_after_saving_and_loading(weights, tmp_path):
    path = tmp_path / "again.npz"
    save_weights(path, weights)
    again = load_weights(path)
    assert again.check == weights.check
    assert len(weights.check) == 16
    for stored, found in check_activations(path, again).values():
        assert found == pytest.approx(stored, rel=1e-12)


@pytest.mark.parametrize("change", ["weight", "bias", "mean", "order", "scale"])
def test_any_change_of_the_activations_is_detected(weights, tmp_path, change):
    tensors = dict(weights.tensors)
    if change in ("weight", "bias"):
        name = f"conv2_1.{change}"
        tensors[name] = tensors[name].copy()
        tensors[name].flat[3] += np.float16(0.05) * abs(tensors[name]).max()
    changed = {
        "weight": {"tensors": tensors},
        "bias": {"tensors": tensors},
        "mean": {"mean": (104.0, 117.0, 123.0)},
        "order": {"channel_order": {"RGB": "BGR", "BGR": "RGB"}[weights.channel_order]},
        "scale": {"scale": (1.0, 1.0, 1.001)},
    }[change]
    with pytest.raises(InputError, match=r"a\.npz: the mean activation of conv\d_1 .* was .* when"):
        check_activations(tmp_path / "a.npz", replace(weights, **changed))


def test_a_file_without_means_is_refused(weights, tmp_path):
    with pytest.raises(InputError, match="stores no activations"):
        check_activations(tmp_path / "a.npz", replace(weights, check={}))


def test_the_picture_activates_every_convolution(weights):
    means = layer_means(weights)
    assert list(means) == [name for name in means if name.startswith("conv")]
    assert all(value > 0 for value in means.values())
