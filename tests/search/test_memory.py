import pytest

from npstyle.engine import cpu, cuda
from npstyle.search.memory import history_bytes, vectors_held


def test_a_history_takes_four_bytes_for_each_number_of_its_steps_and_gradients():
    # Three steps, three gradient changes, a free slot for one more of each, the gradient.
    assert history_bytes(3, (5, 7)) == 4 * (2 * 4 + 1) * 5 * 7 * 3


def test_scipys_history_grows_with_the_iterations_up_to_its_length():
    held = [vectors_held("scipy", iterations) for iterations in (1, 15, 16, 100)]
    assert held == [held[0], held[0] + 28, held[0] + 30, held[0] + 30]


@pytest.mark.parametrize("engine", [cpu, cuda])
def test_adam_holds_fewer_images_than_lbfgs(engine):
    assert vectors_held("adam", 100, engine=engine) < vectors_held("lbfgs", 100, engine=engine)


def test_a_history_of_the_callers_is_not_counted():
    assert vectors_held("lbfgs", 100, history=10) < vectors_held("lbfgs", 100)
