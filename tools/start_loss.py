"""Compare the losses of a search from the photo, and of one from the photo painted in one pass.

    python tools/start_loss.py PHOTO PAINTING [PHOTO PAINTING ...] --network vgg19.npz --size 256

For each pair of pictures the tool prints the lowest loss of npstyle's default search from the photo
after as many evaluations as `--marks` says. The number behind it is the loss of the search with
`--init one-pass`, divided by this: below 1, one pass is ahead. Below the table are the geometric
means over the pairs. The time of one pass is not counted.
"""

import numpy as np
from common import load_fast, load_pictures, pairs_parser, run, sizes
from search_loss import preconditioned, row, watch

from npstyle.engine.guides import Region, Source
from npstyle.engine.machine import physical_cores
from npstyle.engine.objective import StyleObjective
from npstyle.engine.threads import use_threads
from npstyle.run.settings import with_preset
from npstyle.run.start import painted_picture


def main() -> None:
    """Read the options, measure, print a table."""
    parser = pairs_parser(__doc__, 256)
    parser.add_argument(
        "--style-weight", type=float, default=1e3, help="as in a transfer (default: %(default)s)"
    )
    parser.add_argument(
        "--marks",
        type=sizes,
        default=[5, 10, 20, 40, 80],
        help="numbers of evaluations to compare at (default: 5,10,20,40,80)",
    )
    arguments = parser.parse_args()
    marks = arguments.marks
    settings = with_preset({"style_weight": arguments.style_weight})
    bound = load_fast(arguments)
    row("", [f"after {mark}" for mark in marks])
    ratios = []
    pairs = zip(arguments.pictures[::2], arguments.pictures[1::2], strict=True)
    with use_threads(physical_cores()):
        for arguments.photo, arguments.painting in pairs:
            photo, painting = load_pictures(arguments, arguments.size)
            objective = StyleObjective(bound, photo, painting, settings.losses())
            regions, size = [Region((Source(painting),))], photo.shape[:2]
            painted = painted_picture(photo, regions, [arguments.painting], settings, size)
            before, after = (
                watch(preconditioned, objective, start, marks[-1])[0].lowest
                for start in (photo, painted)
            )
            losses = [before[min(mark, len(before)) - 1] for mark in marks]
            ratios.append(
                [
                    after[min(mark, len(after)) - 1] / loss
                    for mark, loss in zip(marks, losses, strict=True)
                ]
            )
            row(
                f"{arguments.photo.stem}, {arguments.painting.stem}",
                [
                    f"{loss:.3g}  {ratio:.2f}"
                    for loss, ratio in zip(losses, ratios[-1], strict=True)
                ],
            )
    row("mean", [f"{mean:.2f}" for mean in np.exp(np.mean(np.log(ratios), axis=0))])


if __name__ == "__main__":
    run(main)
