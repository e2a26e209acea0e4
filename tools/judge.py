"""Rate the pictures that a network makes by another network, usually the real VGG-19.

For each pair of photo and painting, the tool makes a picture with the network in question. Then the
judge computes the style term of the preset `gatys` for this picture and for the photo. The ratio of
the two is printed; 1 means no style at all. The tool also prints the content term, the style term
of each layer, and how much faster than the judge the network evaluates.

    python tools/judge.py --photos tuebingen.jpg golden_gate.jpg \
        --paintings starry_night.jpg shipwreck.jpg the_scream.jpg --out judged
"""

import argparse
import time
from dataclasses import replace
from pathlib import Path
from statistics import mean, median

from common import SETTINGS, WANTED, run

from npstyle.engine.bind import BoundNetwork, bind
from npstyle.engine.losses import term
from npstyle.engine.machine import physical_cores
from npstyle.engine.objective import StyleObjective
from npstyle.engine.threads import use_threads
from npstyle.images.read import load_image
from npstyle.images.write import save_image
from npstyle.networks.network import Network, load_network
from npstyle.run.transfer import transfer

Pair = tuple[Path, Path]
"""Files of a photo and a painting."""


def main() -> None:
    """Make and rate a picture of every pair with every network."""
    arguments = options()
    judge = bind(load_network(arguments.judge), WANTED, route="fast")
    pairs = [(photo, painting) for photo in arguments.photos for painting in arguments.paintings]
    with use_threads(physical_cores()):
        judge_seconds = seconds(judge, pairs[0], arguments.size)
        for name in arguments.networks:
            network = load_network(name)
            label = Path(name).stem
            print(f"{label}, {arguments.iterations} iterations at {arguments.size}", flush=True)
            ratios = [rate(network, label, judge, pair, arguments) for pair in pairs]
            fast = bind(network, WANTED, route="fast")
            times = judge_seconds / seconds(fast, pairs[0], arguments.size)
            print(f"    mean ratio {mean(ratios):.4f}; evaluations {times:.1f} times as fast")


def options() -> argparse.Namespace:
    """Read the options."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--photos", type=Path, nargs="+", required=True, help="files of photos")
    parser.add_argument(
        "--paintings", type=Path, nargs="+", required=True, help="files of paintings"
    )
    parser.add_argument(
        "--networks", nargs="+", default=["builtin"], help="networks to rate (default: builtin)"
    )
    parser.add_argument(
        "--judge", default="vgg19", help="the network that rates (default: %(default)s)"
    )
    parser.add_argument(
        "--size", type=int, default=256, help="longest side in pixels (default: %(default)s)"
    )
    parser.add_argument(
        "--iterations",
        type=int,
        default=SETTINGS.iterations,
        help="iterations per picture (default: %(default)s)",
    )
    parser.add_argument("--out", type=Path, help="folder in which the pictures are kept")
    return parser.parse_args()


def rate(
    network: Network, label: str, judge: BoundNetwork, pair: Pair, arguments: argparse.Namespace
) -> float:
    """Make one picture, print the judge's terms, and return the ratio of the style terms."""
    photo, painting = pair
    settings = replace(SETTINGS, size=arguments.size, iterations=arguments.iterations)
    made = transfer(photo, painting, network, settings).result.image
    objective = pair_objective(judge, pair, settings.size)
    before, after = (objective(image).parts for image in (load_image(photo, settings.size), made))
    ratio = term(after, "style") / term(before, "style")
    layers = " ".join(
        f"{name.removeprefix('style ')} {after[name] / value:.4f} (of {value:.1e})"
        for name, value in before.items()
        if name.startswith("style")
    )
    content = term(after, "content")
    print(f"    {photo.stem} + {painting.stem}: {ratio:.4f}, content {content:.1e}; {layers}")
    if arguments.out is not None:
        arguments.out.mkdir(parents=True, exist_ok=True)
        save_image(arguments.out / f"{photo.stem}-{painting.stem}-{label}.png", made)
    return ratio


def seconds(bound: BoundNetwork, pair: Pair, size: int) -> float:
    """Return the median time of an evaluation."""
    objective = pair_objective(bound, pair, size)
    image = load_image(pair[0], size)
    objective(image)
    times = []
    for _ in range(7):
        start = time.perf_counter()
        objective(image)
        times.append(time.perf_counter() - start)
    return median(times)


def pair_objective(bound: BoundNetwork, pair: Pair, size: int) -> StyleObjective:
    """Return the objective of the preset for this pair."""
    photo, painting = (load_image(path, size) for path in pair)
    return StyleObjective(bound, photo, painting, SETTINGS.losses())


if __name__ == "__main__":
    run(main)
