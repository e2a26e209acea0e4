"""A recorded evaluation, against the same one launched kernel by kernel."""

import numpy as np
import pytest

from npstyle.engine.cuda import arrays as card
from npstyle.engine.cuda import kernels as gpu
from npstyle.engine.cuda.replay import NotRecordedError, Replay
from npstyle.engine.objective import StyleObjective
from npstyle.networks.network import configure, to_device
from tests.engine.cuda.cards import CUPY, back, needed, stand_in, to
from tests.numeric import relative_error

pytestmark = needed


@pytest.fixture
def objective(rng, small_network):
    photo, painting = rng.uniform(0, 255, (8, 10, 3)), rng.uniform(0, 255, (8, 8, 3))
    network = to_device(configure(small_network, "avg", np.float32))
    return StyleObjective(
        network,
        photo,
        painting,
        content_layers={"conv2_1": 1.0},
        style_layers={"conv1_1": 1.0, "conv2_1": 1.0},
        tv_weight=0.5,
    )


def test_a_replayed_evaluation_is_the_same(rng, objective):
    pictures = [to(rng.uniform(0, 255, (8, 10, 3))) for _ in range(3)]
    replayed = [objective(picture) for picture in pictures]
    assert objective.replays
    objective.replays = False
    for picture, found in zip(pictures, replayed, strict=True):
        expected = objective(picture)
        tolerance = 0 if CUPY is None else 1e-5  # cuBLAS may choose another way on another stream
        assert found.parts == pytest.approx(expected.parts, rel=tolerance, abs=0)
        assert relative_error(back(found.gradient), back(expected.gradient)) <= tolerance


def test_the_record_is_cut_where_cublas_multiplies():
    def work(given):
        doubled = given + given
        return gpu.relu(card.matmul(doubled, card.matmul(doubled, doubled)))

    replay = Replay(work, to(np.eye(3, dtype=np.float32)))
    assert len(replay._parts) == 5  # graph, product, graph, product, graph
    for k in range(2):
        matrix = np.arange(9, dtype=np.float32).reshape(3, 3) - 4 + k
        assert back(replay(to(matrix))) == pytest.approx(
            np.maximum(8 * matrix @ matrix @ matrix, 0)
        )


def test_what_waits_for_a_number_cannot_be_recorded():
    with pytest.raises(NotRecordedError):
        Replay(lambda given: given * float(given.sum()), to(np.ones(2)))
    assert card._cut is None
    assert back(card.matmul(to(np.eye(2)), to(np.eye(2)))).tolist() == [[1, 0], [0, 1]]


@pytest.mark.skipif(CUPY is not None, reason="of the stand-in")
def test_without_graphs_the_kernels_are_launched_one_by_one_and_a_warning_says_so(
    rng, objective, monkeypatch
):
    def fail(_):
        raise RuntimeError("no capture today\nand more")

    monkeypatch.setattr(stand_in.Stream, "begin_capture", fail)
    picture = to(rng.uniform(0, 255, (8, 10, 3)))
    with pytest.warns(RuntimeWarning, match=r"no CUDA graph: no capture today$"):
        found = objective(picture)
    assert not objective.replays
    assert found.loss == objective(picture).loss  # no second warning: it would be an error
