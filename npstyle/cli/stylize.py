"""Painting in one pass: `npstyle stylize`."""

import json
import sys
import tempfile
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from re import fullmatch
from typing import TYPE_CHECKING, Any

import rich_click as click
from click.exceptions import Exit

from npstyle.cli.options import FILE, Command, argument, option, options
from npstyle.errors import InputError

if TYPE_CHECKING:
    from npstyle.run.stylize import StyleSettings, Stylized, Stylizer

STREAM = Path("-")
"""Standard input or output, in the place of a file."""

SHEET_SIDE = 256
"""Longest side of a picture on the sheet of styles, in pixels, where --size is not given."""

SHEET_COLUMNS = 6


def _parameters() -> list[click.Parameter]:
    from npstyle.run.stylize import StyleSettings
    from npstyle.run.table import PAINTINGS, PICTURE, RECORDS

    return [
        argument(
            "photos",
            "One or more photos, or a folder of them. -: standard input.",
            nargs=-1,
            required=True,
        ),
        option(
            "--painting",
            "One or more paintings, which give the style.",
            panel=PAINTINGS,
            metavar="PICTURE...",
            multiple=True,
            type=FILE,
        ),
        option(
            "--output -o",
            "File to write: .png, .jpg, .webp or .tif (16 bit). For several photos, a folder. "
            "-: standard output, as PNG.",
            panel=PICTURE,
            shown="a .png in this folder, named after photo and style, with a number if it exists",
            type=FILE,
        ),
        *options(StyleSettings),
        option(
            "--sheet",
            "Show one photo in all learned styles, numbered, on one sheet.",
            panel=PICTURE,
            is_flag=True,
        ),
        option("--json", "Print one line of JSON for each picture.", panel=RECORDS, is_flag=True),
        option("--quiet -q", "Print errors only.", panel=RECORDS, is_flag=True),
    ]


@click.command(cls=Command, parameters=_parameters)
def stylize(
    photos: tuple[Path, ...],
    painting: tuple[Path, ...],
    output: Path | None,
    sheet: bool,
    json: bool,
    quiet: bool,
    **entries: Any,
) -> None:
    """Paint photos in one pass, in the style of any painting or in a learned style.

    A network that was trained for it paints the whole picture at once. This takes a second where
    the search of `npstyle transfer` takes minutes, but does not come as close to the painting.

    [bold]npstyle stylize town.jpg --painting starry_night.jpg -o out.png[/bold]

    [bold]npstyle stylize town.jpg --style starry_night[/bold], [bold]--style 7[/bold] or
    [bold]--style 3:0.5,12:0.5[/bold]

    All learned styles: [bold]npstyle stylize town.jpg --sheet[/bold]

    [bold]npstyle train[/bold] learns another style.

    Closer to the painting, in 20 steps: [bold]npstyle stylize town.jpg --painting starry_night.jpg
    --refine 20[/bold]

    A folder: [bold]npstyle stylize photos/ --painting starry_night.jpg -o painted/[/bold]
    """
    from npstyle.run.stylize import StyleSettings, Stylizer
    from npstyle.run.table import read_given

    settings = StyleSettings(**read_given(StyleSettings, entries))
    quiet = quiet or json or output == STREAM
    with _named(photos) as found:
        if sheet:
            if json:
                raise InputError("--json: --sheet has one picture of many; leave one of them out")
            _sheet(found, painting, settings, output, quiet)
            return
        targets = _targets(found, painting, settings, output)
        jobs = list(zip(found, targets, strict=True))
        if not settings.refine:
            _paint_all(Stylizer(painting, settings), jobs, json, quiet)
            return
        _refine_all(painting, settings, jobs, json, quiet)


def _paint_all(
    stylizer: "Stylizer", jobs: list[tuple[Path, Path]], as_json: bool, quiet: bool
) -> None:
    """Paint photo after photo. One that fails does not stop the others, but Ctrl-C does."""
    from npstyle.cli.style_console import refinement_texts

    if len(jobs) == 1:
        (photo, target), start = jobs[0], time.monotonic()
        _check_size(stylizer, photo, target)
        _report(_paint_one(stylizer, photo, quiet), target, start, as_json, quiet)
        return
    failed = 0
    for done, (photo, target) in enumerate(_with_bar(jobs, quiet), start=1):
        start = time.monotonic()
        try:
            _check_size(stylizer, photo, target)
            painted = stylizer(photo)
            _report(painted, target, start, as_json, True)
        except InputError as error:
            failed += 1
            click.echo(f"{done}/{len(jobs)}  FAILED  {error}", err=True)
            continue
        if not quiet and not sys.stdout.isatty():
            seconds = time.monotonic() - start
            parts = [f"{done}/{len(jobs)}", str(target), f"{seconds:.1f} s"]
            print("  ".join(parts + refinement_texts(painted.record)), flush=True)
    if failed:
        click.echo(f"npstyle: {failed} of {len(jobs)} photos failed", err=True)
        raise Exit(1)
    if not quiet:
        print(f"wrote {len(jobs)} pictures to {jobs[0][1].parent}")


def _check_size(stylizer: "Stylizer", photo: Path, target: Path) -> None:
    """Raise InputError, before the photo is painted, if the file's format is too small for it."""
    from npstyle.images.write import check_output

    size = stylizer.check(photo)
    if target != STREAM:
        check_output(target, size)


def _paint_one(stylizer: "Stylizer", photo: Path, quiet: bool) -> "Stylized":
    """Paint the only photo, and say how; show the progress of a refinement."""
    from npstyle.cli.style_console import print_plan

    if not quiet:
        print_plan(stylizer, photo)
    if not stylizer.settings.refine:
        return stylizer(photo)
    from npstyle.run.progress import ProgressDisplay

    with ProgressDisplay(stylizer.settings.refine, quiet) as display:
        display.start()
        return stylizer(photo, display.update)


def _refine_all(
    paintings: tuple[Path, ...],
    settings: "StyleSettings",
    jobs: list[tuple[Path, Path]],
    as_json: bool,
    quiet: bool,
) -> None:
    """Paint and refine photo after photo; Ctrl-C and SIGTERM keep the best picture so far."""
    from npstyle.cli.loops import load_loops
    from npstyle.engine.device import CPU
    from npstyle.engine.interrupts import ending_signals
    from npstyle.run.stylize import Stylizer

    with ending_signals() as received:
        load_loops(CPU, quiet)
        try:
            _paint_all(Stylizer(paintings, settings), jobs, as_json, quiet)
        except KeyboardInterrupt as error:
            click.echo("npstyle: interrupted", err=True)
            raise Exit(128 + received[-1]) from error


def _report(done: "Stylized", target: Path, start: float, as_json: bool, quiet: bool) -> None:
    """Write a picture, and say so; raise KeyboardInterrupt if Ctrl-C ended its refinement."""
    from npstyle.cli.style_console import refinement_texts
    from npstyle.engine.interrupts import noted_interrupts

    with noted_interrupts():
        _write(target, done.image, done.record)
    if as_json:
        seconds = round(time.monotonic() - start, 3)
        line = json.dumps({"output": str(target), "seconds": seconds, **done.record})
        print(line, file=sys.stderr if target == STREAM else sys.stdout, flush=True)
    elif not quiet:
        for text in refinement_texts(done.record):
            print(text)
        print(f"wrote {target} in {time.monotonic() - start:.1f} s", flush=True)
    if done.record.get("stopped") == "interrupted":
        raise KeyboardInterrupt


def _sheet(
    photos: list[Path],
    paintings: tuple[Path, ...],
    settings: "StyleSettings",
    output: Path | None,
    quiet: bool,
) -> None:
    """Write the sheet of all learned styles."""
    from npstyle.files import check_apart, free_name
    from npstyle.images.sheet import labelled_sheet, sheet_size
    from npstyle.images.write import check_output
    from npstyle.onepass.styles import MANY_STYLES, MIXTURE, TRAINED_STYLES, load_named
    from npstyle.run.pictures import pictures_record
    from npstyle.run.stylize import Stylizer

    if len(photos) != 1 or paintings or settings.refine:
        raise InputError("--sheet: shows one photo in the learned styles; give one photo alone")
    target = output or free_name(Path(f"{photos[0].stem}-styles.png"))
    if target != STREAM:
        check_output(target)
        check_apart({"--output": target}, photos)
    file = settings.style or MANY_STYLES
    if fullmatch(MIXTURE, file):
        raise InputError(f"--style {file}: --sheet shows all styles; leave one of them out")
    network = load_named(file)
    if network.predictor:
        raise InputError(f"--style {file}: this network has no styles of its own to show")
    small = replace(settings, size=settings.size or SHEET_SIDE)
    prefix = "" if settings.style is None else f"{file}:"
    styles = {str(k): f"{prefix}{k}" for k in range(network.styles)}
    if settings.style is None:
        styles |= {name: name for name in TRAINED_STYLES}
    labels, pictures = list(styles), []
    if target != STREAM:
        first = Stylizer((), replace(small, style=styles[labels[0]]))
        size = first.check(photos[0])
        check_output(target, sheet_size(size, len(labels), SHEET_COLUMNS))
    for style in _with_bar(styles.values(), quiet):
        pictures.append(Stylizer((), replace(small, style=style))(photos[0]).image)
    sheet = labelled_sheet(pictures, labels, SHEET_COLUMNS)
    _write(target, sheet, {**pictures_record("photo", photos), "network": network.name})
    if not quiet:
        print(f"wrote {target}")


def _with_bar(items: Iterable[Any], quiet: bool) -> Iterable[Any]:
    """The same items, with a bar on a terminal."""
    from rich.progress import track

    if quiet or not sys.stdout.isatty():
        return items
    return track(list(items), description="")


@contextmanager
def _named(photos: tuple[Path, ...]) -> Iterator[list[Path]]:
    """Yield the photos as files: those of a folder, and standard input as a temporary file."""
    found: list[Path] = []
    with tempfile.TemporaryDirectory(prefix="npstyle-") as folder:
        stream = Path(folder) / "stdin"
        for photo in photos:
            if photo == STREAM:
                stream.write_bytes(_piped())
                found.append(stream)
            elif photo.is_dir():
                from npstyle.images.formats import SUFFIXES

                inside = sorted(p for p in photo.iterdir() if p.suffix.lower() in SUFFIXES)
                if not inside:
                    raise InputError(f"{photo}: contains no photo; give a folder with some")
                found += inside
            else:
                found.append(photo)
        try:
            yield found
        except InputError as error:
            raise InputError(str(error).replace(str(stream), "standard input")) from error


def _piped() -> bytes:
    """Return what comes by standard input; raises InputError if nothing does."""
    data = b"" if sys.stdin is None else sys.stdin.buffer.read()
    if not data:
        raise InputError("-: nothing comes by standard input; give the name of a photo")
    return data


def _targets(
    photos: list[Path], paintings: tuple[Path, ...], settings: "StyleSettings", output: Path | None
) -> list[Path]:
    """The file to write for each photo; raises InputError if one cannot be written."""
    from npstyle.files import check_apart, check_name, free_name, make_folder
    from npstyle.images.write import check_output

    if len(photos) == 1 and output is not None and not output.is_dir():
        if output != STREAM:
            check_output(output)
            check_apart({"--output": output}, [*photos, *paintings])
        return [output]
    if output == STREAM:
        raise InputError("--output -: standard output takes one picture; give a folder")
    folder = output or Path()
    if output is not None and output.suffix:
        raise InputError(f"--output {output}: {len(photos)} photos need a folder; give one")
    check_name(folder)
    style = "-".join(p.stem for p in paintings) or _file_name(settings.style or "")
    targets = [folder / f"{photo.stem}-{style}.png" for photo in photos]
    for target in targets:
        if targets.count(target) > 1:
            raise InputError(f"{target}: two photos would have this name; paint them apart")
    make_folder(folder)
    for target in targets:
        check_output(target)
    return list(map(free_name, targets))


def _file_name(style: str) -> str:
    """What the file of a painted photo is called after a style: a network's name, or style7."""
    file, colon, numbers = Path(style).name.partition(":")
    name = file.removesuffix(".npz") + colon + numbers
    if file.isdigit():
        name = f"style{name}"
    return "".join(c if c.isalnum() or c in "-._" else "_" for c in name)


def _write(target: Path, image: Any, record: dict[str, Any]) -> None:
    """Write a picture to a file or to standard output."""
    from npstyle.images.write import save_image

    if target != STREAM:
        save_image(target, image, record)
        return
    if sys.__stdout__ is None:
        raise InputError("--output -: standard output is closed; give a file")
    with tempfile.TemporaryDirectory(prefix="npstyle-") as folder:
        file = Path(folder) / "out.png"
        save_image(file, image, record)
        data = file.read_bytes()
    try:
        with open(sys.stdout.fileno(), "wb", closefd=False) as out:
            out.write(data)
    except OSError as error:
        raise InputError(
            f"--output -: standard output does not take the picture ({error.strerror}); give a file"
        ) from error
