import signal
import subprocess
import sys
from dataclasses import fields, replace
from itertools import pairwise

import numpy as np
import pytest

from npstyle.errors import InputError
from npstyle.images.formula import draw_painting, draw_photo
from npstyle.images.write import save_image
from npstyle.networks.style_network import save_style_network
from npstyle.onepass.train import weights_of
from npstyle.run import training as module
from npstyle.run.crops import LEAST_PHOTOS, Crops, usable_photos
from npstyle.run.settings import PRESETS
from npstyle.run.table import settings_of
from npstyle.run.train_settings import TrainSettings
from npstyle.run.training import Trainer

SETTINGS = TrainSettings(
    network="builtin", width=2, crop=64, painting_size=64, steps=3, threads=1, device="cpu"
)


@pytest.fixture(scope="module")
def pictures(tmp_path_factory):
    """A painting, and a folder of photos that are all the same."""
    folder = tmp_path_factory.mktemp("training")
    (folder / "photos").mkdir()
    save_image(folder / "painting.png", draw_painting(48, 64))
    for k in range(LEAST_PHOTOS):
        save_image(folder / "photos" / f"{k}.png", draw_photo(64, 64))
    return folder / "painting.png", folder / "photos"


def trainer_of(pictures, settings=SETTINGS, **changes):
    painting, photos = pictures
    settings = replace(settings, **changes)
    return Trainer(
        painting, Crops(usable_photos(photos, settings.crop, print), 64, print), settings
    )


def taken(trainer, training=None):
    """All steps of a training."""
    with trainer.computing():
        return list(trainer.run(training or trainer.begin()))


def arrays(training):
    """All numbers of a training, one after another."""
    trees = [{layer.name: weights_of(layer) for layer in training.network.transformer}]
    trees += [training.mean, training.square]
    return np.concatenate([a.ravel() for tree in trees for t in tree.values() for a in t.values()])


@pytest.fixture(scope="module")
def steps(pictures):
    """A training that is long enough to learn something."""
    return taken(trainer_of(pictures, steps=30))


def test_the_loss_falls(steps):
    losses = [sum(step.parts.values()) for step in steps]
    assert sum(losses[-5:]) < 0.6 * sum(losses[:5])


def test_steps_are_counted_and_timed(steps):
    assert [step.training.step for step in steps] == list(range(1, 31))
    assert {step.steps for step in steps} == {30}
    assert all(a.seconds < b.seconds for a, b in pairwise(steps))


def test_a_training_that_goes_on_ends_as_one_without_a_break(pictures, steps):
    rest = taken(trainer_of(pictures, steps=30), steps[26].training)
    assert [step.training.step for step in rest] == [28, 29, 30]
    assert np.array_equal(arrays(rest[-1].training), arrays(steps[-1].training))
    assert [step.parts for step in rest] == [step.parts for step in steps[27:]]
    assert not taken(trainer_of(pictures, steps=30), steps[29].training)


def test_a_seed_is_a_training_of_its_own(pictures, steps):
    first = taken(trainer_of(pictures, steps=1, seed=1))[0]
    assert not np.allclose(arrays(first.training), arrays(steps[0].training), atol=1e-3)


def test_a_batch_takes_the_mean_over_its_crops(pictures):
    # The photos are all the same, up to mirroring, of which a style and its loss know nothing.
    one, three = (taken(trainer_of(pictures, steps=1, batch=n))[0].parts for n in (1, 3))
    assert three == pytest.approx(one, rel=0.3)


def test_minutes_become_steps_once_the_time_of_a_step_is_known(pictures, monkeypatch):
    clock = iter(range(1000))  # a step takes one second
    monkeypatch.setattr(module, "WARM_UP", 3)
    monkeypatch.setattr(module.time, "monotonic", lambda: float(next(clock)))
    trainer = trainer_of(pictures, steps=None, minutes=0.1)
    known = [step.steps for step in taken(trainer)]
    assert known == [None, None, 6, 6, 6, 6]


def test_the_preview_is_a_fixed_photo_that_is_not_enlarged(pictures, steps, tmp_path):
    save_image(tmp_path / "small.png", draw_photo(20, 40))
    save_image(tmp_path / "large.png", draw_photo(300, 600))
    for preview, shape in (
        (None, (64, 64, 3)),
        (tmp_path / "small.png", (20, 40, 3)),
        (tmp_path / "large.png", (256, 512, 3)),
    ):
        trainer = trainer_of(pictures, preview=preview)
        painted, again, early = (trainer.preview(steps[k].training) for k in (-1, -1, 0))
        assert painted.shape == shape
        assert np.array_equal(painted, again)
        assert not np.allclose(painted, early, atol=1)


def test_a_preview_that_would_be_too_narrow_is_refused(pictures, tmp_path):
    save_image(tmp_path / "wide.png", draw_photo(30, 1024))
    with pytest.raises(InputError, match=r"--preview .*wide.png: a photo of 512x15 pixels is too"):
        trainer_of(pictures, preview=tmp_path / "wide.png")


def test_ctrl_c_ends_between_two_whole_states(pictures):
    trainer, seen = trainer_of(pictures, steps=1000), []

    def press_after_two():
        for step in trainer.run(trainer.begin()):
            seen.append(step)
            if step.training.step == 2:
                signal.raise_signal(signal.SIGINT)
                seen.append("written whole")  # it does not interrupt Python here

    with trainer.computing(), pytest.raises(KeyboardInterrupt):
        press_after_two()
    assert len(seen) == 3


def test_a_loss_that_is_not_finite_is_an_error(pictures, monkeypatch):
    gradient = module.batch_gradient

    def spoilt(where):
        def run(*arguments):
            gradients, parts = gradient(*arguments)
            if where == "loss":
                return gradients, parts | {"style conv1_1": float("inf")}
            gradients["conv1"]["kernel"][0, 0, 0, 0] = np.nan
            return gradients, parts

        return run

    for where in ("loss", "gradient"):
        monkeypatch.setattr(module, "batch_gradient", spoilt(where))
        with pytest.raises(InputError, match="--network builtin: the loss or its gradient became"):
            taken(trainer_of(pictures))


def test_a_training_can_start_from_another_style(pictures, steps, tmp_path):
    other = steps[-1].training
    save_style_network(tmp_path / "other.npz", replace(other.network, name="other"))
    begun = trainer_of(pictures, start=str(tmp_path / "other.npz"), width=3).begin()
    assert np.array_equal(arrays(begun), arrays(replace(begun, network=other.network)))
    assert begun.step == 0
    assert begun.network.source.endswith("painting painting.png, starting from other")


def test_the_weight_of_the_content_is_a_multiple_of_the_presets():
    for name, preset in PRESETS.items():
        found = TrainSettings(preset=name, content_weight=3.0, tv_weight=0.5).losses()
        assert found.content_weight == 3 * preset.content_weight
        assert found.style_weight == preset.style_weight
        assert found.tv_weight == preset.tv_weight + 0.5


def test_every_setting_has_a_help_text():
    found = settings_of(TrainSettings)
    assert list(found) == [field.name for field in fields(TrainSettings)]
    assert all(entry.help.endswith(".") for entry in found.values())


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"crop": 50}, "--crop 50: give a multiple of 4 of 64 or more"),
        ({"crop": 66}, "--crop 66"),
        ({"steps": 0}, "--steps 0"),
        ({"steps": 5, "minutes": 1.0}, "--minutes and --steps"),
        ({"steps": None, "minutes": 0.0}, "--minutes 0"),
        ({"steps": None, "minutes": float("inf")}, "--minutes inf"),
        ({"width": 0}, "--width 0"),
        ({"batch": 0}, "--batch 0"),
        ({"save_every": 0}, "--save-every 0"),
        ({"painting_size": 0}, "--painting-size 0"),
        ({"painting_size": 8}, "painting.png: 8x6 pixels are too few"),
        ({"content_weight": -1.0}, "--content-weight -1"),
        ({"tv_weight": float("nan")}, "--tv-weight nan"),
        ({"checkerboard_weight": -0.1}, "--checkerboard-weight -0.1"),
        ({"seed": -1}, "--seed -1"),
        ({"threads": 0}, "--threads 0"),
        ({"device": "gpu"}, "--device gpu"),
        ({"network": "any_style"}, "is a style network"),
        ({"memory": 10**6}, "--crop 64: the training needs"),
        ({"start": "multistyle26"}, "--start multistyle26: this network has several styles"),
        ({"start": "any_style"}, "--start any_style: this network has several styles"),
        ({"start": "builtin"}, "is not a style network"),
    ],
)
def test_a_training_that_cannot_be_is_refused(pictures, changes, says):
    with pytest.raises(InputError, match=says):
        trainer_of(pictures, **changes)


MEASURE = """
import sys
from npstyle.run.crops import Crops, usable_photos
from npstyle.run.train_settings import TrainSettings
from npstyle.run.training import Trainer
from pathlib import Path
settings = TrainSettings(network="builtin", steps=2, device="cpu", threads=2)
crops = Crops(usable_photos(Path(sys.argv[2]), settings.crop, print), settings.crop, print)
trainer = Trainer(Path(sys.argv[1]), crops, settings)
predicted = trainer.peak_memory
with trainer.computing():
    for step in trainer.run(trainer.begin()):
        pass
    trainer.preview(step.training)
# The peak of this program alone: ru_maxrss would begin with that of the process that started it.
status = Path("/proc/self/status").read_text()
print(predicted, int(status.split("VmHWM:")[1].split()[0]) * 1024)
"""


@pytest.mark.skipif(sys.platform != "linux", reason="the peak is read from /proc")
def test_the_predicted_memory_is_the_measured_one(pictures, tmp_path):
    for k in range(LEAST_PHOTOS):
        save_image(tmp_path / f"{k}.png", draw_photo(300, 400))
    command = [sys.executable, "-c", MEASURE, str(pictures[0]), str(tmp_path)]
    run = subprocess.run(command, capture_output=True, text=True, check=True, timeout=300)
    predicted, measured = map(int, run.stdout.split())
    assert 0.95 * measured < predicted < 1.15 * measured
