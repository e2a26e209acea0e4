import numpy as np
import pytest

from npstyle.errors import InputError
from npstyle.images.color import luminance
from npstyle.images.formula import draw_painting, draw_photo
from npstyle.run.pictures import Pictures, check_pictures, load_scale, picture_size
from npstyle.run.settings import Settings

PHOTO, PAINTING = draw_photo(36, 48), draw_painting(40, 60)
SETTINGS = Settings(size=48, style_scale=0.5)
HALF = np.zeros((36, 48, 3))
HALF[:, :24] = 255


def test_each_scale_has_its_own_sizes():
    settings = Settings(scales=(24, 48), style_scale=0.5)
    for scale, photo_shape, painting_shape in ((0, (18, 24), (8, 12)), (1, (36, 48), (16, 24))):
        photo, color_photo, regions = load_scale(Pictures(PHOTO, (PAINTING,)), settings, scale)
        assert photo.shape[:2] == color_photo.shape[:2] == photo_shape
        assert regions[0].sources[0].pixels.shape[:2] == painting_shape


def test_without_paintings_there_is_no_region():
    assert load_scale(Pictures(PHOTO, ()), SETTINGS, 0)[2] == []


def test_several_paintings_share_one_region_and_are_blended():
    settings = Settings(size=48, blend=(3.0, 7.0))
    regions = load_scale(Pictures(PHOTO, (PAINTING, PHOTO)), settings, 0)[2]
    assert [source.blend for source in regions[0].sources] == [3.0, 7.0]
    assert regions[0].mask is None


def test_masks_give_each_painting_its_region():
    pictures = Pictures(PHOTO, (PAINTING, PHOTO), (HALF, 255 - HALF), (HALF, HALF))
    regions = load_scale(pictures, SETTINGS, 0)[2]
    assert len(regions) == 2
    assert np.all(regions[0].mask[:, :20] == 1)
    assert np.all(regions[1].mask[:, :20] == 0)
    assert regions[0].sources[0].mask.shape == regions[0].sources[0].pixels.shape[:2]


def test_luminance_makes_photo_and_painting_grey_and_returns_the_coloured_photo_too():
    settings = Settings(size=48, color="luminance")
    photo, color_photo, regions = load_scale(Pictures(PHOTO, (PAINTING,)), settings, 0)
    for grey in (photo, regions[0].sources[0].pixels):
        assert np.ptp(grey, axis=2).max() < 1e-9
    assert np.array_equal(color_photo, PHOTO)
    assert luminance(photo) == pytest.approx(luminance(PHOTO))


def test_histogram_gives_the_painting_the_photos_colors():
    settings = Settings(size=48, color="histogram")
    photo, _, regions = load_scale(Pictures(PHOTO, (PAINTING,)), settings, 0)
    matched = regions[0].sources[0].pixels
    assert np.array_equal(photo, PHOTO)
    assert matched.mean(axis=(0, 1)) == pytest.approx(PHOTO.mean(axis=(0, 1)), abs=3)


@pytest.mark.parametrize(
    ("pictures", "settings", "says"),
    [
        (Pictures(PHOTO, ()), {}, "no painting"),
        (Pictures(PHOTO, (PAINTING,)), {"blend": (1.0, 2.0)}, "--blend: 2 given for 1 painting;"),
        (Pictures(PHOTO, (PAINTING, PHOTO), (HALF,)), {}, "--content-mask: 1 given for 2 paint"),
        (Pictures(PHOTO, (PAINTING,), (), (HALF,)), {}, "--style-mask: needs --content-mask"),
        (
            Pictures(PHOTO, (PAINTING, PHOTO), (HALF, HALF)),
            {"blend": (1.0, 2.0)},
            "--blend: cannot be combined",
        ),
        (Pictures(PHOTO, (PAINTING,), (np.zeros((5, 5)),)), {}, "height, width, 3"),
    ],
)
def test_mismatched_numbers_of_pictures_are_refused(pictures, settings, says):
    with pytest.raises(InputError, match=says):
        check_pictures(pictures, Settings(**settings))


@pytest.mark.parametrize(
    ("picture", "says"),
    [
        (PHOTO.astype(complex), "contains complex128"),
        (PHOTO.astype(object), "contains object_"),
        (PHOTO.astype(str), "contains str_"),
        (PHOTO + 300, "has values from"),
        (-PHOTO - 2, "has values from"),
        (PHOTO * np.nan, "contains NaN or infinity"),
        (PHOTO[..., 0], r"must be \(height, width, 3\)"),
    ],
)
def test_an_array_that_is_no_picture_is_refused(picture, says):
    with pytest.raises(InputError, match=says):
        picture_size(picture)
