"""Tables of settings: dataclasses in which every field carries its own documentation.

A field that is declared with `setting` carries its option, its help text, its choices and the
function that reads its value. The command line and batch files are made from these tables, so a
setting is declared once:

    @dataclass(frozen=True)
    class Machine:
        threads: int | None = setting(None, "Worker threads.", MACHINE)

`settings_of(Machine)` lists the settings, and `read_given(Machine, {"threads": "2"})` reads values
from text or from TOML.
"""

import re
import types
from collections.abc import Callable, Iterable, Mapping
from dataclasses import MISSING, dataclass, field, fields
from pathlib import Path
from typing import Any, Literal, Union, get_args, get_origin, get_type_hints

from npstyle.errors import InputError

PICTURE, PAINTINGS, LOSSES = "The picture", "Several paintings and colours", "The losses"
SEARCH, TRAINING = "The search", "The training"
RECORDS, MACHINE = "Records of the run", "The machine"
PANELS = (PICTURE, PAINTINGS, LOSSES, SEARCH, TRAINING, RECORDS, MACHINE)
"""Panels of the help text, in their order."""

Parse = Callable[[str, Any], Any]
"""From an option's name (for messages) and a value, text or TOML: the setting's value."""


@dataclass(frozen=True)
class Setting:
    """One setting of a table.

    Attributes
    ----------
    name : str
        The dataclass's field.
    option : str
        The option on the command line, such as "--style-weight"; without the dashes it is the name
        in a batch file.
    default : object
    help : str
        What the setting does, as plain text.
    panel : str
        The panel of the help text that lists the option.
    metavar : str
        The form of the value, such as "SIZE".
    parse : callable
        Reads the value; raises InputError.
    short : str
        The option's short form, such as "-o".
    many : bool
        Whether the option takes all values up to the next option.
    flag : bool
        Whether the option takes no value.
    shown : str
        The default as the help text shows it; empty if there is nothing to show.
    """

    name: str
    option: str
    default: Any
    help: str
    panel: str
    metavar: str
    parse: Parse
    short: str
    many: bool
    flag: bool
    shown: str

    def read(self, value: Any) -> Any:
        """Read a value; raises InputError, naming the option, if it cannot be used."""
        return self.parse(self.option, value)


def setting(
    default: Any,
    help: str,
    panel: str,
    *,
    metavar: str = "",
    parse: Parse | None = None,
    option: str = "",
    short: str = "",
    many: bool = False,
    shown: str | None = None,
) -> Any:
    """Declare a setting: a dataclass field with its documentation.

    Parameters
    ----------
    default : object
        A dictionary is copied for each instance.
    help, panel, short, many
        See `Setting`.
    metavar : str
        Derived from the annotation if empty: the choices of a Literal, or the type.
    parse : callable, optional
        Derived from the annotation if not given.
    option : str
        Derived from the field's name if empty.
    shown : str, optional
        The default as the help text shows it, where its value alone would not say enough.
    """
    metadata = {
        "help": help,
        "panel": panel,
        "metavar": metavar,
        "parse": parse,
        "option": option,
        "short": short,
        "many": many,
        "shown": shown,
    }
    if isinstance(default, dict):
        return field(default_factory=default.copy, metadata=metadata)
    return field(default=default, metadata=metadata)


def blend_setting() -> Any:
    """Declare `blend`, for the search and for painting in one pass alike."""
    return setting(
        (),
        "Relative weight of each of several paintings, such as --blend 3 7.",
        PAINTINGS,
        metavar="NUMBER...",
        parse=parse_numbers,
        many=True,
        shown="equal weights",
    )


def check_blend(blend: tuple[float, ...]) -> None:
    """Raise InputError if no mean can be weighted by these numbers; an empty tuple is allowed."""
    if blend and not (min(blend) >= 0 and 0 < sum(blend) < float("inf")):
        listed = " ".join(f"{share:g}" for share in blend)
        raise InputError(f"--blend {listed}: give numbers of 0 or more, at least one above 0")


def check_count(option: str, number: int, most: int) -> None:
    """Raise InputError unless a number is 1 or more, and not more than `most`."""
    if number < 1:
        raise InputError(f"{option} {number}: give a number of 1 or more")
    if number > most:
        raise InputError(f"{option} {number}: give a number of {most} or less")


def threads_setting() -> Any:
    """Declare `threads`, for the search and for painting in one pass alike."""
    return setting(
        None, "Number of worker threads.", MACHINE, metavar="N", shown="one per physical core"
    )


def settings_of(table: type) -> dict[str, Setting]:
    """Return the settings of a table by field name, in the order of their declaration."""
    hints = get_type_hints(table)
    found: dict[str, Setting] = {}
    for entry in fields(table):
        if "help" not in entry.metadata:
            continue
        own = dict(entry.metadata)
        kind = _without_none(hints[entry.name])
        default = entry.default if entry.default is not MISSING else None
        found[entry.name] = Setting(
            name=entry.name,
            option=own["option"] or "--" + entry.name.replace("_", "-"),
            default=default,
            help=own["help"],
            panel=own["panel"],
            metavar=own["metavar"] or _metavar(kind),
            parse=own["parse"] or _parser(kind),
            short=own["short"],
            many=own["many"],
            flag=kind is bool,
            shown=_shown(default) if own["shown"] is None else own["shown"],
        )
    return found


def read_given(table: type, entries: Mapping[str, Any]) -> dict[str, Any]:
    """Read the settings of a table that are among `entries`.

    Parameters
    ----------
    table : dataclass
    entries : mapping from field name to value
        Text from the command line or a CSV file, or values from TOML. None and () stand for options
        that are not given. Names that are not in the table are ignored.

    Returns
    -------
    dict
        Values by field name, of the fields' types.

    Raises
    ------
    InputError
        If a value cannot be used; names the option.
    """
    given: dict[str, Any] = {}
    for name, entry in settings_of(table).items():
        value = entries.get(name)
        if not (value is None or value == ()):
            given[name] = entry.read(value)
    return given


def read_own(table: Any) -> None:
    """Read the numbers, words and flags of a table that was made in Python, as `read_given` does.

    For `__post_init__`; raises InputError, naming the option, if a value cannot be used.
    """
    hints = get_type_hints(type(table))
    for name, entry in settings_of(type(table)).items():
        kind, value = _without_none(hints[name]), getattr(table, name)
        may_be_none = kind is not hints[name]
        if get_origin(kind) is not Literal and kind not in (int, float, bool):
            continue
        if value is not None or not may_be_none:
            object.__setattr__(table, name, _parser(kind)(entry.option, value))


def parse_numbers(option: str, value: Any) -> tuple[float, ...]:
    """Read numbers, such as "3,7", ["3", "7"] or [3, 7]; raises InputError."""
    entries = _entries(value)
    try:
        return tuple(float(entry) for entry in entries)
    except ValueError as error:
        raise InputError(
            f"{option} {' '.join(entries)}: give numbers, such as {option} 3 7"
        ) from error


def parse_layers(option: str, value: Any) -> dict[str, float | None]:
    """Read layers with optional weights w_l; see `weighted` for those without.

    Parameters
    ----------
    option : str
    value : str, list of str, or mapping
        Such as "conv1_1,conv2_1:0.5", ["conv1_1", "conv2_1:0.5"] or {"conv2_1": 0.5}.

    Raises
    ------
    InputError
        If a weight is not a number, or a layer is named twice.
    """
    if isinstance(value, Mapping):
        value = [f"{name}:{weight}" for name, weight in value.items()]
    layers: dict[str, float | None] = {}
    for entry in _entries(value):
        name, colon, weight = entry.partition(":")
        if name in layers:
            raise InputError(f"{option} {entry}: layer {name} is named twice; name it once")
        try:
            layers[name] = float(weight) if colon else None
        except ValueError as error:
            raise InputError(
                f"{option} {entry}: {weight!r} is not a number; write it like conv4_2:0.5"
            ) from error
    return layers


def weighted(layers: Mapping[str, float | None], share: bool) -> dict[str, float]:
    """Give a weight to the layers without one: 1 / number of layers if `share`, else 1."""
    own = 1 / len(layers) if share and layers else 1.0
    return {name: own if weight is None else weight for name, weight in layers.items()}


def parse_scales(option: str, value: Any) -> tuple[int, ...] | Literal["auto"]:
    """Read "auto" or sizes, such as "256,512" or [256, 512]; raises InputError."""
    entries = _entries(value)
    if entries == ["auto"]:
        return "auto"
    try:
        return tuple(int(entry) for entry in entries)
    except ValueError as error:
        raise InputError(
            f"{option} {','.join(entries)}: give auto, or sizes such as 256,512,1024"
        ) from error


def parse_paths(option: str, value: Any) -> tuple[Path, ...]:
    """Read files: a list, or text with semicolons between them; raises InputError."""
    values = value.split(";") if isinstance(value, str) else value
    if not isinstance(values, list | tuple) or not all(isinstance(v, str | Path) for v in values):
        raise InputError(f"{option} {value}: give the names of files")
    return tuple(Path(str(entry).strip()) for entry in values if str(entry).strip())


def _entries(value: Any) -> list[str]:
    """Return the entries of a list, of one value, or of text with commas or semicolons."""
    values: Iterable[Any] = value if isinstance(value, list | tuple) else [value]
    parts = (part.strip() for entry in values for part in re.split("[,;]", str(entry)))
    return [part for part in parts if part]


def _without_none(hint: Any) -> Any:
    """Return T for T | None."""
    if get_origin(hint) in (Union, types.UnionType):
        kinds = [kind for kind in get_args(hint) if kind is not types.NoneType]
        return kinds[0] if len(kinds) == 1 else hint
    return hint


def _metavar(kind: Any) -> str:
    if get_origin(kind) is Literal:
        return "|".join(get_args(kind))
    names = {int: "N", float: "NUMBER", Path: "FILE", bool: ""}
    return names.get(kind, "TEXT")


def _shown(default: Any) -> str:
    if default is None or default == () or isinstance(default, bool):
        return ""
    return f"{default:g}" if isinstance(default, float) else str(default)


def _parser(kind: Any) -> Parse:
    """Return the function that reads a value of an annotated type."""
    if get_origin(kind) is Literal:
        return _parse_choice(get_args(kind))
    parsers: dict[Any, Parse] = {int: _parse_int, float: _parse_float, bool: _parse_bool}
    return parsers.get(kind) or _parse_text(kind)


def _parse_choice(choices: tuple[str, ...]) -> Parse:
    def parse(option: str, value: Any) -> str:
        if value not in choices:
            raise InputError(f"{option} {value}: give one of {', '.join(choices)}")
        return str(value)

    return parse


def _parse_text(kind: Any) -> Parse:
    def parse(option: str, value: Any) -> Any:
        if not isinstance(value, str):
            raise InputError(f"{option} {value}: give text")
        return kind(value)

    return parse


def _parse_int(option: str, value: Any) -> int:
    try:
        number = float(value)
        if number == int(number) and not isinstance(value, bool):
            return int(value)
    except (ValueError, TypeError, OverflowError):
        pass
    raise InputError(f"{option} {value}: give a whole number")


def _parse_float(option: str, value: Any) -> float:
    try:
        return float(value)
    except (ValueError, TypeError) as error:
        raise InputError(f"{option} {value}: give a number") from error


def _parse_bool(option: str, value: Any) -> bool:
    words = {"true": True, "false": False}
    if str(value).lower() not in words:
        raise InputError(f"{option} {value}: give true or false")
    return words[str(value).lower()]
