import hashlib
import json

import numpy as np
import pytest

from npstyle.errors import InputError
from npstyle.images.color import luminance
from npstyle.images.formula import draw_painting, draw_photo
from npstyle.images.write import save_image
from npstyle.run.stylize import StyleSettings, Stylizer, photo_bytes, stylize

PHOTO, PAINTING = draw_photo(48, 64), draw_painting(40, 60)


def test_paths_and_arrays_give_the_same_picture(tmp_path):
    photo, painting = tmp_path / "photo.png", tmp_path / "painting.png"
    save_image(photo, PHOTO)
    save_image(painting, PAINTING)
    arrays = np.round(PHOTO), np.round(PAINTING)
    found = stylize(photo, painting)
    assert np.array_equal(found.image, stylize(*arrays).image)
    assert str(tmp_path) not in json.dumps(found.record)
    for name, path in (("photo", photo), ("painting", painting)):
        assert found.record[name] == path.name
        assert found.record[f"{name}_sha256"] == hashlib.sha256(path.read_bytes()).hexdigest()
    assert found.record["network"] == "any_style"
    assert len(found.record["network_sha256"]) == 64


def test_the_size_is_the_photos_or_the_one_asked_for():
    assert stylize(PHOTO, PAINTING).image.shape == (48, 64, 3)
    assert stylize(PHOTO, PAINTING, StyleSettings(size=32)).image.shape == (24, 32, 3)


def test_the_number_of_threads_does_not_matter():
    one, two = (stylize(PHOTO, PAINTING, StyleSettings(threads=n)).image for n in (1, 2))
    assert np.array_equal(one, two)


def test_only_the_brightness_is_painted_if_asked():
    image = stylize(PHOTO, None, StyleSettings(style="7", color="luminance")).image
    chroma = image - luminance(image)[..., None]
    assert np.allclose(chroma, PHOTO - luminance(PHOTO)[..., None], rtol=0, atol=1e-9)


def test_strength_and_blend_change_the_picture():
    plain = stylize(PHOTO, [PAINTING, PHOTO]).image
    for settings in (StyleSettings(strength=0.3), StyleSettings(blend=(9.0, 1.0))):
        assert not np.allclose(stylize(PHOTO, [PAINTING, PHOTO], settings).image, plain, atol=1)


@pytest.mark.parametrize(
    ("painting", "settings", "says"),
    [
        (None, {}, "no style: give a painting"),
        (PAINTING, {"style": "7"}, "--painting: a learned style has no painting"),
        (None, {"style": "7", "strength": 0.5}, "--strength: a learned style"),
        (PAINTING, {"blend": (1.0, 2.0)}, "--blend: 2 given for 1 painting"),
        (PAINTING, {"strength": 1.5}, "--strength 1.5: give a number from 0 to 1"),
        (PAINTING, {"blend": (-1.0,)}, "--blend -1: give numbers of 0 or more"),
        (PAINTING, {"size": 15}, "is too small to be painted"),
        (PAINTING, {"size": 0}, "--size 0"),
        (PAINTING, {"threads": 0}, "--threads 0"),
        (PAINTING, {"memory": 1000}, "free some memory first"),
        (np.zeros((4, 4)), {}, "must be"),
    ],
)
def test_a_request_that_cannot_be_met_is_refused(painting, settings, says):
    with pytest.raises(InputError, match=says):
        stylize(PHOTO, painting, StyleSettings(**settings))


def test_a_size_that_takes_more_memory_than_a_larger_one_is_not_advised(monkeypatch):
    needed = {40: 10**12}
    monkeypatch.setattr(Stylizer, "_needed", lambda self, photo, size: needed.get(max(size), 1))
    with pytest.raises(InputError, match=r"use --size 64, or scale the photo down first$"):
        stylize(PHOTO, None, StyleSettings(style="7", size=40))


def test_the_size_that_fits_is_named():
    stylizer = Stylizer((), StyleSettings(style="7"))
    large, small = (
        photo_bytes(stylizer.bound, 10**6, size, 2) for size in [(4000, 6000), (40, 60)]
    )
    assert large > 3e9
    assert small < large / 3
