"""The laboratory on a GPU: right derivatives pass, wrong ones fail."""

from dataclasses import replace

import numpy as np

from npstyle.lab.gradcheck import check_subject
from npstyle.lab.on_gpu import gpu_subjects, objective_on_gpu
from npstyle.run.settings import Settings
from tests.engine.cuda.gpus import needed

pytestmark = needed

WRONG = ("style loss", "winograd_conv2d", "max_pool2d 3x3 /2 float32", "sigmoid")
"""Subjects that are given a wrong derivative."""


def test_the_derivative_of_every_kernel_passes():
    names = []
    for subject in gpu_subjects(0):
        report = check_subject(subject, samples=2, directions=1)
        assert report.passed, report
        names.append(subject.name)
    assert len(names) == len(set(names)) >= 45
    for name in (
        "conv2d 3x3 /1 with ReLU float32",
        "winograd_conv2d pooled",
        "mirror",
        "conv2d, weights of 18 filters float32",
        "depthwise_conv2d, weights float64",
        "relu6 float32",
        "instance_norm",
    ):
        assert name in names


def test_a_wrong_derivative_of_a_kernel_fails():
    subjects = {subject.name: subject for subject in gpu_subjects(0)}
    for name in WRONG:
        right = subjects[name]
        wrong = replace(right, backward=lambda g, x, right=right: 1.1 * right.backward(g, x))
        assert not check_subject(wrong, samples=3, directions=1).passed


def test_the_gradient_of_the_objective_passes_and_a_wrong_one_fails(rng, small_network):
    settings = Settings(content_layers={"conv2_1": 1.0}, style_layers={"conv1_1": 1.0})
    photo, painting, pixels = (rng.uniform(1, 254, (6, 7, 3)) for _ in range(3))
    subject = objective_on_gpu("objective", small_network, settings, photo, painting, pixels)
    report = check_subject(subject, samples=2, directions=1)
    assert report.passed, report
    wrong = replace(subject, backward=lambda g, x: np.roll(subject.backward(g, x), 1))
    assert not check_subject(wrong, samples=2, directions=1).passed
