"""How good a network's pictures are, judged by another network, as a rule the real VGG-19.

For each pair the picture is made with the network in question; then the judge takes the style term
of preset `gatys` of it and of the starting photo, and their ratio is printed: 1 is no style at all.
Also printed are the terms that the judge finds content to have, and the time of an evaluation.

    python tools/judge.py --photos tuebingen.jpg golden_gate.jpg \
        --paintings starry_night.jpg shipwreck.jpg the_scream.jpg --out judged
"""

import argparse
import time
from dataclasses import replace
from pathlib import Path
from statistics import mean, median

from common import SETTINGS, WANTED, run

from npstyle.engine.machine import physical_cores
from npstyle.engine.objective import StyleObjective, build_objective, term
from npstyle.engine.threads import use_threads
from npstyle.images.read import load_image
from npstyle.images.write import save_image
from npstyle.networks.network import Network, accelerate, load_network
from npstyle.run.settings import Settings
from npstyle.run.transfer import transfer


def main() -> None:
    """Make and judge every pair with every network."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--photos", type=Path, nargs="+", required=True)
    parser.add_argument("--paintings", type=Path, nargs="+", required=True)
    parser.add_argument("--networks", nargs="+", default=["builtin"], help="files or names")
    parser.add_argument("--judge", default="vgg19", help="the network that judges")
    parser.add_argument("--size", type=int, default=256, help="longest side of the pictures")
    parser.add_argument("--iterations", type=int, default=SETTINGS.iterations)
    parser.add_argument("--out", type=Path, help="a folder to keep the pictures in")
    arguments = parser.parse_args()
    judge = accelerate(load_network(arguments.judge), WANTED)
    with use_threads(physical_cores()):
        own_time = seconds(judge, arguments)
        for name in arguments.networks:
            network = load_network(name)
            label = Path(name).stem
            print(f"{label}, {arguments.iterations} iterations at {arguments.size}", flush=True)
            ratios = []
            for photo in arguments.photos:
                for painting in arguments.paintings:
                    ratios.append(judged(network, label, judge, photo, painting, arguments))
            time_ratio = own_time / seconds(accelerate(network, WANTED), arguments)
            print(f"    mean ratio {mean(ratios):.4f}; evaluations {time_ratio:.1f} times as fast")


def judged(
    network: Network,
    label: str,
    judge: Network,
    photo: Path,
    painting: Path,
    arguments: argparse.Namespace,
) -> float:
    """Make one picture, print what the judge says of it, and return its style ratio."""
    settings = replace(SETTINGS, size=arguments.size, iterations=arguments.iterations)
    made = transfer(photo, painting, network, settings).result.image
    objective = pair_objective(judge, photo, painting, settings)
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


def seconds(network: Network, arguments: argparse.Namespace) -> float:
    """Median time of an evaluation of the first pair's objective."""
    settings = replace(SETTINGS, size=arguments.size)
    objective = pair_objective(network, arguments.photos[0], arguments.paintings[0], settings)
    image = load_image(arguments.photos[0], arguments.size)
    objective(image)
    times = []
    for _ in range(7):
        start = time.perf_counter()
        objective(image)
        times.append(time.perf_counter() - start)
    return median(times)


def pair_objective(
    network: Network, photo: Path, painting: Path, settings: Settings
) -> StyleObjective:
    """What `network` thinks of pictures of this pair."""
    own, other = (load_image(path, settings.size) for path in (photo, painting))
    return build_objective(network, own, other, settings)


if __name__ == "__main__":
    run(main)
