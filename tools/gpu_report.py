"""Put together what the steps of `tools/gpu_report.sh` left in a folder.

    python tools/gpu_report.py FOLDER REPORT.md

Every file may be missing or cut off: what there is, is reported, and of a step that did not end
well, the last lines of its output.
"""

import json
import sys
from pathlib import Path
from typing import Any

LINES = 20
"""Of a failed step's output."""

SIZES = (256, 512, 1024, 2048)


def read(path: Path) -> str:
    """A file's text; nothing if it is missing."""
    return path.read_text(encoding="utf-8", errors="replace") if path.is_file() else ""


def figures(path: Path) -> dict[str, Any]:
    """A file's JSON; nothing if it is missing or cut off."""
    try:
        found: dict[str, Any] = json.loads(read(path))
    except ValueError:
        return {}
    return found


def steps(folder: Path) -> list[tuple[str, str, str]]:
    """Name, ending and seconds of every step."""
    rows = [line.split("\t") for line in read(folder / "steps.tsv").splitlines()]
    return [(row[0], row[1], row[2]) for row in rows if len(row) == 3]


def table(header: list[str], rows: list[list[str]]) -> list[str]:
    """Lines of a table in Markdown."""
    lines = [header, ["---"] * len(header), *rows]
    return [f"| {' | '.join(cells)} |" for cells in lines] + [""]


def evaluation(found: dict[str, Any]) -> list[str]:
    """One size's times, rates and ratios."""
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
    """Everything that the benchmark measured."""
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
                    f"{row['gradient_with_gates']:.1e}",
                    f"{row['other_gates']:.0f} of {row['units']:.0f}",
                ]
                for name, row in errors.items()
            ]
            header = ["route", "loss", "gradient", "with float64's gates", "gates turned"]
            lines += table(header, rows)
    return lines


def assemble(folder: Path) -> str:
    """The report as text."""
    ended = steps(folder)
    lines = ["# npstyle on a GPU", "", "```", read(folder / "inputs.log").strip(), "```", ""]
    lines += table(["step", "ending", "s"], [list(row) for row in ended])
    for name in ("tests", "gradcheck"):
        last = read(folder / f"{name}.log").strip().splitlines()[-1:] or ["nothing"]
        lines += [f"{name}: `{last[0]}`", ""]
    lines += ["## Evaluations", "", *benchmarks(folder)]
    jobs = [row for row in ended if row[0].startswith("job-")]
    lines += ["## 500 iterations at 512, from start to written file", ""]
    lines += table(["job", "ending", "s"], [list(row) for row in jobs])
    for name, ending, _ in ended:
        if ending != "done" and (folder / f"{name}.log").is_file():
            tail = read(folder / f"{name}.log").strip().splitlines()[-LINES:]
            lines += [f"## {name}: {ending}", "", "```", *tail, "```", ""]
    return "\n".join(lines)


def main() -> None:
    """Write the report."""
    folder, report = map(Path, sys.argv[1:])
    report.write_text(assemble(folder), encoding="utf-8")


if __name__ == "__main__":
    main()
