import tracemalloc

import numpy as np
import pytest

from npstyle.errors import InputError
from npstyle.images.formula import draw_photo
from npstyle.images.write import save_image
from npstyle.run.crops import LEAST_PHOTOS, Crops, usable_photos

SIDE = 16


def fill(folder, count=LEAST_PHOTOS, height=SIDE, width=SIDE, suffix=".png"):
    """Write photos that differ from one another, and return their folder."""
    folder.mkdir(exist_ok=True)
    for k in range(count):
        save_image(folder / f"{k:02}{suffix}", np.roll(draw_photo(height, width), k, axis=1))
    return folder


def crops_of(folder, skipped=None, side=SIDE):
    tell = [].append if skipped is None else skipped.append
    return Crops(usable_photos(folder, side, tell), side, tell)


def draws(crops, count, seed=0):
    return [crops.draw(np.random.default_rng((seed, k))) for k in range(count)]


@pytest.fixture(scope="module")
def photos(tmp_path_factory):
    return fill(tmp_path_factory.mktemp("crops") / "photos", height=40, width=56)


def cut_in_half(path):
    """Leave the header of a JPEG, and a part of its pixels."""
    data = path.read_bytes()
    path.write_bytes(data[: len(data) * 2 // 3])


def test_the_same_numbers_draw_the_same_crops(photos):
    found, again, others = (draws(crops_of(photos), 5, seed) for seed in (3, 3, 4))
    assert all(crop.shape == (SIDE, SIDE, 3) for crop in found)
    assert np.array_equal(found, again)
    assert not np.array_equal(found, others)


def test_a_crop_is_a_square_of_a_photo_or_its_mirror_image(tmp_path):
    folder = fill(tmp_path / "same", count=0)
    photo = np.round(draw_photo(SIDE, SIDE))
    for k in range(LEAST_PHOTOS):
        save_image(folder / f"{k}.png", photo)
    found = draws(crops_of(folder), 40)
    mirrored = [np.array_equal(crop, photo[:, ::-1]) for crop in found]
    plain = [np.array_equal(crop, photo) for crop in found]
    assert np.array_equal(np.add(mirrored, plain), np.ones(40))
    assert 8 < sum(mirrored) < 32


def test_squares_differ_in_size_and_place(tmp_path):
    folder = fill(tmp_path / "ramps", count=0)
    across, down = np.meshgrid(np.arange(44.0), np.arange(2.0 * SIDE))
    for k in range(LEAST_PHOTOS):
        save_image(folder / f"{k}.png", np.stack([4 * across, 4 * down, 0 * down], axis=2))
    found = draws(crops_of(folder), 60)
    # The range of a ramp tells how large the square was, its mean where it lay.
    sizes = [np.ptp(crop[..., 1]) / 4 for crop in found]
    assert min(sizes) < SIDE + 1
    assert 2 * SIDE - 4 < max(sizes) < 2 * SIDE
    for channel, span in ((0, 44), (1, 2 * SIDE)):
        middles = [crop[..., channel].mean() / 4 for crop in found]
        assert min(middles) < 0.4 * span
        assert max(middles) > 0.6 * span


def test_photos_are_found_in_all_folders_and_in_one_order(tmp_path):
    folder = fill(tmp_path / "photos", count=8)
    fill(folder / "B", count=1)
    fill(folder / "a", count=1)
    (folder / "a" / "00.png").rename(folder / "a" / "X.PNG")
    (folder / "notes.txt").write_text("no photo")
    (folder / "folder.jpg").mkdir()
    skipped = []
    found = usable_photos(folder, SIDE, skipped.append)
    names = [path.relative_to(folder).as_posix() for path in found]
    assert names == [*(f"{k:02}.png" for k in range(8)), "B/00.png", "a/X.PNG"]
    assert set(found.values()) == {(SIDE, SIDE)}
    assert not skipped


def test_photos_that_cannot_be_used_are_named_one_by_one(tmp_path):
    folder = fill(tmp_path / "photos")
    (folder / "text.jpg").write_text("no picture")
    save_image(folder / "low.png", draw_photo(SIDE - 1, 40))
    skipped = []
    found = usable_photos(folder, SIDE, skipped.append)
    assert len(found) == LEAST_PHOTOS
    low, text = skipped
    assert f"{folder / 'low.png'}: 40x15 pixels" in low
    assert str(folder / "text.jpg") in text


def test_too_few_photos_are_refused(tmp_path):
    with pytest.raises(InputError, match="no such folder"):
        usable_photos(tmp_path / "nowhere", SIDE, print)
    folder = fill(tmp_path / "few", count=LEAST_PHOTOS - 1)
    for side, count in ((SIDE, LEAST_PHOTOS - 1), (SIDE + 1, 0)):
        with pytest.raises(InputError, match=f"has {count} photos of {side}x{side} pixels or more"):
            usable_photos(folder, side, lambda line: None)


def test_a_photo_whose_pixels_are_damaged_is_skipped_once(tmp_path):
    folder, skipped = fill(tmp_path / "photos", 12, 64, 64, ".jpg"), []
    for name in ("00.jpg", "07.jpg"):
        cut_in_half(folder / name)
    crops = crops_of(folder, skipped)
    assert len(crops.photos) == 12
    first = crops.first(8)
    assert first.shape == (8, 8, 3)
    found = draws(crops, 60)
    assert ["00.jpg" in skipped[0], "07.jpg" in skipped[1], len(skipped)] == [True, True, 2]
    # The crops do not depend on when the damage is found.
    assert np.array_equal(found, draws(crops_of(folder), 60))


def test_damaged_photos_alone_are_refused(tmp_path):
    folder = fill(tmp_path / "photos", height=64, width=64, suffix=".jpg")
    for path in folder.iterdir():
        cut_in_half(path)
    for use in (lambda crops: crops.draw(np.random.default_rng(0)), lambda crops: crops.first(8)):
        with pytest.raises(InputError, match="all 10 photos are damaged"):
            use(crops_of(folder))


def test_the_memory_of_held_photos_is_the_predicted_one(tmp_path):
    folder = fill(tmp_path / "photos", height=120, width=180)
    fill(folder / "small", count=2, height=20, width=30)
    crops = crops_of(folder)
    draws(crops, 1)
    tracemalloc.start()
    draws(crops, 100)
    held = tracemalloc.get_traced_memory()[0]
    tracemalloc.stop()
    # Scaled down to 48x32; one of them was read before.
    assert crops.held_bytes() == 3 * (10 * 48 * 32 + 2 * 20 * 30)
    assert held == pytest.approx(crops.held_bytes(), rel=0.25)
    assert crops.reading_bytes() > 8 * 3 * 120 * 180
