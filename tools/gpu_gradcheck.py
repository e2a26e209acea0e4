"""`npstyle gradcheck --device cuda --quick` without the command line's packages.

python tools/gpu_gradcheck.py [NETWORK]
"""

import sys

from common import run

from npstyle.engine.device import find_device, on_device
from npstyle.lab.suite import check_gpu
from npstyle.networks.network import load_network

SIZE, SAMPLES, DIRECTIONS = 32, 8, 2


def main() -> None:
    """Check every kernel; end with 1 if a derivative is wrong."""
    network = load_network(sys.argv[1] if len(sys.argv) > 1 else "builtin")
    names, wrong = [], []
    with on_device(find_device("cuda")):
        for report in check_gpu(network, SIZE, SAMPLES, DIRECTIONS):
            names.append(report.name)
            print(f"{'ok   ' if report.passed else 'WRONG'} {report.name}", flush=True)
            if not report.passed:
                wrong.append(report.name)
                print("\n".join(outcome.note for outcome in report.outcomes), flush=True)
    print(f"{len(names)} derivatives checked, {len(wrong)} wrong {', '.join(wrong)}")
    sys.exit(bool(wrong))


if __name__ == "__main__":
    run(main)
