"""A training on a GPU, or its stand-in, takes the steps of one on the CPU."""

from dataclasses import replace

import numpy as np
import pytest

from npstyle.images.formula import draw_painting, draw_photo
from npstyle.images.write import save_image
from npstyle.run import train_settings as module
from npstyle.run.crops import LEAST_PHOTOS, Crops, usable_photos
from npstyle.run.settings import Settings
from npstyle.run.train_settings import TrainSettings
from npstyle.run.training import Trainer
from tests.engine.cuda.gpus import needed
from tests.run.test_training import arrays, taken

SIDE = 16

pytestmark = needed


class SmallTrainSettings(TrainSettings):
    """Settings for a network of five layers."""

    def losses(self):
        layers = {"conv1_1": 1.0, "conv2_1": 1.0}
        return Settings(content_layers={"conv2_1": 1.0}, style_layers=layers)


def test_a_step_on_the_gpu_is_that_on_the_cpu(tmp_path, small_network, monkeypatch):
    monkeypatch.setattr(module, "LEAST_SIDE", SIDE)
    save_image(tmp_path / "painting.png", draw_painting(SIDE, SIDE))
    (tmp_path / "photos").mkdir()
    for k in range(LEAST_PHOTOS):
        save_image(tmp_path / "photos" / f"{k}.png", draw_photo(SIDE, SIDE))
    crops = Crops(usable_photos(tmp_path / "photos", SIDE, print), SIDE, print)
    steps = []
    settings = SmallTrainSettings(
        network=small_network, width=2, crop=SIDE, painting_size=SIDE, steps=1, threads=1
    )
    for device in ("cuda", "cpu"):
        trainer = Trainer(tmp_path / "painting.png", crops, replace(settings, device=device))
        assert trainer.device.is_gpu == (device == "cuda")
        assert trainer.memory > 0
        steps.append(taken(trainer)[0])
    gpu, cpu = steps
    assert gpu.parts == pytest.approx(cpu.parts, rel=1e-3)
    found, expected = arrays(gpu.training), arrays(cpu.training)
    assert np.linalg.norm(found - expected) < 1e-2 * np.linalg.norm(expected)
