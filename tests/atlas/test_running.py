import numpy as np
import pytest

from npstyle.atlas import running
from npstyle.atlas.heatmaps import Album
from npstyle.atlas.pair import demo_pair
from npstyle.networks.network import load_network
from npstyle.run.settings import Settings


@pytest.fixture(scope="module")
def tracked():
    pair, steps = demo_pair(48), []
    settings = Settings(size=48, iterations=3, init="content")
    network = load_network("builtin")
    return running.track(network, pair.photo, pair.painting, settings, steps.append), steps, pair


def test_a_run_is_kept_step_by_step(tracked):
    found, steps, pair = tracked
    assert found.iterations == steps == [1, 2, 3]
    assert sorted(found.pictures) == [1, 2, 3]
    np.testing.assert_allclose(np.sum(list(found.parts.values()), axis=0), found.losses, rtol=1e-5)
    lengths = [
        np.sqrt(np.mean((after - before) ** 2))
        for before, after in zip(
            [pair.photo, found.pictures[1], found.pictures[2]],
            [found.pictures[k] for k in (1, 2, 3)],
            strict=True,
        )
    ]
    np.testing.assert_allclose(found.lengths, lengths)


def test_the_preconditioned_step_moves_broad_colours_further(tracked, tmp_path):
    found, _, pair = tracked
    gradient = np.random.default_rng(0).standard_normal(pair.photo.shape)
    (tmp_path / "figures").mkdir()
    drawn = running.draw(pair.photo, found, found, gradient, Album(tmp_path / "figures"))
    assert [name for name, _, _ in drawn.charts] == ["run-losses", "run-steps", "run-spectrum"]
    assert len(drawn.pictures) == 4
    assert drawn.pictures[1].caption.startswith("after 1 step; loss ")
    assert len({figure.file for figure in (*drawn.pictures, *drawn.steps)}) == 6


def test_ctrl_c_in_the_run_is_not_lost(monkeypatch, tracked):
    class Done:
        class result:  # noqa: N801
            stopped = "interrupted"

    monkeypatch.setattr(running, "transfer", lambda *args, **keywords: Done)
    pair = demo_pair(48)
    with pytest.raises(KeyboardInterrupt):
        running.track(None, pair.photo, pair.painting, Settings(size=48), print)
