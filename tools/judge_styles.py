"""Rate trained styles by the terms of the search's loss, with the real VGG-19.

    python tools/judge_styles.py starry_night.npz --painting starry_night.jpg \
        --photos tuebingen.jpg golden_gate.jpg --network vgg19 --size 384 --out judged

For each style and photo the tool prints the content term of the preset `gatys`, and the share of
the photo's own style term that is left. Both count: a network that gives up the content has the
lowest loss. The third number is the mean amplitude of the checkerboard in windows of 32 pixels
(`npstyle/maths/checkerboard.py`), of 255: strokes and photos have 2 to 4. With `--iterations` the
tool also prints the numbers for `npstyle transfer`.
"""

import argparse
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from common import SETTINGS, load_fast, run, sizes

from npstyle.engine.losses import term
from npstyle.engine.machine import physical_cores
from npstyle.engine.objective import StyleObjective
from npstyle.engine.threads import use_threads
from npstyle.images.read import load_image
from npstyle.images.write import save_image
from npstyle.maths.array import Array
from npstyle.maths.checkerboard import checkerboard_loss
from npstyle.onepass.train import CELL, WINDOW
from npstyle.run.stylize import StyleSettings, stylize
from npstyle.search.optimize import optimize

Rating = tuple[float, float, float]
"""The content term, the share of the photo's style term that is left, and the amplitude of the
checkerboard."""


def options() -> argparse.Namespace:
    """Read the options."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("styles", nargs="+", help="styles as for npstyle stylize --style")
    parser.add_argument("--painting", type=Path, required=True, help="that of the styles")
    parser.add_argument("--photos", type=Path, nargs="+", required=True, help="files of photos")
    parser.add_argument("--network", default="vgg19", help="that rates (default: %(default)s)")
    parser.add_argument("--size", type=int, default=384, help="longest side (default: %(default)s)")
    parser.add_argument(
        "--iterations", type=sizes, default=[], help="of a transfer, such as 2,5,10,30"
    )
    parser.add_argument("--out", type=Path, help="folder in which the pictures are kept")
    return parser.parse_args()


def rate(objective: StyleObjective, picture: Array, before: float) -> Rating:
    """Rate a picture; `before` is the photo's style term."""
    parts = objective(picture).parts
    board = float(checkerboard_loss(picture, CELL, WINDOW) / picture.size) ** 0.5
    return term(parts, "content"), term(parts, "style") / before, board


def rated_search(
    objective: StyleObjective, photo: Array, before: float, marks: Sequence[int]
) -> list[Rating]:
    """Rate the best picture of a search from the photo after each number of iterations."""
    found: list[Rating] = []
    if marks:
        optimize(
            objective,
            photo,
            iterations=max(marks),
            callback=lambda step: (
                found.append(rate(objective, step.best_image, before))
                if step.iteration in marks
                else None
            ),
        )
    return found


def row(name: str, ratings: Sequence[Rating]) -> None:
    """Print one line of the table, in Markdown, with the means at its end."""
    means = tuple(np.mean(ratings, axis=0))
    cells = [
        f"{content:.2e}, {left:.1%}, {board:.1f}" for content, left, board in [*ratings, means]
    ]
    print(f"| {' | '.join([name, *cells])} |", flush=True)


def main() -> None:
    """Read the options, paint, rate, print a table."""
    arguments = options()
    bound = load_fast(arguments)
    names = [photo.stem for photo in arguments.photos]
    print(f"| {' | '.join(['style', *names, 'mean'])} |\n|{'---|' * (len(names) + 2)}", flush=True)
    with use_threads(physical_cores()):
        painting = load_image(arguments.painting, arguments.size)
        photos = [load_image(path, arguments.size) for path in arguments.photos]
        objectives = [StyleObjective(bound, x, painting, SETTINGS.losses()) for x in photos]
        pairs = list(zip(objectives, photos, strict=True))
        befores = [term(objective(photo).parts, "style") for objective, photo in pairs]
        for style in arguments.styles:
            settings = StyleSettings(style=style)
            pictures = [stylize(photo, settings=settings).image for photo in photos]
            rows = zip(objectives, pictures, befores, strict=True)
            row(Path(style).stem, [rate(*entry) for entry in rows])
            if arguments.out is not None:
                arguments.out.mkdir(parents=True, exist_ok=True)
                for name, picture in zip(names, pictures, strict=True):
                    save_image(arguments.out / f"{name}-{Path(style).stem}.png", picture)
        found = [
            rated_search(*pair, before, arguments.iterations)
            for pair, before in zip(pairs, befores, strict=True)
        ]
        for mark, ratings in zip(arguments.iterations, zip(*found, strict=True), strict=True):
            row(f"transfer, {mark} iterations", ratings)


if __name__ == "__main__":
    run(main)
