import tracemalloc
from dataclasses import replace

import numpy as np
import pytest

from npstyle.engine.guides import Region, Source
from npstyle.errors import InputError
from npstyle.images.formula import draw_painting, draw_photo
from npstyle.images.resize import resize
from npstyle.images.write import save_image
from npstyle.run.settings import ONE_PASS_ITERATIONS, PRESETS, Settings
from npstyle.run.start import choose_start, painted_picture, search_colors, starting_picture
from npstyle.run.stylize import StyleSettings, stylize
from npstyle.search.coordinates import COLORS, NOISE_COLORS

PICTURES = draw_photo(36, 48), draw_painting(40, 60)
SETTINGS = Settings(size=48, init="content")
SHORT = Settings(iterations=ONE_PASS_ITERATIONS)
GB = 10**9


def test_the_seed_determines_the_noise_and_nothing_else():
    noise = replace(SETTINGS, init="noise")
    first, again, other = (starting_picture(replace(noise, seed=s), *PICTURES) for s in (1, 1, 2))
    assert np.array_equal(first, again)
    assert not np.array_equal(first, other)
    for seed in (1, 2):
        assert starting_picture(replace(SETTINGS, seed=seed), *PICTURES) is PICTURES[0]


def test_only_a_search_from_noise_moves_all_colors_alike():
    noise = Settings(init="noise")
    assert search_colors(noise) == NOISE_COLORS
    assert search_colors(noise, 1) == search_colors(Settings()) == COLORS
    assert search_colors(replace(noise, precondition="off")) is None


def test_a_file_to_start_from_is_resized_to_the_photo(tmp_path):
    save_image(tmp_path / "start.png", np.full((9, 20, 3), 80.0))
    start = starting_picture(replace(SETTINGS, init=str(tmp_path / "start.png")), *PICTURES)
    assert np.array_equal(start, np.full((36, 48, 3), 80.0))


def test_style_stats_is_noise_in_the_paintings_colors():
    painting = 60 + 0.5 * PICTURES[1]  # away from the bounds 0 and 255
    start = starting_picture(replace(SETTINGS, init="style-stats"), PICTURES[0], painting)
    colors, target = start.reshape(-1, 3), painting.reshape(-1, 3)
    assert colors.mean(axis=0) == pytest.approx(target.mean(axis=0), abs=4)
    assert np.cov(colors.T) == pytest.approx(np.cov(target.T), rel=0.2, abs=60)
    neighbours = np.corrcoef(start[:, 1:, 0].ravel(), start[:, :-1, 0].ravel())[0, 1]
    assert abs(neighbours) < 0.1


def painted(regions, settings=SHORT, size=(36, 48)):
    return painted_picture(PICTURES[0], regions, [PICTURES[1], 255 - PICTURES[1]], settings, size)


def test_one_pass_paints_what_stylize_paints(tmp_path):
    save_image(tmp_path / "painting.png", PICTURES[1])
    smaller = Source(PICTURES[1][::2, ::2])  # the painting as the search sees it
    start = painted_picture(
        PICTURES[0], [Region((smaller,))], [tmp_path / "painting.png"], SHORT, (36, 48)
    )
    assert np.array_equal(start, stylize(PICTURES[0], tmp_path / "painting.png").image)


def test_one_pass_blends_several_paintings_as_stylize_does():
    paintings = [PICTURES[1], 255 - PICTURES[1]]
    sources = tuple(map(Source, paintings, (3.0, 7.0)))
    blended = stylize(PICTURES[0], paintings, StyleSettings(blend=(3, 7)))
    assert np.array_equal(painted([Region(sources)]), blended.image)


def test_one_pass_paints_each_region_in_its_own_style_and_leaves_the_rest():
    left, right = np.zeros((36, 48)), np.zeros((36, 48))
    left[:, :16], right[:, 32:] = 1, 1
    paintings = PICTURES[1], 255 - PICTURES[1]
    regions = [Region((Source(p),), mask) for p, mask in zip(paintings, (left, right), strict=True)]
    start = painted(regions)
    alone = [stylize(PICTURES[0], painting).image for painting in paintings]
    assert np.allclose(start[:, :16], alone[0][:, :16])
    assert np.allclose(start[:, 32:], alone[1][:, 32:])
    assert np.allclose(start[:, 16:32], PICTURES[0][:, 16:32])
    everywhere = [replace(region, mask=np.ones((36, 48))) for region in regions]
    assert np.allclose(painted(everywhere), np.mean(alone, axis=0))


def test_one_pass_reads_the_masked_part_of_a_painting_and_its_changed_colors():
    mask = np.zeros((40, 60))
    mask[10:30, 5:50] = 1
    start = painted([Region((Source(PICTURES[1], mask=mask),))])
    part = stylize(PICTURES[0], np.ascontiguousarray(PICTURES[1][10:30, 5:50]))
    assert np.array_equal(start, part.image)
    changed = replace(SHORT, color="histogram")
    start = painted([Region((Source(PICTURES[1][..., ::-1]),))], changed)
    assert np.array_equal(start, stylize(PICTURES[0], PICTURES[1][..., ::-1]).image)


def test_a_photo_that_is_painted_smaller_is_enlarged():
    start = painted([Region((Source(PICTURES[1]),))], size=(18, 24))
    assert start.shape == (36, 48, 3)
    small = stylize(PICTURES[0], PICTURES[1], StyleSettings(size=24)).image
    assert np.array_equal(start, resize(small, (36, 48)))


def test_auto_paints_in_one_pass_only_if_the_search_is_short():
    short = choose_start(SHORT, (36, 48), 1, 2, GB)
    assert (short.init, short.painted) == ("one-pass", (36, 48))
    assert str(ONE_PASS_ITERATIONS) in short.note
    longer = replace(SHORT, iterations=ONE_PASS_ITERATIONS + 1)
    assert choose_start(longer, (36, 48), 1, 2, GB).init == "content"
    assert choose_start(replace(longer, init="one-pass"), (36, 48), 1, 2, GB).init == "one-pass"


@pytest.mark.parametrize(
    ("settings", "photo", "paintings", "memory", "why"),
    [
        (SHORT, (15, 48), 1, GB, "16 pixels"),
        (SHORT, (36, 48), 0, GB, "no painting"),
        (SHORT, (36, 48), 1, 10**6, "memory"),
        (replace(PRESETS["paper"], init="auto", iterations=9), (36, 48), 1, GB, "sums"),
    ],
)
def test_auto_takes_the_photo_where_one_pass_cannot_paint_or_does_not_help(
    settings, photo, paintings, memory, why
):
    start = choose_start(settings, photo, paintings, 2, memory)
    assert (start.init, start.painted) == ("content", None)
    assert why in start.note


@pytest.mark.parametrize(("photo", "paintings"), [((15, 48), 1), ((36, 48), 0)])
def test_one_pass_is_refused_in_one_sentence_where_it_cannot_paint(photo, paintings):
    with pytest.raises(InputError, match=r"^--init one-pass: needs [^.]*$"):
        choose_start(replace(SHORT, init="one-pass"), photo, paintings, 2, GB)


def test_a_photo_for_which_memory_is_short_is_painted_smaller():
    whole = choose_start(SHORT, (3000, 4000), 1, 2, 100 * GB)
    assert whole.painted == (3000, 4000)
    smaller = choose_start(SHORT, (3000, 4000), 1, 2, whole.memory * 7 // 8)
    assert smaller.memory <= whole.memory * 7 // 8
    assert 2000 < smaller.painted[1] < 4000
    assert "enlarged" in smaller.note


def test_painting_the_start_takes_no_more_memory_than_predicted():
    photo = draw_photo(600, 800)
    predicted = choose_start(SHORT, (600, 800), 1, 1, GB).memory
    regions = [Region((Source(PICTURES[1]),), mask) for mask in np.ones((2, 600, 800))]
    painted([Region((Source(PICTURES[1]),))])  # loads the network
    tracemalloc.start()
    painted_picture(photo, regions, [PICTURES[1]] * 2, SHORT, (600, 800))
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert 0.4 * predicted < peak < predicted
