import subprocess
import sys

import numpy as np
import pytest

from npstyle.engine.device import CPU
from npstyle.engine.objective import StyleObjective
from npstyle.errors import InputError
from npstyle.images.color import luminance, match_luminance
from npstyle.images.formula import draw_painting, draw_photo
from npstyle.images.resize import resize
from npstyle.run.plan import prepared
from npstyle.run.refine import of_luminance
from npstyle.run.settings import PRESETS
from npstyle.run.stylize import StyleSettings, Stylizer, stylize

PHOTO, PAINTING = draw_photo(48, 64), draw_painting(40, 60)


def settings(**changes):
    return StyleSettings(**{"refine": 6, "network": "builtin", "threads": 2} | changes)


def judged(picture, preset="gatys", photo=PHOTO, painting=PAINTING):
    """The loss of a transfer, for a picture."""
    chosen = PRESETS[preset]
    bound = prepared("builtin", chosen, CPU)
    size = max(picture.shape)
    objective = StyleObjective(bound, photo, resize(painting, size), chosen.losses())
    return objective(picture).loss


@pytest.mark.parametrize("refine_all", [False, True])
def test_the_loss_of_a_transfer_falls_and_the_record_says_how_far(refine_all):
    done = stylize(PHOTO, PAINTING, settings(refine_all=refine_all))
    plain = stylize(PHOTO, PAINTING).image
    assert done.record["loss_before"] == pytest.approx(judged(plain), rel=1e-3)
    assert done.record["loss"] == pytest.approx(judged(done.image), rel=1e-6)
    assert done.record["loss"] < 0.7 * done.record["loss_before"]
    assert done.record["network"] == "any_style"
    assert done.record["judge"] == "builtin"
    assert (done.record["refine"], done.record["refine_all"]) == (6, refine_all)
    assert (done.record["iterations_done"], done.record["stopped"]) == (6, "iterations")


def test_a_picture_that_is_not_refined_records_no_loss():
    assert not {"judge", "preset", "refine", "loss"} & set(stylize(PHOTO, PAINTING).record)


def test_the_objective_is_that_of_the_preset_at_the_size_of_the_picture():
    done = stylize(PHOTO, PAINTING, settings(size=40, preset="neural-style", refine=1))
    assert done.image.shape == (30, 40, 3)
    photo = resize(PHOTO, (30, 40))
    assert done.record["loss"] == pytest.approx(judged(done.image, "neural-style", photo), rel=1e-6)


def test_where_only_the_brightness_is_painted_only_its_loss_counts():
    done = stylize(PHOTO, PAINTING, settings(color="luminance", refine=2))
    grey = np.repeat(luminance(done.image)[..., None], 3, axis=2)
    photo = np.repeat(luminance(PHOTO)[..., None], 3, axis=2)
    painting = match_luminance(resize(PAINTING, 64), photo)
    # Putting back the chroma clips a few pixels, so the loss differs a little.
    expected = judged(grey, photo=photo, painting=painting)
    assert done.record["loss"] == pytest.approx(expected, rel=1e-4)


def test_the_gradient_of_the_luminance_is_that_of_its_sum(rng):
    from npstyle.engine.losses import Evaluation

    target = rng.uniform(0, 255, (5, 6, 3))

    def squares(x):
        return Evaluation(0.5 * np.sum((x - target) ** 2), x - target, {})

    x, d = rng.uniform(0, 255, (2, 5, 6, 3))
    objective = of_luminance(squares)
    slope = (objective(x + 1e-3 * d).loss - objective(x - 1e-3 * d).loss) / 2e-3
    assert np.vdot(objective(x).gradient, d) == pytest.approx(slope, rel=1e-9)


def test_two_paintings_are_blended_as_in_a_transfer():
    pair = [PAINTING, draw_painting(50, 50)]
    losses = [
        stylize(PHOTO, pair, settings(blend=blend, refine=1)).record["loss_before"]
        for blend in ((1.0, 0.0), (1.0, 1.0))
    ]
    alone = stylize(PHOTO, PAINTING, settings(refine=1)).record["loss_before"]
    assert losses[0] == pytest.approx(alone, rel=1e-6)
    assert losses[1] != pytest.approx(alone, rel=1e-2)


def test_the_callback_gets_every_step_and_ctrl_c_keeps_the_best_picture():
    seen = []

    def interrupt(progress):
        seen.append(progress)
        if len(seen) == 2:
            raise KeyboardInterrupt

    done = stylize(PHOTO, PAINTING, settings(refine=100), callback=interrupt)
    assert done.record["stopped"] == "interrupted"
    assert done.record["loss"] == min(progress.loss for progress in seen)
    assert np.array_equal(done.image, seen[-1].best_image)


def test_ctrl_c_before_there_is_a_loss_leaves_no_picture(monkeypatch):
    def interrupt(_self, _pixels):
        raise KeyboardInterrupt

    monkeypatch.setattr(StyleObjective, "__call__", interrupt)
    with pytest.raises(KeyboardInterrupt):
        stylize(PHOTO, PAINTING, settings())


def test_a_loss_that_is_not_finite_names_the_network(monkeypatch):
    found = StyleObjective.__call__
    monkeypatch.setattr(
        StyleObjective, "__call__", lambda self, x: found(self, x)._replace(loss=float("inf"))
    )
    with pytest.raises(InputError, match="--network builtin: the loss of the painted picture"):
        stylize(PHOTO, PAINTING, settings())


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"refine": -1}, "--refine -1: give a number of steps"),
        ({"refine": 0, "network": None, "refine_all": True}, "--refine-all: has an effect only"),
        ({"refine": 0}, "--network: has an effect only with --refine"),
        ({"refine": 0, "network": None, "preset": "paper"}, "--preset: has an effect only"),
        ({"strength": 0.5}, "--strength 0.5: --refine decides"),
    ],
)
def test_settings_that_contradict_are_refused(changes, says):
    with pytest.raises(InputError, match=says):
        settings(**changes)


def test_a_learned_style_has_nothing_to_be_compared_with():
    with pytest.raises(InputError, match="--refine: a learned style has no painting"):
        stylize(PHOTO, None, settings(style="7"))


def test_a_network_that_is_missing_is_named():
    with pytest.raises(InputError, match=r"missing\.npz"):
        stylize(PHOTO, PAINTING, settings(network="missing.npz"))


def test_a_painting_too_small_for_the_network_is_refused_before_the_work():
    with pytest.raises(InputError, match="too small for layer"):
        Stylizer([draw_painting(2, 900)], settings()).check(PHOTO)


def test_the_size_that_fits_into_memory_is_named():
    stylizer = Stylizer([PAINTING], settings())
    photo = np.zeros((1200, 1600, 3))
    needed = stylizer.memory(photo)
    assert needed > 3 * Stylizer([PAINTING], StyleSettings()).memory(photo)
    tight = Stylizer([PAINTING], settings(memory=needed))  # the process holds more than 0
    with pytest.raises(InputError, match=r"1600x1200 pixels needs .* GB .* use --size \d+ or less"):
        tight.check(photo)


@pytest.mark.skipif(sys.platform != "linux", reason="reads the peak memory from Linux")
def test_the_predicted_memory_is_the_measured_one():
    code = """
from npstyle.engine.machine import held_memory
from npstyle.images.formula import draw_painting, draw_photo
from npstyle.run.stylize import StyleSettings, Stylizer
photo, painting = draw_photo(450, 600), draw_painting(300, 400)
settings = StyleSettings(refine=1, network="builtin", threads=2)
stylizer = Stylizer([painting], settings)
stylizer(draw_photo(48, 64))
predicted = held_memory() + stylizer.memory(photo)
stylizer(photo)
with open("/proc/self/status") as status:  # getrusage would include the parent's memory
    peak = next(int(line.split()[1]) * 1024 for line in status if line.startswith("VmHWM"))
print(predicted, peak)
"""
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    predicted, measured = map(int, run.stdout.split())
    assert 0.85 * predicted < measured < 1.02 * predicted
