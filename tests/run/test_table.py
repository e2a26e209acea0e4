from dataclasses import dataclass
from pathlib import Path
from typing import Literal, get_args

import pytest

from npstyle.errors import InputError
from npstyle.run.machine import Machine
from npstyle.run.pictures import Pictures
from npstyle.run.recording import Outputs
from npstyle.run.settings import PRESETS, PresetName, Settings, with_preset
from npstyle.run.table import SEARCH, parse_numbers, read_given, setting, settings_of


@dataclass(frozen=True)
class Table:
    mode: Literal["fast", "slow"] = setting("fast", "How to work.", SEARCH)
    step_size: float = setting(0.5, "Length of a step.", SEARCH, shown="a half")
    count: int | None = setting(None, "Number of steps.", SEARCH)
    file: Path | None = setting(None, "File to write.", SEARCH, short="-f")
    loud: bool = setting(False, "Print more.", SEARCH)
    shares: tuple[float, ...] = setting((), "Shares.", SEARCH, parse=parse_numbers, many=True)
    weights: dict[str, float] = setting({"a": 1.0}, "Weights.", SEARCH, option="--w")
    internal: int = 0


def test_a_declaration_holds_everything_about_a_setting():
    settings = settings_of(Table)
    assert list(settings) == ["mode", "step_size", "count", "file", "loud", "shares", "weights"]
    assert settings["mode"].metavar == "fast|slow"
    assert (settings["step_size"].option, settings["step_size"].shown) == ("--step-size", "a half")
    assert (settings["file"].metavar, settings["file"].short) == ("FILE", "-f")
    assert settings["loud"].flag
    assert settings["shares"].many
    assert settings["weights"].option == "--w"
    assert Table().weights == {"a": 1.0}
    assert Table().weights is not Table().weights


@pytest.mark.parametrize(
    ("entries", "expected"),
    [
        ({"mode": "slow"}, {"mode": "slow"}),
        ({"step_size": "0.25"}, {"step_size": 0.25}),
        ({"step_size": 2}, {"step_size": 2.0}),
        ({"count": "3", "file": "a.txt"}, {"count": 3, "file": Path("a.txt")}),
        ({"count": 0}, {"count": 0}),
        ({"loud": "True"}, {"loud": True}),
        ({"loud": False}, {"loud": False}),
        ({"shares": "3;7"}, {"shares": (3.0, 7.0)}),
        ({"shares": [3, 7]}, {"shares": (3.0, 7.0)}),
        ({"shares": []}, {"shares": ()}),
        ({"mode": None, "shares": (), "internal": 5, "other": 1}, {}),
    ],
)
def test_values_are_read_from_text_and_from_toml(entries, expected):
    assert read_given(Table, entries) == expected


@pytest.mark.parametrize(
    ("entries", "says"),
    [
        ({"mode": "quick"}, "--mode quick: give one of fast, slow"),
        ({"step_size": "x"}, "--step-size x: give a number"),
        ({"count": "1.5"}, "--count 1.5: give a whole number"),
        ({"count": True}, "--count True: give a whole number"),
        ({"count": "inf"}, "--count inf: give a whole number"),
        ({"file": 3}, "--file 3: give text"),
        ({"loud": "perhaps"}, "--loud perhaps: give true or false"),
        ({"shares": ["3", "x"]}, "--shares 3 x: give numbers"),
    ],
)
def test_a_bad_value_is_refused_with_the_name_of_its_option(entries, says):
    with pytest.raises(InputError, match=says):
        read_given(Table, entries)


def test_the_names_of_presets_are_the_choices_of_the_setting():
    assert tuple(PRESETS) == get_args(PresetName)
    assert all(PRESETS[name].preset == name for name in PRESETS)


def test_no_name_is_in_two_tables():
    names = [
        name for table in (Settings, Machine, Outputs, Pictures) for name in settings_of(table)
    ]
    assert len(set(names)) == len(names)


def test_layers_without_a_weight_share_it_under_the_papers_sums():
    layers = read_given(Settings, {"style_layers": "conv1_1,conv2_1:3"})
    assert with_preset(layers).style_layers == {"conv1_1": 1.0, "conv2_1": 3.0}
    paper = with_preset(layers | {"preset": "paper"})
    assert paper.style_layers == {"conv1_1": 0.5, "conv2_1": 3.0}


def test_the_last_scale_is_the_size_of_the_result():
    assert with_preset({"scales": (24, 32)}).size == 32
    assert with_preset({"scales": (24, 32), "size": 32}).size == 32
    with pytest.raises(InputError, match="--scales 24,32: ends at 32 and --size is 48; leave out"):
        with_preset({"scales": (24, 32), "size": 48})
