"""Rate the pictures of painting in one pass by the loss of the search, with the real VGG-19.

    python tools/judge_onepass.py PHOTO PAINTING [PHOTO PAINTING ...] --network vgg19 --size 384

For each pair of pictures the tool prints the loss of the preset `gatys` for the photo, for the
pictures that `npstyle stylize` paints without and with `--refine`, and for that of `npstyle
transfer` from the photo after `--iterations` steps. The number behind the loss of a painted picture
is the first iteration of this transfer whose loss is as low; the losses of the iteration before and
of this one are in brackets.
"""

from collections.abc import Sequence

from common import SETTINGS, load_fast, load_pictures, pairs_parser, run

from npstyle.engine.machine import physical_cores
from npstyle.engine.objective import StyleObjective
from npstyle.engine.threads import use_threads
from npstyle.maths.array import Array
from npstyle.run.stylize import StyleSettings, stylize
from npstyle.search.optimize import optimize


def ways_of_painting(network: str) -> dict[str, StyleSettings]:
    """Return the ways that are rated, by the name of their column; `network` computes the loss."""
    return {
        "one pass": StyleSettings(),
        "`--refine 20`": StyleSettings(refine=20, network=network),
        "`--refine 20 --refine-all`": StyleSettings(refine=20, refine_all=True, network=network),
    }


def search_losses(objective: StyleObjective, start: Array, iterations: int) -> list[float]:
    """Return the loss at the start of a search and after each iteration."""
    losses = [objective(start).loss]
    optimize(
        objective, start, iterations=iterations, callback=lambda step: losses.append(step.loss)
    )
    return losses


def first_as_low(losses: Sequence[float], target: float) -> int | None:
    """Return the first iteration whose loss is at most `target`, or None."""
    return next((k for k, loss in enumerate(losses) if loss <= target), None)


def rated(losses: Sequence[float], loss: float) -> str:
    """Return a cell of the table: a loss, and the iteration of the search that is as low."""
    found = first_as_low(losses, loss)
    if found is None:
        return f"{loss:.2e}: more than {len(losses) - 1}"
    near = ", ".join(f"{value:.2e}" for value in losses[max(0, found - 1) : found + 1])
    return f"{loss:.2e}: {found} ({near})"


def row(cells: Sequence[str]) -> None:
    """Print one line of the table, in Markdown."""
    print(f"| {' | '.join(cells)} |", flush=True)


def main() -> None:
    """Read the options, measure, print a table."""
    parser = pairs_parser(__doc__, 384)
    parser.add_argument(
        "--iterations", type=int, default=40, help="of the transfer (default: %(default)s)"
    )
    arguments = parser.parse_args()
    bound = load_fast(arguments)
    ways = ways_of_painting(arguments.network)
    row(["pair", "photo", *ways, f"transfer, {arguments.iterations} iterations"])
    row(["---"] * (3 + len(ways)))
    pairs = zip(arguments.pictures[::2], arguments.pictures[1::2], strict=True)
    with use_threads(physical_cores()):
        for arguments.photo, arguments.painting in pairs:
            photo, painting = load_pictures(arguments, arguments.size)
            objective = StyleObjective(bound, photo, painting, SETTINGS.losses())
            losses = search_losses(objective, photo, arguments.iterations)
            painted = [
                stylize(photo, arguments.painting, settings).image for settings in ways.values()
            ]
            row(
                [
                    f"{arguments.photo.stem}, {arguments.painting.stem}",
                    f"{losses[0]:.2e}",
                    *(rated(losses, objective(picture).loss) for picture in painted),
                    f"{losses[-1]:.2e}",
                ]
            )


if __name__ == "__main__":
    run(main)
