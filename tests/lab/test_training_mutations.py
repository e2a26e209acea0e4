"""Wrong steps of a training must all be caught: by numbers, or by the comparison of the engine."""

from dataclasses import replace

import numpy as np
import pytest

from npstyle import maths
from npstyle.engine import cpu
from npstyle.engine.feedforward import passes
from npstyle.engine.objective import StyleObjective
from npstyle.lab import training, whole_training
from npstyle.lab.gradcheck import check_subject
from npstyle.lab.mutations import MUTATIONS as SHOWN
from npstyle.lab.training import adam_subjects, small_training, training_subject
from npstyle.lab.whole_mutations import adam
from npstyle.lab.whole_training import adam_outcome, training_outcome
from npstyle.maths.adam import BETA_1, BETA_2, EPSILON, adam_direction
from npstyle.maths.layers import Conv, InstanceNorm, Upsample, run_layer_backward_weights
from npstyle.maths.training import training_gradient
from npstyle.onepass import stylize, train

# Adam


ADAM = {
    "m_not_corrected": adam(correct=(False, True)),
    "v_not_corrected": adam(correct=(True, False)),
    "nothing_corrected": adam(correct=(False, False)),
    "betas_exchanged": adam(betas=(BETA_2, BETA_1)),
    "root_forgotten": adam(root=lambda v: v),
    "absolute_values_instead_of_squares": adam(square=np.abs),
    "steps_from_2": adam(shift=1),
    "root_before_the_correction": adam(correct=(True, False), root=lambda v: v),
    "m_without_its_share": lambda g, m, v, t: adam_direction(g / (1 - BETA_1), m, v, t),
    "v_forgotten": lambda g, m, v, t: adam_direction(g, m, 0 * v, t),
}


def numbers_pass(rng):
    return all(check_subject(subject, 20, 4).passed for subject in adam_subjects(rng))


@pytest.mark.parametrize("name", ADAM)
def test_a_wrong_step_of_adam_is_caught_by_numbers(rng, monkeypatch, name):
    monkeypatch.setattr(maths, "adam_direction", ADAM[name])
    assert not numbers_pass(rng)


@pytest.mark.parametrize("name", ADAM)
def test_a_wrong_step_of_adam_in_the_engine_differs_from_the_textbook(monkeypatch, name):
    monkeypatch.setattr(train, "adam_direction", ADAM[name])
    assert not adam_outcome(0).passed


def test_adam_put_together_from_its_parts_is_right(rng, monkeypatch):
    monkeypatch.setattr(train, "adam_direction", adam())
    assert adam_outcome(0).passed
    monkeypatch.setattr(maths, "adam_direction", adam())
    assert numbers_pass(rng)


def test_epsilon_under_the_root_is_caught_where_gradients_are_small():
    g = np.array([1e-9, -1e-8, 1e-7])
    zeros = np.zeros(3)
    wrong = adam(root=lambda v: np.sqrt(v + EPSILON), epsilon=lambda s: s)
    for step, right in ((maths.adam_direction, True), (wrong, False)):
        direction = step(g, zeros, zeros, 1)[2]
        assert np.allclose(direction, g / (np.abs(g) + EPSILON), rtol=1e-9) == right


@pytest.mark.parametrize(
    "name", [name for name, shown in SHOWN.items() if shown.chapter in ("adam", "training")]
)
def test_a_wrong_training_that_the_atlas_shows_is_caught(rng, name):
    assert not check_subject(SHOWN[name].build(rng), samples=2, directions=2).passed


# The gradient at the weights, by numbers


def gradient(change_judges=None, change_found=None, scale_back=1.0, weights=None, mean=0.5):
    """`training_gradient` with one of its parts replaced; J itself is right."""

    def wrong(layers, images, judges, output_scale):
        loss, _ = training_gradient(layers, images, judges, output_scale)
        total = {}
        judges = change_judges(judges) if change_judges else judges
        for x, judge in zip(images, judges, strict=True):
            outputs = maths.forward(layers, x)
            _, at_picture = judge(outputs["sigmoid"] * output_scale)
            at_output = at_picture * (output_scale * scale_back)
            arriving = maths.backward_everywhere(layers, outputs, {"sigmoid": at_output})
            found = maths.backward_weights(layers, outputs, arriving)
            if weights:
                found |= weights(layers, outputs, arriving)
            for layer, arrays in found.items():
                for name, array in arrays.items():
                    before = total.setdefault(layer, {}).get(name, 0)
                    total[layer][name] = before + array * mean
        return loss, change_found(total) if change_found else total

    return wrong


def of_kind(kind, change):
    """Gradients of the layers of one kind, of `change(layer, upstream, X)`."""

    def weights(layers, outputs, arriving):
        names = ["image", *(layer.name for layer in layers)]
        return {
            layer.name: change(layer, arriving[layer.name], outputs[before])
            for layer, before in zip(layers, names, strict=False)
            if isinstance(layer, kind)
        }

    return weights


def of_conv(change, chosen=lambda layer: True):
    """Gradients of chosen convolutions, of a changed input."""
    return of_kind(
        Conv,
        lambda layer, g, X: run_layer_backward_weights(layer, g, change(X) if chosen(layer) else X),
    )


def phase_of_the_stride(layer, g, X):
    """The gradient as if the window began one pixel later."""
    if layer.stride == 2:
        X = np.roll(X, -1, axis=(0, 1))
    return run_layer_backward_weights(layer, g, X)


def with_zero_edges(layer, g, X):
    return run_layer_backward_weights(replace(layer, padding_mode="zero"), g, X)


def dilated(X):
    """An enlarged image with zeros between the pixels, as before a transposed convolution."""
    sparse = np.zeros_like(X)
    sparse[::2, ::2] = X[::2, ::2]
    return sparse


def behind_upsampling(layer):
    return layer.name == "conv3"


def scales_and_shifts_exchanged(found):
    other = {"scale": "shift", "shift": "scale", "kernel": "kernel", "bias": "bias"}
    return {
        layer: {name: arrays[other[name]] for name in arrays} for layer, arrays in found.items()
    }


def kernels(change):
    return lambda found: {
        layer: {name: change(array) if name == "kernel" else array for name, array in own.items()}
        for layer, own in found.items()
    }


def biases_of_the_upstream_gradient(layer, g, X):
    """A bias gradient that forgets the normalisation behind the bias."""
    found = run_layer_backward_weights(layer, g, X)
    return found | {"bias": np.abs(g).sum(axis=(0, 1))}


def raw_input(layer, g, X):
    """The scale's gradient without normalising the input."""
    return {"scale": (g * X).sum(axis=(0, 1)), "shift": g.sum(axis=(0, 1))}


def reversed_channels(judges):
    def changed(judge):
        def wrong(picture):
            f, at_picture = judge(picture)
            return f, at_picture[..., ::-1]

        return wrong

    return [changed(judge) for judge in judges]


GRADIENTS = {
    "sum_instead_of_mean": gradient(mean=1.0),
    "one_photo_forgotten": gradient(
        change_judges=lambda js: [lambda y: (0.0, np.zeros_like(y)), js[1]]
    ),
    "content_of_the_other_photo": gradient(change_judges=lambda judges: judges[::-1]),
    "content_of_the_last_photo": gradient(change_judges=lambda judges: [judges[-1]] * 2),
    "output_scale_forgotten": gradient(scale_back=1 / training.OUTPUT_SCALE),
    "output_scale_twice": gradient(scale_back=training.OUTPUT_SCALE),
    "channels_of_the_picture_reversed": gradient(change_judges=reversed_channels),
    "scales_and_shifts_exchanged": gradient(change_found=scales_and_shifts_exchanged),
    "scale_of_the_raw_input": gradient(weights=of_kind(InstanceNorm, raw_input)),
    "bias_in_front_of_a_normalisation": gradient(
        weights=of_kind(Conv, biases_of_the_upstream_gradient)
    ),
    "kernels_flipped": gradient(change_found=kernels(lambda k: k[::-1, ::-1])),
    "kernels_transposed": gradient(change_found=kernels(lambda k: k.transpose(1, 0, 2, 3))),
    "phase_of_the_stride": gradient(weights=of_kind(Conv, phase_of_the_stride)),
    "edges_of_zeros": gradient(weights=of_kind(Conv, with_zero_edges)),
    "upsampling_with_zeros": gradient(weights=of_conv(dilated, behind_upsampling)),
    "upsampling_shifted": gradient(
        weights=of_conv(lambda X: np.roll(X, 1, axis=1), behind_upsampling)
    ),
    "upsampling_averaged": gradient(
        weights=of_conv(lambda X: (X + np.roll(X, 1, axis=0)) / 2, behind_upsampling)
    ),
}


@pytest.mark.parametrize("name", GRADIENTS)
def test_a_wrong_gradient_of_a_training_is_caught(rng, monkeypatch, name):
    subject = training_subject(small_training(rng))
    monkeypatch.setattr(maths, "training_gradient", GRADIENTS[name])
    assert not check_subject(subject, samples=2, directions=2).passed


def test_a_gradient_put_together_from_its_parts_is_right(monkeypatch):
    subject = training_subject(small_training(np.random.default_rng(1)))
    monkeypatch.setattr(maths, "training_gradient", gradient(weights=of_conv(lambda X: X)))
    assert check_subject(subject, samples=2, directions=2).passed


def test_the_small_network_has_what_the_mutations_change():
    layers = training.small_transformer(np.random.default_rng(0))
    strides = {layer.name: layer.stride for layer in layers if isinstance(layer, Conv)}
    assert strides["conv2"] == 2
    names = [layer.name for layer in layers]
    assert isinstance(layers[names.index("conv3") - 1], Upsample)


# The same in the engine, beside the textbook


def stale_content(monkeypatch):
    monkeypatch.setattr(StyleObjective, "compare_with", _once(StyleObjective.compare_with))


def _once(compare_with):
    """Only the photo that the objective was made with is ever read."""

    def wrong(self, photo):
        if not self.content_targets:
            compare_with(self, photo)

    return wrong


def output_scale_forgotten(monkeypatch):
    right = stylize.backward_weights
    monkeypatch.setattr(
        stylize, "backward_weights", lambda bound, cache, g: right(bound, cache, g / 255)
    )


def engine_scales_and_shifts_exchanged(monkeypatch):
    right = stylize.backward_weights
    monkeypatch.setattr(
        stylize, "backward_weights", lambda *way: scales_and_shifts_exchanged(right(*way))
    )


def sum_instead_of_mean(monkeypatch):
    right = whole_training.batch_gradient

    def wrong(network, objective, photos, weight):
        gradients, parts = right(network, objective, photos, weight)
        return {
            layer: {name: len(photos) * array for name, array in arrays.items()}
            for layer, arrays in gradients.items()
        }, parts

    monkeypatch.setattr(whole_training, "batch_gradient", wrong)


def checkerboards_without_their_derivative(monkeypatch):
    right = train.with_checkerboard

    def wrong(found, pixels, weight):
        return right(found, pixels, weight)._replace(gradient=found.gradient)

    monkeypatch.setattr(train, "with_checkerboard", wrong)


def engine_phase_of_the_stride(monkeypatch):
    right = cpu.conv2d_backward_weights

    def wrong(g, X, size, stride=1, padding=0):
        return right(g, np.roll(X, -1, axis=0) if stride == 2 else X, size, stride, padding)

    monkeypatch.setattr(cpu, "conv2d_backward_weights", wrong)


def exchanged_roles_not_flipped(monkeypatch):
    right = cpu.conv2d_backward_weights

    def wrong(g, X, *way):
        kernel, bias = right(g, X, *way)
        return (kernel[::-1, ::-1] if g.shape[2] < X.shape[2] else kernel), bias

    monkeypatch.setattr(cpu, "conv2d_backward_weights", wrong)


def phases_exchanged(monkeypatch):
    right = passes.subpixel_kernel_backward
    monkeypatch.setattr(
        passes, "subpixel_kernel_backward", lambda g: right(g.transpose(1, 0, 2, 3))
    )


def one_phase_only(monkeypatch):
    right = passes.split

    def wrong(image):
        phases = right(image)
        phases[..., image.shape[2] :] = 0
        return phases

    monkeypatch.setattr(passes, "split", wrong)


def edges_of_zeros(monkeypatch):
    monkeypatch.setattr(cpu, "reflect_pad", cpu.zero_pad)


def skip_forgotten(monkeypatch):
    monkeypatch.setattr(cpu, "add", lambda X, S, out=None: X)


ENGINE = [
    stale_content,
    output_scale_forgotten,
    engine_scales_and_shifts_exchanged,
    sum_instead_of_mean,
    checkerboards_without_their_derivative,
    engine_phase_of_the_stride,
    exchanged_roles_not_flipped,
    phases_exchanged,
    one_phase_only,
    edges_of_zeros,
    skip_forgotten,
]


@pytest.mark.parametrize("mutate", ENGINE, ids=lambda function: function.__name__)
@pytest.mark.parametrize("seed", [0, 1])
def test_a_wrong_engine_differs_from_the_textbook(monkeypatch, mutate, seed):
    mutate(monkeypatch)
    assert not training_outcome(seed).passed


@pytest.mark.parametrize("seed", range(5))
def test_the_engines_steps_are_the_textbooks(seed):
    for outcome in (adam_outcome(seed), training_outcome(seed)):
        assert outcome.passed, outcome.note
        assert outcome.error <= 1e-12
