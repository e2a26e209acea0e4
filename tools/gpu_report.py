"""Write a report from the files that the steps of `tools/gpu_report.sh` left in a folder.

    python tools/gpu_report.py FOLDER REPORT.md

Any of the files may be missing or truncated; the report contains whatever is there. For a step that
failed, it contains the last lines of the output.
"""

import argparse
import json
from pathlib import Path
from typing import Any

LINES = 20
"""Number of lines of a failed step's output."""

SIZES = (256, 512, 1024, 2048)


def read(path: Path) -> str:
    """Return the text of a file, empty if it is missing."""
    return path.read_text(encoding="utf-8", errors="replace") if path.is_file() else ""


def figures(path: Path) -> dict[str, Any]:
    """Return the JSON of a file, empty if it is missing or truncated."""
    try:
        found: dict[str, Any] = json.loads(read(path))
    except ValueError:
        return {}
    return found


def steps(folder: Path) -> list[tuple[str, str, str]]:
    """Return name, outcome and seconds of every step."""
    rows = [line.split("\t") for line in read(folder / "steps.tsv").splitlines()]
    return [(row[0], row[1], row[2]) for row in rows if len(row) == 3]


def table(header: list[str], rows: list[list[str]]) -> list[str]:
    """Return the lines of a table in Markdown."""
    lines = [header, ["---"] * len(header), *rows]
    return [f"| {' | '.join(cells)} |" for cells in lines] + [""]


def evaluation(found: dict[str, Any]) -> list[str]:
    """Return the times, rates and ratios at one size."""
    height, width = found["shape"]
    searches, ratios = found.get("search", {}), found.get("ratio", {})
    rows = []
    for name, seconds in found["evaluation_s"].items():
        search = searches.get(name)
        beside = ", ".join(f"{ratio:.2f} ({peer})" for peer, ratio in ratios.get(name, {}).items())
        rows.append(
            [
                name,
                f"{seconds * 1e3:.2f} ms",
                f"{found['operations'] / seconds / 1e12:.1f}",
                f"{found['bytes'] / seconds / 1e9:.0f}",
                f"{search['iteration_s'] * 1e3:.2f} ms" if search else "",
                beside,
            ]
        )
    header = ["route", "evaluation", "TFLOP/s", "GB/s", "L-BFGS iteration", "PyTorch / npstyle"]
    lines = [f"### {width} x {height}", "", *table(header, rows)]
    memory = {name: f"{size / 1e9:.2f} GB" for name, size in found.get("memory", {}).items()}
    lines.append(f"Memory: {json.dumps(memory)}. CUDA graphs: {found.get('graphs')}.")
    return [*lines, ""]


def benchmarks(folder: Path) -> list[str]:
    """Return all figures of the benchmarks."""
    found = {size: figures(folder / f"benchmark-{size}.json") for size in SIZES}
    lines: list[str] = []
    for part in found.values():
        if "ceilings" in part and not lines:
            top = part["ceilings"]
            rates = ", ".join(f"{k} {v / 1e12:.1f}" for k, v in top.items() if k != "copy")
            lines += [
                f"{part['device']}, CuPy {part['cupy']}, PyTorch {part['torch']}, "
                f"NumPy {part['numpy']}; network: {part['network']}.",
                f"Ceilings: copy {top['copy'] / 1e12:.2f} TB/s; products in TFLOP/s: {rates}.",
                "",
            ]
    for part in found.values():
        for size, at in part.get("sizes", {}).items():
            lines += evaluation(at) if "shape" in at else [f"{size}: {at.get('failed')}", ""]
    for part in found.values():
        if "accuracy" in part:
            errors = dict(part["accuracy"])
            height, width = errors.pop("shape")
            lines += [f"### Errors against float64 on the host, {width} x {height}", ""]
            rows = [
                [
                    name,
                    f"{row['loss']:.1e}",
                    f"{row['gradient']:.1e}",
                    f"{row['gradient_with_masks']:.1e}",
                    f"{row['other_masks']:.0f} of {row['units']:.0f}",
                ]
                for name, row in errors.items()
            ]
            header = ["route", "loss", "gradient", "with float64's masks", "units that differ"]
            lines += table(header, rows)
    return lines


def training(folder: Path) -> list[str]:
    """Return the figures of `tools/benchmark_gpu_training.py`, none if they are missing."""
    found = figures(folder / "training.json")
    if not found:
        return []
    rows = [
        [
            row["layer"],
            f"{row['npstyle_s'] * 1e3:.3f} ms",
            f"{row['operations'] / row['npstyle_s'] / 1e12:.1f}",
            f"{row['pytorch_s'] / row['npstyle_s']:.2f}",
            f"{row['error']:.1e}",
        ]
        for row in found["layers"]
    ]
    header = ["derivative with respect to the kernel", "time", "TFLOP/s", "PyTorch / npstyle"]
    times = ", ".join(f"{name} {t * 1e3:.2f} ms" for name, t in found["pass_s"].items())
    return [
        "## Training",
        "",
        *table([*header, "error"], rows),
        f"Forward and backward at {found['size']} x {found['size']}: {times}.",
        "",
    ]


def assemble(folder: Path) -> str:
    """Return the text of the report."""
    ended = steps(folder)
    lines = ["# npstyle on a GPU", "", "```", read(folder / "inputs.log").strip(), "```", ""]
    lines += table(["step", "outcome", "s"], [list(row) for row in ended])
    for name in [row[0] for row in ended if row[0].startswith(("tests-", "gradcheck"))]:
        last = read(folder / f"{name}.log").strip().splitlines()[-1:] or ["no output"]
        lines += [f"{name}: `{last[0]}`", ""]
    lines += ["## Evaluations", "", *benchmarks(folder), *training(folder)]
    jobs = [row for row in ended if row[0].startswith("job-")]
    lines += ["## 500 iterations at 512, from the start to the written file", ""]
    lines += table(["job", "outcome", "s"], [list(row) for row in jobs])
    for name, ending, _ in ended:
        if ending != "done" and (folder / f"{name}.log").is_file():
            tail = read(folder / f"{name}.log").strip().splitlines()[-LINES:]
            lines += [f"## {name}: {ending}", "", "```", *tail, "```", ""]
    return "\n".join(lines)


def main() -> None:
    """Write the report."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("folder", type=Path, metavar="FOLDER")
    parser.add_argument("report", type=Path, metavar="REPORT.md")
    arguments = parser.parse_args()
    arguments.report.write_text(assemble(arguments.folder), encoding="utf-8")


if __name__ == "__main__":
    main()
