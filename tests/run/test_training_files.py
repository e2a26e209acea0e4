import json
from dataclasses import replace

import numpy as np
import pytest

from npstyle.errors import InputError
from npstyle.images.formula import draw_painting, draw_photo
from npstyle.images.write import save_image
from npstyle.maths.layers import Conv
from npstyle.networks.johnson import transformer_layers
from npstyle.networks.style_network import StyleNetwork, load_style_network
from npstyle.networks.weights import find_weights
from npstyle.onepass.train import Training, new_training, weights_of
from npstyle.run.train_settings import TrainSettings
from npstyle.run.training_files import (
    Log,
    TrainingFiles,
    identity,
    load_training,
    save_log,
    save_style,
    save_training,
)

OWN = {"width": 2, "content_weight": 30.0, "painting": "p", "photos": "q", "network": "r"}


def network_of(width=2, seed=0):
    return StyleNetwork(
        name="small",
        transformer=transformer_layers(width, seed),
        predictor=(),
        code=0,
        channel_order="RGB",
        mean=(127.5,) * 3,
        scale=(1 / 127.5,) * 3,
        output_scale=255.0,
        source="a test",
        license="",
        source_sha256="",
    )


def changed(network, factor):
    """The network with the first kernel multiplied by a factor."""
    first = network.transformer[0]
    assert isinstance(first, Conv)
    return replace(
        network,
        transformer=(replace(first, kernel=first.kernel * factor), *network.transformer[1:]),
    )


def trees(training):
    weights = {layer.name: weights_of(layer) for layer in training.network.transformer}
    return {
        (kind, layer, name): array
        for kind, tree in (("w", weights), ("m", training.mean), ("v", training.square))
        for layer, arrays in tree.items()
        for name, array in arrays.items()
    }


@pytest.fixture
def training(rng):
    """A training after seven steps, with numbers of its own everywhere."""
    new = new_training(network_of(seed=3))

    def like(tree):
        return {
            layer: {n: rng.standard_normal(a.shape).astype(np.float32) for n, a in arrays.items()}
            for layer, arrays in tree.items()
        }

    return Training(new.network, like(new.mean), like(new.square), 7)


@pytest.fixture
def files(tmp_path):
    return TrainingFiles(tmp_path / "style.npz")


def test_a_checkpoint_gives_back_every_number(files, training):
    log = Log([{"step": 5.0, "style": 1 / 3}], {"style": 0.1 + 0.2}, 2)
    save_training(files, training, 11, log, OWN)
    found, steps, found_log = load_training(files, new_training(network_of()), OWN)
    assert (found.step, steps, found_log) == (7, 11, log)
    expected = trees(training)
    assert trees(found).keys() == expected.keys()
    for name, array in trees(found).items():
        assert array.dtype == np.float32
        assert np.array_equal(array, expected[name]), name


def test_the_length_may_be_unknown(files, training):
    save_training(files, training, None, Log(), OWN)
    assert load_training(files, training, OWN)[1:] == (None, Log())


def test_a_style_is_stored_in_short_numbers(files):
    network = network_of()
    save_style(files.output, network)
    found = load_style_network(files.output)
    for layer, right in zip(found.transformer, network.transformer, strict=True):
        for name, array in weights_of(layer).items():
            assert np.allclose(array, weights_of(right)[name], rtol=1e-3, atol=1e-7)
    assert (
        files.output.stat().st_size
        < 3
        * sum(array.size for layer in network.transformer for array in weights_of(layer).values())
        + 30_000
    )


def test_numbers_that_are_too_large_for_short_ones_stay_long(files):
    network = changed(network_of(), 1e6)
    save_style(files.output, network)
    found = load_style_network(files.output)
    assert np.array_equal(found.transformer[0].kernel, network.transformer[0].kernel)
    second = next(layer for layer in found.transformer if layer.name == "conv2")
    assert np.array_equal(second.kernel, second.kernel.astype(np.float16))


def test_a_style_that_is_not_finite_is_not_written(files):
    with pytest.raises(InputError, match="NaN or infinity"):
        save_style(files.output, changed(network_of(), np.inf))
    assert not list(files.output.parent.iterdir())


def test_a_failure_leaves_the_former_files(files, training, monkeypatch):
    save_training(files, training, 11, Log(), OWN)
    before = files.checkpoint.read_bytes()

    def full(*arguments, **keywords):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("npstyle.run.training_files.np.savez", full)
    with pytest.raises(InputError, match=r"style.checkpoint.npz: cannot be written \(No space"):
        save_training(files, replace(training, step=8), 11, Log(), OWN)
    assert files.checkpoint.read_bytes() == before
    assert {path.name for path in files.output.parent.iterdir()} == {
        "style.npz",
        "style.checkpoint.npz",
    }


def test_rows_of_the_log_are_means_and_an_interruption_ends_none(files):
    log = Log()
    assert log.with_last(0) == []
    for step, value in enumerate((1.0, 3.0, 10.0), start=1):
        log.add({"style": value})
        if step == 2:
            log.end_row(2)
    assert log.with_last(3) == [{"step": 2.0, "style": 2.0}, {"step": 3.0, "style": 10.0}]
    assert log.rows == [{"step": 2.0, "style": 2.0}]
    log.add({"style": 20.0})
    log.end_row(4)
    assert log.rows[1] == {"step": 4.0, "style": 15.0}
    assert log.with_last(4) == log.rows


@pytest.mark.parametrize("values", [(1.0, 0.0), (0.0, 0.0)])
def test_the_log_is_a_table_and_a_plot(files, values):
    pytest.importorskip("matplotlib")
    rows = [{"step": 2.0, "content": 1 / 3, "style": value} for value in values]
    save_log(files, rows)
    lines = files.log.read_text().splitlines()
    assert lines[:2] == ["step,content,style", f"2,0.333333,{values[0]:g}"]
    assert files.plot.read_bytes().startswith(b"\x89PNG")


@pytest.mark.parametrize(
    ("name", "value", "says"),
    [
        ("width", 4, "--width 4: .*style.checkpoint.npz was written with 2; give the former"),
        ("content_weight", 3.0, "--content-weight 3.0: .* was written with 30.0"),
        ("painting", "x", "--resume: .*style.checkpoint.npz is of a training with another paint"),
        ("photos", "x", "with other photos"),
        ("network", "x", "with another network"),
    ],
)
def test_a_training_that_began_otherwise_is_not_resumed(files, training, name, value, says):
    save_training(files, training, 11, Log(), OWN)
    # A wider network would not take the arrays either; the option is what helps.
    new = new_training(network_of(width=value if name == "width" else 2))
    with pytest.raises(InputError, match=says):
        load_training(files, new, OWN | {name: value})


def rewritten(path, **changes):
    """Write a checkpoint again with other entries of its text."""
    with np.load(path) as file:
        arrays = dict(file)
    meta = json.loads(str(arrays["meta"])) | changes
    np.savez(path, **(arrays | {"meta": np.array(json.dumps(meta))}))


def without_an_array(path):
    with np.load(path) as file:
        arrays = dict(file)
    del arrays["mean/conv1/kernel"]
    np.savez(path, **arrays)


def with_nan(path):
    with np.load(path) as file:
        arrays = dict(file)
    arrays["mean/conv1/kernel"][0] = np.nan
    np.savez(path, **arrays)


def flipped(path):
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 255
    path.write_bytes(data)


DAMAGE = {
    "empty": lambda path: path.write_bytes(b""),
    "text": lambda path: path.write_text("no checkpoint"),
    "cut": lambda path: path.write_bytes(path.read_bytes()[:-200]),
    "flipped": flipped,
    "another array file": lambda path: np.save(path.open("wb"), np.zeros(3)),
    "a network": lambda path: path.write_bytes(find_weights("builtin").read_bytes()),
    "missing": without_an_array,
    "nan": with_nan,
    "log of words": lambda path: rewritten(path, log="words"),
    "log of lists": lambda path: rewritten(path, log={"rows": [[1]], "sums": {}, "count": 0}),
    "step of words": lambda path: rewritten(path, step="three"),
    "training of numbers": lambda path: rewritten(path, training=3),
}


@pytest.mark.parametrize("kind", DAMAGE)
def test_a_damaged_checkpoint_is_refused(files, training, kind):
    save_training(files, training, 11, Log(), OWN)
    DAMAGE[kind](files.checkpoint)
    with pytest.raises(InputError, match=r"checkpoint.npz: (is not a checkpoint|has another)") as e:
        load_training(files, training, OWN)
    assert "remove it, and begin again without --resume" in str(e.value)


def test_a_checkpoint_of_another_version_is_refused(files, training):
    save_training(files, training, 11, Log(), OWN)
    rewritten(files.checkpoint, format=2)
    with pytest.raises(InputError, match="has another format"):
        load_training(files, training, OWN)


def test_a_training_is_known_by_what_it_depends_on(tmp_path):
    settings, painting = TrainSettings(), tmp_path / "painting.png"
    save_image(painting, draw_painting(8, 8))
    photos = [tmp_path / f"{k}.png" for k in range(2)]
    for photo in photos:
        save_image(photo, draw_photo(8, 8))
    own = identity(settings, painting, photos, "network")
    assert json.loads(json.dumps(own)) == own
    for free in ({"steps": 3}, {"threads": 1}, {"save_every": 2}, {"device": "cpu"}):
        assert identity(replace(settings, **free), painting, photos, "network") == own
    changed = [
        identity(replace(settings, seed=1), painting, photos, "network"),
        identity(settings, photos[0], photos, "network"),
        identity(settings, painting, photos[::-1], "network"),
        identity(settings, painting, photos, "another"),
    ]
    save_image(photos[1], draw_photo(8, 9))  # of the same name
    changed.append(identity(settings, painting, photos, "network"))
    assert own not in changed


def test_names_of_photos_may_be_any_bytes(tmp_path):
    painting = tmp_path / "painting.png"
    save_image(painting, draw_painting(8, 8))
    photo = tmp_path / b"\xff.png".decode("utf-8", "surrogateescape")
    try:
        photo.write_bytes(b"photo")
    except OSError:
        pytest.skip("this file system has no such names")
    assert identity(TrainSettings(), painting, [photo], "network")["photos"]


def test_the_files_lie_beside_the_style(tmp_path):
    files = TrainingFiles(tmp_path / "starry.night.npz")
    names = [p.name for p in (files.checkpoint, files.log, files.plot, files.preview)]
    assert names == [
        "starry.night.checkpoint.npz",
        "starry.night.log.csv",
        "starry.night.losses.png",
        "starry.night.preview.png",
    ]
    files.check(resume=False, named=True)
    with pytest.raises(InputError, match=r"--resume: there is no .*starry.night.checkpoint.npz"):
        files.check(resume=True, named=True)
    files.checkpoint.write_bytes(b"")
    files.check(resume=True, named=True)
    with pytest.raises(InputError, match="add --resume"):
        files.check(resume=False, named=True)
    with pytest.raises(InputError, match=r"cannot be written; use .npz"):
        TrainingFiles(tmp_path / "style.png").check(resume=False, named=True)
    with pytest.raises(InputError, match="does not exist"):
        TrainingFiles(tmp_path / "no" / "style.npz").check(resume=False, named=True)


def test_a_file_that_the_user_did_not_name_is_not_replaced(tmp_path):
    files = TrainingFiles(tmp_path / "style.npz")
    files.preview.write_bytes(b"mine")
    for named in (False, True):
        with pytest.raises(InputError, match=r"style\.preview\.png: is there already; name anoth"):
            files.check(resume=False, named=named)
    files.output.write_bytes(b"a style")
    files.check(resume=False, named=True)  # the files of an earlier training
    with pytest.raises(InputError, match=r"style\.npz: is there already"):
        files.check(resume=False, named=False)
    with pytest.raises(InputError, match="no file can have this name"):
        TrainingFiles(tmp_path / ("n" * 245 + ".npz")).check(resume=False, named=True)
