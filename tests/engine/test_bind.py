import pytest

from npstyle.engine import bind as module
from npstyle.engine.bind import bind
from npstyle.engine.layers import FastConv
from npstyle.networks.network import load_network, shapes


@pytest.mark.parametrize("wide", [0, 16 * 16])
def test_the_fast_route_takes_the_wide_layers_and_leaves_out_the_unwanted(monkeypatch, wide):
    monkeypatch.setattr(module, "WIDE", wide)
    network = load_network("builtin")
    fast = bind(network, ["conv2_1", "conv1_1"], route="fast")
    served = [layer.name for layer in fast.layers if isinstance(layer, FastConv)]
    assert served == ["conv1_1", "conv1_2", "conv2_1"][1 if wide else 0 :]
    assert [layer.name for layer in fast.layers] == [layer.name for layer in network.layers[:7]]
    outline = shapes(fast.network, ["conv2_1"], 9, 7)
    assert outline[-1][1] == shapes(network, ["conv2_1"], 9, 7)[-1][1]


def test_a_bound_network_prints_as_one_line():
    bound = bind(load_network("builtin"), ["conv2_1"])
    assert repr(bound) == "BoundNetwork builtin: conv1_1 to relu2_1, float32, engine cpu"
