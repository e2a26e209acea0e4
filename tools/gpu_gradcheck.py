"""Run `npstyle gradcheck --device cuda --quick` without the packages of the command line.

    python tools/gpu_gradcheck.py [NETWORK]

NETWORK is a name or a file (default: builtin). The exit code is 1 if a derivative is wrong.
"""

import argparse

from common import run

from npstyle.engine.device import find_device, on_device
from npstyle.lab.suite import check_gpu
from npstyle.networks.network import load_network

SIZE, SAMPLES, DIRECTIONS = 32, 8, 2
"""Side of the picture in pixels, coordinates per array, random directions."""


def main() -> None:
    """Check every kernel; exit with code 1 if a derivative is wrong."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("network", nargs="?", default="builtin", metavar="NETWORK")
    arguments = parser.parse_args()
    network = load_network(arguments.network)
    names, wrong = [], []
    with on_device(find_device("cuda")):
        for report in check_gpu(network, SIZE, SAMPLES, DIRECTIONS):
            names.append(report.name)
            print(f"{'ok   ' if report.passed else 'WRONG'} {report.name}", flush=True)
            if not report.passed:
                wrong.append(report.name)
                print("\n".join(outcome.note for outcome in report.outcomes), flush=True)
    print(f"{len(names)} derivatives checked, {len(wrong)} wrong {', '.join(wrong)}")
    raise SystemExit(bool(wrong))


if __name__ == "__main__":
    run(main)
