"""Train weights/builtin.npz: VGG-19's layers at a quarter of the width, taught by VGG-19.

The student's activations at the style layers and conv4_2 learn to predict the teacher's through a
linear map per layer (`tools/distill.py`); the maps are scaffolding and are thrown away.

1. Start. Layer by layer: choose the teacher's channels from which its others are predicted best,
   and fit the student's filters by least squares to those channels' pre-activations.
2. Training. Adam on random crops of the training pictures (`tools/crops.py`); every filter's step
   is measured by the size that its layer's filters had at the start, and shrinks to nothing.
   Now and then the student makes pictures of its own, a training picture in the style of another,
   and they join the training pictures: there it learns what the teacher sees where it led itself.
3. The layers behind conv5_1, where no loss sits, are started anew on the trained ones.

No framework: teacher and student run on npstyle's kernels, forward and backward.

    python tools/train_builtin.py PICTURES --teacher weights/vgg19.npz

It keeps its state in a file after every validation, and on Ctrl-C; the same command goes on from
there. The losses go to a table (--log).
"""

import argparse
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from common import run
from crops import draw_crop, load_pictures
from distill import Tensors, bridge_loss, student_backward, student_forward
from numpy.typing import NDArray
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

from npstyle.engine.machine import physical_cores
from npstyle.engine.passes import forward
from npstyle.engine.threads import use_threads
from npstyle.files import written_whole
from npstyle.images.pixels import Pixels
from npstyle.networks.network import Network, accelerate, configure, load_network
from npstyle.run.settings import Settings
from npstyle.run.transfer import transfer
from npstyle.search.adam import adam_direction

Array = NDArray[Any]

SEED = 2015
CROP = 192
BATCH = 4
START_CROPS = 40
VALIDATION_CROPS = 24
VALIDATE_EVERY = 250
FADE = 0.99
"""How much of the moments in the bridges a step keeps."""

STEP = 0.01
"""Adam's first step, in units of a layer's root mean square weight at the start."""

MAKE_AT = (0.0, 0.15, 0.3, 0.45, 0.6, 0.75)
"""Where in the training the student makes pictures, as shares of the steps."""

MADE_AT_ONCE = 10
MADE_SIZE = 256
MADE_SHARE = 0.4
"""How many of the crops are of pictures that the student made."""

WARM_UP = 100
"""Steps in which Adam's step grows to that."""

REMEMBERED = 800
"""Crops whose targets are kept: one of a batch is new, the others are drawn from these. The teacher
takes as long as the student does, so it is asked once per batch."""

VALIDATION = ("art_cd4", "art_fig4_style2", "photo_cd2", "photo_fig4_content")
"""Training pictures that are left out to validate on."""


@dataclass(frozen=True)
class Crop:
    """A preprocessed crop, and the teacher's activations (positions, channels) in float16."""

    image: Array
    targets: dict[str, Array]


def main() -> None:
    """Start or resume, train, and write the network."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("pictures", type=Path, help="a folder of pictures (.jpg)")
    parser.add_argument("--teacher", default="vgg19", help="file or name of the teacher")
    parser.add_argument("--steps", type=int, default=4000, help=f"of {BATCH} crops each")
    parser.add_argument("--state", type=Path, default=Path("train_builtin.state.npz"))
    parser.add_argument("--out", type=Path, default=Path("weights/builtin.npz"))
    parser.add_argument("--log", type=Path, default=Path("tools/train_builtin.csv"))
    arguments = parser.parse_args()
    paths = sorted(arguments.pictures.glob("*.jpg"))
    left_out = load_pictures([path for path in paths if path.stem in VALIDATION])
    pictures = load_pictures([path for path in paths if path.stem not in VALIDATION])
    if len(pictures) < 2 or not left_out:
        parser.error(f"{arguments.pictures}: needs two pictures to train on, and one of VALIDATION")
    teacher = configure(load_network(arguments.teacher), "avg", np.float32)
    rng = np.random.default_rng(SEED)
    validation = [draw_crop(rng, left_out, CROP) for _ in range(VALIDATION_CROPS)]
    crops = [draw_crop(rng, pictures, CROP) for _ in range(START_CROPS)]
    with use_threads(physical_cores()):
        if arguments.state.exists():
            state = load_state(arguments.state)
            print(f"goes on from {arguments.state}, step {state.step}")
        else:
            tensors: Tensors = {}
            fit_layers(teacher, tensors, crops, first="conv1_1")
            state = fresh_state(teacher, tensors)
        try:
            train(state, teacher, pictures, validation, arguments)
        except KeyboardInterrupt:
            save_state(arguments.state, state)
            raise SystemExit(f"stopped at step {state.step}; the same command goes on") from None
        fit_layers(teacher, state.tensors, crops, first="conv5_2")
    write_network(arguments.out, teacher, state.tensors, state.step)


def train(
    state: State,
    teacher: Network,
    pictures: Sequence[Pixels],
    validation: Sequence[Pixels],
    arguments: argparse.Namespace,
) -> None:
    """Adam, until the planned steps are done."""
    fast = accelerate(teacher, TAUGHT)
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
            print(f"    {left / 60:.0f} minutes to go", flush=True)
            save_state(arguments.state, state)


def derivatives(state: State, batch: Sequence[Crop]) -> tuple[Tensors, list[list[float]]]:
    """Derivatives of the mean loss of a batch by all tensors, and the losses of each crop."""
    for bridge in state.bridges.values():
        bridge.fade(FADE)
    maps = {name: bridge.solve().astype(np.float32) for name, bridge in state.bridges.items()}
    total: Tensors = {}
    losses = []
    for crop in batch:
        seen, inputs = student_forward(taught_layers(), state.tensors, crop.image)
        at_activations = {}
        for name, weight in TAUGHT.items():
            F, F_t = flat(seen[name]), crop.targets[name].astype(np.float32)
            state.bridges[name].see(F, F_t)
            value, derivative = bridge_loss(F, F_t, maps[name])
            at_activations[name] = (weight / len(batch)) * derivative.reshape(seen[name].shape)
            losses.append(value)
        gradients = student_backward(taught_layers(), state.tensors, inputs, at_activations)
        for name, gradient in gradients.items():
            total[name] = total.get(name, 0) + gradient
    return total, np.reshape(losses, (len(batch), -1)).tolist()


def rate(step: int, steps: int) -> float:
    """Adam's step, in units of a layer's weights: it grows at first and ends at 0 in a cosine."""
    warm = min(1.0, step / WARM_UP)
    return STEP * warm * 0.5 * (1 + np.cos(np.pi * step / steps))


def move(state: State, gradients: Tensors, step: float) -> None:
    """One step of Adam for every tensor."""
    for name, gradient in gradients.items():
        state.mean[name], state.square[name], direction = adam_direction(
            gradient, state.mean[name], state.square[name], state.step
        )
        moved = state.tensors[name] - (step * state.units[name]) * direction
        state.tensors[name] = moved.astype(np.float32)


def fresh_crop(teacher: Network, pixels: Pixels) -> Crop:
    """Show the teacher a crop."""
    image = network_input(teacher, pixels)
    targets, _ = forward(
        teacher, image, dict.fromkeys(TAUGHT, lambda F: flat(F).astype(np.float16))
    )
    return Crop(image, targets)


def make_pictures(
    rng: np.random.Generator, network: Network, pictures: Sequence[Pixels]
) -> list[Array]:
    """Pictures that the student makes of random pairs, some of them hardly begun."""
    made = []
    for _ in range(MADE_AT_ONCE):
        photo, painting = (pictures[k] for k in rng.choice(len(pictures), 2, replace=False))
        settings = Settings(size=MADE_SIZE, iterations=int(rng.integers(20, 150)))
        done = transfer(photo, painting, network, settings).result
        if done.stopped == "interrupted":
            raise KeyboardInterrupt
        made.append(done.image.astype(np.float32))
    return made


def warm_up(state: State, teacher: Network, pictures: Sequence[Pixels]) -> None:
    """Fill the bridges before the first step."""
    rng = np.random.default_rng((SEED, 1 << 31))
    for _ in range(START_CROPS):
        crop = fresh_crop(teacher, draw_crop(rng, pictures, CROP))
        seen, _ = student_forward(taught_layers(), state.tensors, crop.image)
        for name, bridge in state.bridges.items():
            bridge.see(flat(seen[name]), crop.targets[name].astype(np.float32))


def validate(
    state: State,
    teacher: Network,
    validation: Sequence[Pixels],
    training: Array,
    arguments: argparse.Namespace,
) -> None:
    """Log and print the share of the teacher's energy that is not explained, layer by layer."""
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
    print(f"step {state.step}: not explained, on pictures left out: {shown}", flush=True)
    with written_whole(arguments.log) as file:
        rows = ["step", *(f"training {n}" for n in TAUGHT), *(f"validation {n}" for n in TAUGHT)]
        text = [rows, *([f"{v:.5g}" for v in row] for row in state.log)]
        file.write("".join(",".join(row) + "\n" for row in text).encode())


if __name__ == "__main__":
    run(main)
