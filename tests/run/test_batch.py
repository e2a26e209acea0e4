from pathlib import Path

import pytest

from npstyle.errors import InputError
from npstyle.images.formula import draw_painting, draw_photo
from npstyle.images.read import read_settings
from npstyle.images.write import save_image
from npstyle.run import batch
from npstyle.run.batch import parse_job, read_jobs, run_job
from npstyle.run.machine import Machine

TOML = """
network = "builtin"
size = 32
iterations = 2

[[job]]
photo = "photo.png"
painting = ["painting.png", "photo.png"]
blend = [3, 7]
output = "first.png"
style-weight = 500
style-layers = { conv1_1 = 1, conv2_1 = 0.5 }

[[job]]
photo = "photo.png"
painting = "painting.png"
output = "second.png"
scales = [24, 32]
padding = "replicate"
"""

CSV = """photo,painting,output,size,iterations,blend,style-layers,exact,network
photo.png,painting.png;photo.png,first.png,32,2,3;7,conv1_1;conv2_1:0.5,true,builtin
photo.png,painting.png,second.png,32,2,,,,builtin
"""


@pytest.fixture
def folder(tmp_path):
    save_image(tmp_path / "photo.png", draw_photo(24, 32))
    save_image(tmp_path / "painting.png", draw_painting(24, 32))
    (tmp_path / "jobs.toml").write_text(TOML)
    (tmp_path / "jobs.csv").write_text(CSV)
    return tmp_path


def test_a_toml_list_has_values_for_all_jobs_and_for_single_ones(folder):
    first, second = (parse_job(job, folder) for job in read_jobs(folder / "jobs.toml"))
    assert first.settings.size == second.settings.size == 32
    assert first.settings.style_weight == 500.0
    assert first.settings.style_layers == {"conv1_1": 1.0, "conv2_1": 0.5}
    assert first.settings.blend == (3.0, 7.0)
    assert first.pictures.paintings == (folder / "painting.png", folder / "photo.png")
    assert second.settings.scales == (24, 32)
    assert second.settings.padding == "replicate"
    assert second.settings.style_weight == 1000.0
    assert second.output == folder / "second.png"


def test_a_csv_list_has_one_job_per_line(folder):
    first, second = (parse_job(job, folder) for job in read_jobs(folder / "jobs.csv"))
    assert first.settings.blend == (3.0, 7.0)
    assert first.settings.style_layers == {"conv1_1": 1.0, "conv2_1": 0.5}
    assert first.settings.exact is True
    assert (second.settings.exact, second.settings.iterations) == (False, 2)


@pytest.mark.parametrize("mark", ["", "\ufeff"])
@pytest.mark.parametrize("end", ["\n", "\r\n"])
def test_lists_are_read_as_editors_and_spreadsheets_write_them(folder, mark, end):
    semicolons = (
        "photo;painting;output;size;blend;exact\n"
        '"a;b.png";"painting.png;photo.png";first.png;32;"3;7";\n'
        "photo.png;painting.png;second.png;32;;true\n"
    )
    for name, text in (("jobs.toml", TOML), ("jobs.csv", CSV), ("semicolons.csv", semicolons)):
        (folder / name).write_bytes((mark + text).replace("\n", end).encode())
        first, second = (parse_job(job, folder) for job in read_jobs(folder / name))
        assert first.pictures.paintings == (folder / "painting.png", folder / "photo.png")
        assert first.settings.blend == (3.0, 7.0)
        assert second.output == folder / "second.png"
    assert first.pictures.photo == folder / "a;b.png"
    assert second.settings.exact


@pytest.mark.parametrize(
    ("own", "sizes"),
    [({"scales": [24, 48]}, (24, 48)), ({"scales": "auto"}, (32,)), ({"size": 40}, (40,))],
)
def test_the_scales_of_a_job_override_the_size_of_the_list(folder, own, sizes):
    job = {"size": 32, "photo": "photo.png", "painting": "painting.png", "output": "o.png"}
    assert parse_job(job | own, folder).settings.scale_sizes() == sizes


def test_a_job_may_leave_out_the_content(folder):
    job = {"photo": "photo.png", "painting": "painting.png", "output": "o.png"}
    assert parse_job(job | {"content-layers": []}, folder).settings.content_layers == {}


def test_consecutive_jobs_load_their_network_once(folder, monkeypatch):
    loads = []
    load = batch.load_network
    monkeypatch.setattr(batch, "load_network", lambda name: loads.append(name) or load(name))
    batch._load.cache_clear()
    for job in read_jobs(folder / "jobs.toml"):
        outcome = run_job(job, folder, Machine(threads=1))
        assert outcome.succeeded, outcome.summary
        assert job["output"] in outcome.summary
    assert loads == ["builtin"]
    assert read_settings(folder / "first.png")["blend"] == [3.0, 7.0]


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"photo": "none.png"}, "none.png"),
        ({"photo": "a\0.png"}, "no file can have this name (embedded null byte)"),
        ({"output": "n" * 300 + ".png"}, "no file can have this name (File name too long)"),
        ({"output": "photo.png"}, "this file is to be read, and would be lost"),
        ({"output": None}, "a photo and an output"),
        ({"output": "out.xyz"}, ".xyz"),
        ({"colour": "luminance"}, "colour: there is no such setting"),
        ({"color": "red"}, "--color red: give one of painting, luminance, histogram"),
        ({"size": "big"}, "--size big"),
        ({"size": 0, "scales": None}, "--size 0"),
        ({"exact": "perhaps"}, "--exact perhaps"),
        ({"blend": ["a"]}, "--blend"),
        ({"style_layers": {"conv1_1": "x"}}, "--style-layers"),
        ({"preset": "dali"}, "--preset dali"),
        ({"network": "nowhere"}, "nowhere"),
        ({"painting": None}, "no painting"),
    ],
)
def test_the_summary_of_a_bad_job_says_what_is_wrong(folder, change, says):
    job = read_jobs(folder / "jobs.toml")[1] | change
    outcome = run_job(job, folder, Machine(threads=1))
    assert not outcome.succeeded
    assert says in outcome.summary
    assert not (folder / "second.png").exists()


@pytest.mark.parametrize(
    ("name", "text", "says"),
    [
        ("jobs.toml", "size = ", "has a mistake"),
        ("jobs.toml", "size = 3", "contains no job"),
        ("jobs.toml", "job = 3", r"\[\[job\]\]"),
        ("jobs.csv", "photo,painting\n", "contains no job; write a line"),
        ("jobs.csv", "photo,blend\na.png,3,7\n", "line 2 has more fields than the first line"),
        ("jobs.csv", "photo,output\na,x.png\nb,./x.png\n", "two jobs write x.png"),
        ("jobs.toml", "output = 'x.png'\n[[job]]\n[[job]]\n", "two jobs write x.png"),
        ("jobs.csv", b"\xff\xfe\x00", "has a mistake"),
        ("jobs.txt", "", "neither .toml nor .csv"),
    ],
)
def test_a_bad_list_is_refused(tmp_path, name, text, says):
    path = tmp_path / name
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    with pytest.raises(InputError, match=says):
        read_jobs(path)
    with pytest.raises(InputError, match="cannot be read"):
        read_jobs(Path(tmp_path / "none.toml"))
