from dataclasses import replace

import numpy as np
import pytest

from npstyle.errors import InputError
from npstyle.images.formula import draw_painting, draw_photo
from npstyle.networks.network import load_network
from npstyle.run.checkpoint import identity, load_checkpoint, save_checkpoint
from npstyle.run.pictures import Pictures
from npstyle.run.settings import Settings
from npstyle.run.transfer import State, transfer

PICTURES = Pictures(draw_photo(36, 48), (draw_painting(40, 60),))
SETTINGS = Settings(scales=(32, 48), iterations=6)
STATE = State(1, 2, np.full((36, 48, 3), 7.5))


@pytest.fixture(scope="module")
def network():
    return load_network("builtin")


@pytest.fixture
def own(network):
    return identity(SETTINGS, network, PICTURES)


def test_a_checkpoint_is_read_as_it_was_written(tmp_path, own):
    save_checkpoint(tmp_path / "run.npz", STATE, own)
    state = load_checkpoint(tmp_path / "run.npz", own)
    assert (state.scale, state.iteration) == (1, 2)
    assert np.array_equal(state.image, STATE.image)


@pytest.mark.parametrize(
    ("change", "name"),
    [
        ({"style_weight": 5.0}, "--style-weight was 1000.0 and is 5.0 now"),
        ({"scales": (48,)}, "--scales"),
        ({"pooling": "max"}, "--pooling was avg and is max now"),
        ({"iterations": 5}, "--iterations was 6 and is 5"),
    ],
)
def test_a_changed_setting_is_refused_by_name(tmp_path, own, network, change, name):
    save_checkpoint(tmp_path / "run.npz", STATE, own)
    changed = identity(replace(SETTINGS, **change), network, PICTURES)
    with pytest.raises(InputError, match=name):
        load_checkpoint(tmp_path / "run.npz", changed)


def test_another_picture_or_network_is_refused_by_name(tmp_path, own, network):
    save_checkpoint(tmp_path / "run.npz", STATE, own)
    other = identity(SETTINGS, network, replace(PICTURES, photo=np.zeros((36, 48, 3))))
    with pytest.raises(InputError, match="the photo was another file"):
        load_checkpoint(tmp_path / "run.npz", other)
    other = identity(SETTINGS, replace(network, sha256="0"), PICTURES)
    with pytest.raises(InputError, match="the network was another file"):
        load_checkpoint(tmp_path / "run.npz", other)


def test_a_file_that_is_not_a_checkpoint_is_refused(tmp_path, own):
    path = tmp_path / "run.npz"
    with pytest.raises(InputError, match="there is no such file"):
        load_checkpoint(path, own)
    save_checkpoint(path, STATE, own)
    whole = path.read_bytes()
    for data in (b"", b"text", whole[: len(whole) // 2], whole[:-40]):
        path.write_bytes(data)
        with pytest.raises(InputError, match="not a checkpoint of npstyle, or is damaged"):
            load_checkpoint(path, own)
    np.savez(path, image=np.array([{}], object), meta="{}")
    with pytest.raises(InputError, match="not a checkpoint"):
        load_checkpoint(path, own)


def test_a_run_resumes_at_its_scale_and_iteration(network):
    states, seen = [], []
    whole = transfer(
        PICTURES.photo, PICTURES.paintings, network, SETTINGS, keep=lambda s: states.append(s)
    )
    assert [(s.scale, s.iteration) for s in states] == [
        *((0, k) for k in range(1, 7)),
        *((1, k) for k in range(1, 4)),
    ]
    for at, left in ((3, 5), (5, 3), (7, 1)):
        done = transfer(
            PICTURES.photo,
            PICTURES.paintings,
            network,
            SETTINGS,
            state=states[at],
            callback=lambda p: seen.append(p.iteration),
        )
        assert seen[-1] == done.result.iterations == whole.result.iterations == 9
        assert len(seen) == left
        assert done.result.image.shape == (36, 48, 3)
        # The resumed search has lost its history, so its first step is one of steepest descent.
        assert done.result.loss < 2 * whole.result.loss
        seen.clear()


def test_a_finished_run_goes_on_with_more_iterations(tmp_path, network):
    path, states, seen = tmp_path / "run.npz", [], []
    short = transfer(PICTURES.photo, PICTURES.paintings, network, SETTINGS, keep=states.append)
    save_checkpoint(path, states[-1], identity(SETTINGS, network, PICTURES))
    longer = replace(SETTINGS, iterations=20)
    state = load_checkpoint(path, identity(longer, network, PICTURES))
    done = transfer(
        PICTURES.photo,
        PICTURES.paintings,
        network,
        longer,
        state=state,
        callback=lambda p: seen.append(p.iteration),
        keep=states.append,
    )
    # 6 steps at the first scale, and 10 instead of 3 at the second.
    assert seen == list(range(10, 17))
    assert done.result.iterations == 16
    assert done.result.loss < short.result.loss
    save_checkpoint(path, states[-1], identity(longer, network, PICTURES))
    again = load_checkpoint(path, identity(replace(longer, iterations=30), network, PICTURES))
    assert (again.scale, again.iteration, again.taken) == (1, 10, (6,))


def test_a_run_at_one_scale_that_goes_on_comes_close_to_a_longer_one(network):
    states = []
    short, longer = (Settings(size=32, init="content", iterations=n) for n in (6, 16))
    transfer(PICTURES.photo, PICTURES.paintings, network, short, keep=states.append)
    whole = transfer(PICTURES.photo, PICTURES.paintings, network, longer).result
    resumed = transfer(PICTURES.photo, PICTURES.paintings, network, longer, state=states[-1]).result
    assert resumed.iterations == whole.iterations == 16
    assert resumed.loss < 1.2 * whole.loss


def test_resuming_a_finished_run_returns_its_picture(network):
    states = []
    whole = transfer(
        PICTURES.photo, PICTURES.paintings, network, SETTINGS, keep=lambda s: states.append(s)
    )
    done = transfer(PICTURES.photo, PICTURES.paintings, network, SETTINGS, state=states[-1])
    assert done.result.image == pytest.approx(whole.result.image, abs=1e-9)
