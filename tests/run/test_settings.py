import pytest

from npstyle.errors import InputError
from npstyle.run.settings import PRESETS, STYLE_LAYERS, Settings
from npstyle.run.table import parse_layers, weighted


def test_presets_are_the_published_numbers():
    gatys, paper, neural = (PRESETS[name] for name in ("gatys", "paper", "neural-style"))
    assert (gatys.content_weight, gatys.style_weight, gatys.scaling) == (1, 1e3, "means")
    assert (gatys.pooling, gatys.init, gatys.iterations) == ("avg", "auto", 230)
    assert paper.content_weight / paper.style_weight == pytest.approx(1e-3)
    assert set(paper.style_layers.values()) == {0.2}
    assert (paper.scaling, paper.pooling, paper.init, paper.iterations) == (
        "sums",
        "avg",
        "noise",
        450,
    )
    assert (neural.content_weight, neural.style_weight, neural.scaling) == (5, 100, "means")
    assert (neural.pooling, neural.init, neural.iterations) == ("max", "noise", 900)
    for preset in (gatys, paper, neural):
        assert tuple(preset.style_layers) == STYLE_LAYERS
        assert dict(preset.content_layers) == {"conv4_2": 1}
    assert Settings() == gatys


@pytest.mark.parametrize(
    ("texts", "share", "expected"),
    [
        (["conv4_2"], False, {"conv4_2": 1.0}),
        (["conv4_2:0.5"], True, {"conv4_2": 0.5}),
        (["conv1_1,conv2_1"], True, {"conv1_1": 0.5, "conv2_1": 0.5}),
        (["conv1_1, conv2_1:3", "conv3_1"], False, {"conv1_1": 1, "conv2_1": 3, "conv3_1": 1}),
    ],
)
def test_layers_are_read_with_and_without_weights(texts, share, expected):
    layers = parse_layers("--style-layers", texts)
    assert weighted(layers, share) == pytest.approx(expected)


@pytest.mark.parametrize("text", ["conv1_1:x", "conv1_1:", "conv1_1,conv1_1:2"])
def test_a_bad_layer_names_the_option(text):
    with pytest.raises(InputError, match=r"--style-layers conv1_1"):
        parse_layers("--style-layers", [text])


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"size": 0}, "--size 0"),
        ({"size": 10**23}, "--size 10+: give a number of 1000000 or less"),
        ({"iterations": 0}, "--iterations 0"),
        ({"iterations": 10**20}, "--iterations 10+: give a number of 10000000 or less"),
        ({"style_scale": 0.0}, "--style-scale"),
        ({"style_scale": float("nan")}, "--style-scale"),
        ({"style_scale": 1e300}, "--style-scale"),
        ({"content_weight": -1.0}, "--content-weight"),
        ({"style_weight": float("inf")}, "--style-weight"),
        ({"tv_weight": float("nan")}, "--tv-weight"),
        ({"style_layers": {"conv1_1": -1.0}}, "--style-layers conv1_1"),
        ({"seed": -1}, "--seed"),
        ({"size": 48.5}, "--size 48.5: give a whole number"),
        ({"size": None}, "--size None: give a whole number"),
        ({"style_weight": "much"}, "--style-weight much: give a number"),
        ({"pooling": "median"}, "--pooling median: give one of avg, max, l2"),
        ({"optimizer": "sgd"}, "--optimizer sgd: give one of"),
        ({"dtype": "float16"}, "--dtype float16: give one of"),
        ({"preset": "dali"}, "--preset dali: give one of"),
        ({"init": 3}, "--init: give one of auto, content"),
        ({"content_layers": ["conv4_2"]}, "--content-layers: give a mapping"),
    ],
)
def test_a_bad_setting_is_refused_by_name(change, says):
    with pytest.raises(InputError, match=says):
        Settings(**change)
