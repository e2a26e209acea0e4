"""A replayed evaluation agrees with the same one launched kernel by kernel."""

import numpy as np
import pytest

from npstyle.engine import cuda
from npstyle.engine.bind import bind
from npstyle.engine.cuda import arrays
from npstyle.engine.cuda.replay import NotRecordedError, Replay
from npstyle.engine.losses import Losses
from npstyle.engine.objective import StyleObjective
from npstyle.networks.network import configure
from tests.engine.cuda.gpus import CUPY, back, needed, stand_in, to
from tests.numeric import relative_error

pytestmark = needed


@pytest.fixture
def objective(rng, small_network):
    photo, painting = rng.uniform(0, 255, (8, 10, 3)), rng.uniform(0, 255, (8, 8, 3))
    bound = bind(configure(small_network, "avg", np.float32), engine=cuda)
    losses = Losses(
        content_layers={"conv2_1": 1.0},
        style_layers={"conv1_1": 1.0, "conv2_1": 1.0},
        tv_weight=0.5,
    )
    return StyleObjective(bound, photo, painting, losses)


def test_a_replayed_evaluation_gives_the_same_numbers(rng, objective):
    pictures = [to(rng.uniform(0, 255, (8, 10, 3))) for _ in range(3)]
    replayed = [objective(picture) for picture in pictures]
    assert objective.replays
    objective.replays = False
    for picture, found in zip(pictures, replayed, strict=True):
        expected = objective(picture)
        # cuBLAS may use another algorithm on another stream.
        tolerance = 0 if CUPY is None else 1e-5
        assert found.parts == pytest.approx(expected.parts, rel=tolerance, abs=0)
        assert relative_error(back(found.gradient), back(expected.gradient)) <= tolerance


def test_a_replayed_evaluation_takes_its_content_from_another_photo(rng, objective):
    picture, photo = (to(rng.uniform(0, 255, (8, 10, 3))) for _ in range(2))
    first = objective(picture)
    objective.compare_with(photo)
    found = objective(picture)
    assert found.parts["content conv2_1"] != pytest.approx(first.parts["content conv2_1"], rel=0.01)
    objective.replays = False
    expected = objective(picture)
    assert found.parts == pytest.approx(expected.parts, rel=1e-5)
    assert relative_error(back(found.gradient), back(expected.gradient)) <= 1e-5


def test_the_record_is_cut_at_each_product_of_cublas():
    def work(given):
        doubled = given + given
        return cuda.relu(arrays.matmul(doubled, arrays.matmul(doubled, doubled)))

    replay = Replay(work, to(np.eye(3, dtype=np.float32)))
    assert len(replay._parts) == 5  # graph, product, graph, product, graph
    for k in range(2):
        matrix = np.arange(9, dtype=np.float32).reshape(3, 3) - 4 + k
        assert back(replay(to(matrix))) == pytest.approx(
            np.maximum(8 * matrix @ matrix @ matrix, 0)
        )


def test_work_that_waits_for_a_number_cannot_be_recorded():
    with pytest.raises(NotRecordedError):
        Replay(lambda given: given * float(given.sum()), to(np.ones(2)))
    assert arrays._run_library_call is None
    assert back(arrays.matmul(to(np.eye(2)), to(np.eye(2)))).tolist() == [[1, 0], [0, 1]]


@pytest.mark.skipif(CUPY is not None, reason="replaces a part of the stand-in")
def test_without_graphs_the_kernels_are_launched_one_by_one_with_a_warning(
    rng, objective, monkeypatch
):
    def fail(_):
        raise RuntimeError("no capture today\nand more")

    monkeypatch.setattr(stand_in.Stream, "begin_capture", fail)
    picture = to(rng.uniform(0, 255, (8, 10, 3)))
    with pytest.warns(RuntimeWarning, match=r"without a CUDA graph: no capture today$"):
        found = objective(picture)
    assert not objective.replays
    assert found.loss == objective(picture).loss  # no second warning: it would be an error
