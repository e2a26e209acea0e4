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
there. The losses go to a table (.csv) beside the weights.
"""

import argparse
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from crops import draw_crop, load_pictures
from distill import (
    Bridge,
    Tensors,
    bridge_loss,
    choose_channels,
    fit_rectified,
    student_backward,
    student_forward,
)
from numpy.typing import NDArray

from npstyle import backend
from npstyle.architecture import ConvSpec, vgg_table
from npstyle.files import written_whole
from npstyle.image import Pixels, preprocess
from npstyle.network import Conv, Network, accelerate, configure, load_network
from npstyle.ops.conv import conv2d
from npstyle.optimizers import adam_direction
from npstyle.passes import forward
from npstyle.presets import STYLE_LAYERS, Settings
from npstyle.style_transfer import transfer
from npstyle.weights import Weights, save_weights

Array = NDArray[Any]

LAYERS = vgg_table("E")
WIDTHS = {"conv1": 16, "conv2": 32, "conv3": 64, "conv4": 128, "conv5": 128}
TAUGHT = {**dict.fromkeys(STYLE_LAYERS, 1.0), "conv4_1": 2.0, "conv4_2": 1.0}
"""Layers where the student is compared with the teacher, and w_l."""

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


@dataclass
class State:
    """All that the training needs to go on."""

    step: int
    tensors: Tensors
    units: dict[str, float]
    mean: Tensors
    square: Tensors
    bridges: dict[str, Bridge]
    log: list[list[float]]
    made: list[Array]


def main() -> None:
    """Start or resume, train, and write the network."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("pictures", type=Path, help="a folder of pictures (.jpg)")
    parser.add_argument("--teacher", default="vgg19", help="file or name of the teacher")
    parser.add_argument("--steps", type=int, default=6000, help=f"of {BATCH} crops each")
    parser.add_argument("--state", type=Path, default=Path("train_builtin.state.npz"))
    parser.add_argument("--out", type=Path, default=Path("weights/builtin.npz"))
    arguments = parser.parse_args()
    paths = sorted(arguments.pictures.glob("*.jpg"))
    left_out = [path for path in paths if path.stem in VALIDATION]
    pictures = load_pictures([path for path in paths if path not in left_out])
    teacher = configure(load_network(arguments.teacher), "avg", np.float32)
    rng = np.random.default_rng(SEED)
    validation = [draw_crop(rng, load_pictures(left_out), CROP) for _ in range(VALIDATION_CROPS)]
    with backend.threads(backend.physical_cores()):
        if arguments.state.exists():
            state = load_state(arguments.state)
            print(f"goes on from {arguments.state}, step {state.step}")
        else:
            crops = [draw_crop(rng, pictures, CROP) for _ in range(START_CROPS)]
            tensors: Tensors = {}
            fit_layers(teacher, tensors, crops, first="conv1_1")
            state = fresh_state(teacher, tensors)
        try:
            train(state, teacher, pictures, validation, arguments)
        except KeyboardInterrupt:
            save_state(arguments.state, state)
            raise SystemExit(f"stopped at step {state.step}; the same command goes on") from None
        crops = [draw_crop(rng, pictures, CROP) for _ in range(START_CROPS)]
        fit_layers(teacher, state.tensors, crops, first="conv5_2")
    write_network(arguments.out, teacher, arguments.teacher, state)


def network_input(teacher: Network, pixels: Pixels) -> Array:
    """Preprocess as the teacher's weights ask for; the student takes the same."""
    return preprocess(pixels, teacher.channel_order, teacher.mean, teacher.scale, np.float32)


def taught_layers() -> tuple[Any, ...]:
    """The layers down to the deepest that is taught."""
    return LAYERS[: start_of("relu5_1") + 1]


def fit_layers(teacher: Network, tensors: Tensors, crops: Sequence[Pixels], first: str) -> None:
    """Start the student's layers from `first` on, from the teacher's channels, by least squares."""
    images = [network_input(teacher, crop) for crop in crops]
    names = [layer.name for layer in LAYERS if isinstance(layer, ConvSpec)]
    moments: dict[str, Any] = dict.fromkeys(names, 0.0)
    fast = accelerate(teacher, names)
    for image in images:
        for name, C in forward(fast, image, dict.fromkeys(names, gram))[0].items():
            moments[name] = moments[name] + C
    inputs = [student_forward(LAYERS[: start_of(first)], tensors, image)[1][-1] for image in images]
    for index in range(start_of(first), len(LAYERS)):
        layer, large = LAYERS[index], teacher.layers[index]
        if isinstance(layer, ConvSpec):
            assert isinstance(large, Conv)
            chosen = choose_channels(moments[layer.name], WIDTHS[layer.name.split("_")[0]])
            weight, bias = large.weight[..., chosen], large.bias[chosen]
            targets = [
                conv2d(teacher_input(fast, image, index), weight, bias, padding=layer.padding)
                for image in images
            ]
            fitted, left = fit_rectified(inputs, targets)
            tensors[f"{layer.name}.weight"], tensors[f"{layer.name}.bias"] = fitted
            print(f"start of {layer.name}: {len(chosen)} of {len(large.bias)} channels, {left:.4f}")
        inputs = [student_forward([layer], tensors, image)[1][-1] for image in inputs]


def start_of(name: str) -> int:
    """Index of the layer of this name."""
    return next(index for index, layer in enumerate(LAYERS) if layer.name == name)


def gram(activation: Array) -> Array:
    """F^T F of an activation (height, width, channels), per position."""
    F = activation.reshape(-1, activation.shape[-1])
    return (F.T @ F) / len(F)


def teacher_input(teacher: Network, image: Array, index: int) -> Array:
    """What the teacher's layer `index` is given."""
    if index == 0:
        return image
    before = teacher.activations()[index - 1]
    return forward(teacher, image, {before: np.array})[0][before]


def fresh_state(teacher: Network, tensors: Tensors) -> State:
    """The state before the first step."""
    taught = {layer.name for layer in taught_layers()}
    tensors = {name: t for name, t in tensors.items() if name.split(".")[0] in taught}
    units = {}
    for name, tensor in tensors.items():
        weight = tensors[name.replace(".bias", ".weight")]
        unit = float(np.sqrt((weight**2).mean()))
        # A bias moves as much as a filter whose inputs are of the size of the pre-activation.
        units[name] = unit if tensor.ndim == 4 else float(np.abs(tensor).mean())
    widths = {layer.name: len(layer.bias) for layer in teacher.layers if isinstance(layer, Conv)}
    bridges = {name: Bridge.empty(WIDTHS[name.split("_")[0]], widths[name]) for name in TAUGHT}
    zeros = {name: np.zeros_like(tensor) for name, tensor in tensors.items()}
    return State(0, tensors, units, zeros, dict(zeros), bridges, [], [])


def train(
    state: State,
    teacher: Network,
    pictures: Sequence[Pixels],
    validation: Sequence[Pixels],
    arguments: argparse.Namespace,
) -> None:
    """Adam, until the planned steps are done."""
    fast = accelerate(teacher, TAUGHT)
    layers = taught_layers()
    began, first_step = time.monotonic(), state.step
    losses: list[Array] = []
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
        batch = [
            remembered[-1],
            *(remembered[i] for i in rng.integers(len(remembered), size=BATCH - 1)),
        ]
        for bridge in state.bridges.values():
            bridge.fade(FADE)
        maps = {name: b.solve().astype(np.float32) for name, b in state.bridges.items()}
        total: Tensors = {}
        for crop in batch:
            seen, inputs = student_forward(layers, state.tensors, crop.image)
            at, values = {}, []
            for name, weight in TAUGHT.items():
                F, F_t = flat(seen[name]), crop.targets[name].astype(np.float32)
                state.bridges[name].see(F, F_t)
                value, derivative = bridge_loss(F, F_t, maps[name])
                at[name] = (weight / BATCH) * derivative.reshape(seen[name].shape)
                values.append(value)
            losses.append(np.array(values))
            for name, g in student_backward(layers, state.tensors, inputs, at).items():
                total[name] = total.get(name, 0) + g
        state.step += 1
        rate = STEP * 0.5 * (1 + np.cos(np.pi * state.step / arguments.steps))
        rate *= min(1.0, state.step / WARM_UP)
        for name, g in total.items():
            state.mean[name], state.square[name], direction = adam_direction(
                g, state.mean[name], state.square[name], state.step
            )
            change = (rate * state.units[name]) * direction
            state.tensors[name] = (state.tensors[name] - change).astype(np.float32)
        if state.step % VALIDATE_EVERY == 0 or state.step == arguments.steps:
            validate(state, fast, validation, np.mean(losses, axis=0), arguments)
            losses = []
            left = (time.monotonic() - began) / (state.step - first_step)
            left *= arguments.steps - state.step
            print(f"    {left / 60:.0f} minutes to go", flush=True)
            save_state(arguments.state, state)


def fresh_crop(teacher: Network, pixels: Pixels) -> Crop:
    """Show the teacher a crop."""
    image = network_input(teacher, pixels)
    targets, _ = forward(
        teacher, image, dict.fromkeys(TAUGHT, lambda F: flat(F).astype(np.float16))
    )
    return Crop(image, targets)


def student(teacher: Network, tensors: Tensors) -> Network:
    """The student as a network, as deep as it is taught."""
    layers = tuple(
        replace(layer, weight=tensors[f"{layer.name}.weight"], bias=tensors[f"{layer.name}.bias"])
        if isinstance(layer, Conv)
        else layer
        for layer in teacher.layers[: len(taught_layers())]
    )
    return replace(teacher, name="student", layers=layers)


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


def flat(activation: Array) -> Array:
    """(height, width, channels) -> (positions, channels)."""
    return activation.reshape(-1, activation.shape[-1])


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
    with written_whole(arguments.out.with_suffix(".csv")) as file:
        rows = ["step", *(f"training {n}" for n in TAUGHT), *(f"validation {n}" for n in TAUGHT)]
        text = [rows, *([f"{v:.5g}" for v in row] for row in state.log)]
        file.write("".join(",".join(row) + "\n" for row in text).encode())


def save_state(path: Path, state: State) -> None:
    """Keep everything, whole or not at all."""
    arrays: dict[str, Any] = {}
    for kind in ("tensors", "mean", "square"):
        arrays |= {f"{kind}/{name}": array for name, array in getattr(state, kind).items()}
    for name, bridge in state.bridges.items():
        arrays |= {f"S/{name}": bridge.S, f"T/{name}": bridge.T, f"E/{name}": bridge.energy}
    arrays |= {f"units/{name}": unit for name, unit in state.units.items()}
    arrays |= {f"made/{k:04}": picture for k, picture in enumerate(state.made)}
    with written_whole(path) as file:
        np.savez(file, step=state.step, log=np.array(state.log), **arrays)


def load_state(path: Path) -> State:
    """What `save_state` kept."""
    with np.load(path) as file:
        kinds: dict[str, dict[str, Any]] = {}
        for key in file.files:
            kind, _, name = key.partition("/")
            kinds.setdefault(kind, {})[name] = file[key]
    bridges = {
        name: Bridge(kinds["S"][name], kinds["T"][name], float(kinds["E"][name])) for name in TAUGHT
    }
    units = {name: float(unit) for name, unit in kinds["units"].items()}
    return State(
        int(kinds["step"][""]),
        kinds["tensors"],
        units,
        kinds["mean"],
        kinds["square"],
        bridges,
        kinds["log"][""].tolist(),
        [picture for _, picture in sorted(kinds.get("made", {}).items())],
    )


def write_network(path: Path, teacher: Network, teacher_name: str, state: State) -> None:
    """Write the student, in float16."""
    tensors = {}
    for layer in LAYERS:
        if isinstance(layer, ConvSpec):
            kernel = state.tensors[f"{layer.name}.weight"].transpose(3, 2, 0, 1)
            tensors[f"{layer.name}.weight"] = np.ascontiguousarray(kernel, np.float16)
            tensors[f"{layer.name}.bias"] = state.tensors[f"{layer.name}.bias"].astype(np.float16)
    save_weights(
        path,
        Weights(
            name="builtin",
            layers=LAYERS,
            tensors=tensors,
            channel_order=teacher.channel_order,
            mean=teacher.mean,
            scale=teacher.scale,
            source=f"distilled from {teacher.name} ({state.step} steps of tools/train_builtin.py)",
            license="CC BY 4.0; teacher: VGG-19, Visual Geometry Group, University of Oxford",
            source_sha256=teacher.sha256,
            normalized=False,
        ),
    )


if __name__ == "__main__":
    main()
