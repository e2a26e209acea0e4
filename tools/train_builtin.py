"""Train weights/builtin.npz: VGG-19's layers with a quarter of the width, taught by VGG-19.

    python tools/train_builtin.py PICTURES --teacher weights/vgg19.npz

The student's activations at the style layers and at conv4_2 learn to predict the teacher's through
one linear map per layer (`tools/distill.py`). The maps are not part of the result.

1. Start. For each layer, choose the channels of the teacher that predict its others best, and fit
   the student's filters to the pre-activations of these channels by least squares.
2. Training. Adam takes steps on random crops of the training pictures (`tools/crops.py`). The step
   of a tensor is proportional to the size of its values at the start, and decreases to 0. From time
   to time the student renders one training picture in the style of another. The results join the
   training pictures, so that the student also learns the teacher's activations for them.
3. The end. The layers after conv5_1, which have no loss, are fitted again to the trained layers.

Teacher and student run on npstyle's own forward and backward functions. The state is written to a
file after every validation and on Ctrl-C; the same command continues from there.
"""

import argparse
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from common import run
from crops import draw_crop, load_pictures
from distill import Tensors, bridge_loss, student_backward, student_forward
from student import (
    TAUGHT,
    fit_layers,
    flat,
    network_input,
    student,
    taught_layers,
    write_network,
)
from training_state import State, fresh_state, load_state, save_state

from npstyle.engine.bind import BoundNetwork, bind
from npstyle.engine.machine import physical_cores
from npstyle.engine.passes import forward, prepare
from npstyle.engine.threads import use_threads
from npstyle.errors import InputError
from npstyle.files import written_whole
from npstyle.images.pixels import Pixels
from npstyle.maths.adam import adam_direction
from npstyle.maths.array import Array
from npstyle.networks.network import Network, configure, load_network
from npstyle.run.settings import Settings
from npstyle.run.transfer import transfer

SEED = 2015
CROP = 192
"""Side of a crop in pixels."""

BATCH = 4
"""Crops per step."""

START_CROPS = 40
"""Crops to which the start is fitted."""

VALIDATION_CROPS = 24
VALIDATE_EVERY = 250
"""Steps between two validations."""

FADE = 0.99
"""Factor per step on the moments of the linear maps; older crops count less."""

STEP = 0.01
"""Largest step of Adam, in units of a tensor's values at the start (`training_state.py`)."""

MAKE_AT = (0.0, 0.15, 0.3, 0.45, 0.6, 0.75)
"""When the student makes pictures, as fractions of all steps."""

MADE_AT_ONCE = 10
"""Pictures that the student makes each time."""

MADE_SIZE = 256
"""Their longest side in pixels."""

MADE_SHARE = 0.4
"""Fraction of the crops that come from pictures the student made."""

WARM_UP = 100
"""Number of steps in which Adam's step grows from 0 to its maximum."""

REMEMBERED = 800
"""Number of crops kept with their targets. One crop of a batch is new, the others are drawn from
these. The teacher takes as long as the student, so it runs only once per batch."""

VALIDATION = ("art_cd4", "art_fig4_style2", "photo_cd2", "photo_fig4_content")
"""Names of the pictures used for validation only."""


@dataclass(frozen=True)
class Crop:
    """A preprocessed crop and the teacher's activations, float16 (positions, channels)."""

    image: Array
    targets: dict[str, Array]


def options() -> argparse.Namespace:
    """Read the options."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("pictures", type=Path, help="folder of pictures (.jpg)")
    parser.add_argument(
        "--teacher", default="vgg19", help="name or file of the teacher (default: %(default)s)"
    )
    parser.add_argument(
        "--steps",
        type=int,
        default=4000,
        help=f"steps of {BATCH} crops each (default: %(default)s)",
    )
    parser.add_argument(
        "--state",
        type=Path,
        default=Path("train_builtin.state.npz"),
        help="file of the training's state (default: %(default)s)",
    )
    parser.add_argument(
        "--out",
        type=Path,
        default=Path("weights/builtin.npz"),
        help="the network to write (default: %(default)s)",
    )
    parser.add_argument(
        "--log",
        type=Path,
        default=Path("tools/train_builtin.csv"),
        help="table of the losses to write (default: %(default)s)",
    )
    return parser.parse_args()


def main() -> None:
    """Start or resume the training, and write the network."""
    arguments = options()
    paths = sorted(arguments.pictures.glob("*.jpg"))
    left_out = load_pictures([path for path in paths if path.stem in VALIDATION])
    pictures = load_pictures([path for path in paths if path.stem not in VALIDATION])
    if len(pictures) < 2 or not left_out:
        raise InputError(
            f"{arguments.pictures}: holds {len(pictures)} pictures to train with and "
            f"{len(left_out)} to validate with ({', '.join(VALIDATION)}); two and one are needed"
        )
    teacher = configure(load_network(arguments.teacher), "avg", np.float32)
    rng = np.random.default_rng(SEED)
    validation = [draw_crop(rng, left_out, CROP) for _ in range(VALIDATION_CROPS)]
    crops = [draw_crop(rng, pictures, CROP) for _ in range(START_CROPS)]
    with use_threads(physical_cores()):
        if arguments.state.exists():
            state = load_state(arguments.state)
            print(f"continuing from {arguments.state}, step {state.step}")
        else:
            tensors: Tensors = {}
            fit_layers(teacher, tensors, crops, first="conv1_1")
            state = fresh_state(teacher, tensors)
        try:
            train(state, teacher, pictures, validation, arguments)
        except KeyboardInterrupt:
            save_state(arguments.state, state)
            raise SystemExit(f"stopped at step {state.step}; the same command continues") from None
        fit_layers(teacher, state.tensors, crops, first="conv5_2")
    write_network(arguments.out, teacher, state.tensors, state.step)


def train(
    state: State,
    teacher: Network,
    pictures: Sequence[Pixels],
    validation: Sequence[Pixels],
    arguments: argparse.Namespace,
) -> None:
    """Take steps of Adam until all are done."""
    fast = bind(teacher, TAUGHT, route="fast")
    began, first_step = time.monotonic(), state.step
    losses: list[list[float]] = []
    remembered: list[Crop] = []
    if state.step == 0:
        warm_up(state, fast, pictures)
        validate(state, fast, validation, np.full(len(TAUGHT), np.nan), arguments)
    while state.step < arguments.steps:
        rng = np.random.default_rng((SEED, state.step))
        if state.step in [round(share * arguments.steps) for share in MAKE_AT]:
            state.made += make_pictures(rng, student(teacher, state.tensors), pictures)
        pool = state.made if rng.random() < MADE_SHARE else pictures
        remembered.append(fresh_crop(fast, draw_crop(rng, pool, CROP)))
        del remembered[:-REMEMBERED]
        others = rng.integers(len(remembered), size=BATCH - 1)
        batch = [remembered[-1], *(remembered[i] for i in others)]
        gradients, values = derivatives(state, batch)
        losses += values
        state.step += 1
        move(state, gradients, rate(state.step, arguments.steps))
        if state.step % VALIDATE_EVERY == 0 or state.step == arguments.steps:
            validate(state, fast, validation, np.mean(losses, axis=0), arguments)
            losses = []
            left = (time.monotonic() - began) / (state.step - first_step)
            left *= arguments.steps - state.step
            print(f"    {left / 60:.0f} minutes left", flush=True)
            save_state(arguments.state, state)


def derivatives(state: State, batch: Sequence[Crop]) -> tuple[Tensors, list[list[float]]]:
    """Return the derivatives of a batch's mean loss by tensor, and the losses of each crop."""
    for bridge in state.bridges.values():
        bridge.fade(FADE)
    maps = {name: bridge.solve().astype(np.float32) for name, bridge in state.bridges.items()}
    total: Tensors = {}
    losses = []
    for crop in batch:
        seen, inputs = student_forward(taught_layers(), state.tensors, crop.image)
        at_activations = {}
        for name, w in TAUGHT.items():
            F, F_t = flat(seen[name]), crop.targets[name].astype(np.float32)
            state.bridges[name].add(F, F_t)
            value, derivative = bridge_loss(F, F_t, maps[name])
            at_activations[name] = (w / len(batch)) * derivative.reshape(seen[name].shape)
            losses.append(value)
        gradients = student_backward(taught_layers(), state.tensors, inputs, at_activations)
        for name, gradient in gradients.items():
            total[name] = total.get(name, 0) + gradient
    return total, np.reshape(losses, (len(batch), -1)).tolist()


def rate(step: int, steps: int) -> float:
    """Return the size of Adam's step: it grows linearly, then falls to 0 as a cosine."""
    warm = min(1.0, step / WARM_UP)
    return STEP * warm * 0.5 * (1 + np.cos(np.pi * step / steps))


def move(state: State, gradients: Tensors, step: float) -> None:
    """Take one step of Adam."""
    for name, gradient in gradients.items():
        state.mean[name], state.square[name], direction = adam_direction(
            gradient, state.mean[name], state.square[name], state.step
        )
        tensor = state.tensors[name] - (step * state.units[name]) * direction
        state.tensors[name] = tensor.astype(np.float32)


def fresh_crop(teacher: BoundNetwork, pixels: Pixels) -> Crop:
    """Run the teacher on a crop."""
    image = network_input(teacher.network, pixels)
    targets = {}
    for name, F in forward(teacher, prepare(teacher, image, TAUGHT)):
        targets[name] = flat(F).astype(np.float16)
        del F
    return Crop(image, targets)


def make_pictures(
    rng: np.random.Generator, network: Network, pictures: Sequence[Pixels]
) -> list[Array]:
    """Render random pairs with the student, some of them with few iterations."""
    made = []
    for _ in range(MADE_AT_ONCE):
        photo, painting = (pictures[k] for k in rng.choice(len(pictures), 2, replace=False))
        iterations = int(rng.integers(20, 150))
        settings = Settings(size=MADE_SIZE, init="content", iterations=iterations)
        done = transfer(photo, painting, network, settings).result
        if done.stopped == "interrupted":
            raise KeyboardInterrupt
        made.append(done.image.astype(np.float32))
    return made


def warm_up(state: State, teacher: BoundNetwork, pictures: Sequence[Pixels]) -> None:
    """Fill the moments of the linear maps before the first step."""
    rng = np.random.default_rng((SEED, 1 << 31))
    for _ in range(START_CROPS):
        crop = fresh_crop(teacher, draw_crop(rng, pictures, CROP))
        seen, _ = student_forward(taught_layers(), state.tensors, crop.image)
        for name, bridge in state.bridges.items():
            bridge.add(flat(seen[name]), crop.targets[name].astype(np.float32))


def validate(
    state: State,
    teacher: BoundNetwork,
    validation: Sequence[Pixels],
    training: Array,
    arguments: argparse.Namespace,
) -> None:
    """Log and print the unexplained variance of each layer, on the validation pictures."""
    maps = {name: b.solve().astype(np.float32) for name, b in state.bridges.items()}
    wrong = np.zeros((2, len(TAUGHT)))
    for pixels in validation:
        crop = fresh_crop(teacher, pixels)
        seen, _ = student_forward(taught_layers(), state.tensors, crop.image)
        for k, name in enumerate(TAUGHT):
            F_t = crop.targets[name].astype(np.float32)
            value, _ = bridge_loss(flat(seen[name]), F_t, maps[name])
            energy = float(np.vdot(F_t, F_t))
            wrong[:, k] += value * energy, energy
    left = wrong[0] / wrong[1]
    state.log.append([state.step, *training, *left])
    shown = "  ".join(f"{name} {value:.4f}" for name, value in zip(TAUGHT, left, strict=True))
    print(f"step {state.step}: unexplained variance in validation: {shown}", flush=True)
    with written_whole(arguments.log) as file:
        rows = ["step", *(f"training {n}" for n in TAUGHT), *(f"validation {n}" for n in TAUGHT)]
        text = [rows, *([f"{v:.5g}" for v in row] for row in state.log)]
        file.write("".join(",".join(row) + "\n" for row in text).encode())


if __name__ == "__main__":
    run(main)
