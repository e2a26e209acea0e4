import numpy as np

from npstyle.maths.box import mirror, mirror_backward


def test_mirror_keeps_numbers_in_the_box_and_reflects_all_others_into_it():
    inside = np.array([0.0, 0.25, 254.5, 255.0])
    assert np.array_equal(mirror(inside), inside)
    assert np.array_equal(mirror_backward(np.ones(4), inside), np.ones(4))
    outside = np.array([-3.0, 258.0, 510.0, -300.0, 1025.0])
    assert np.array_equal(mirror(outside), [3.0, 252.0, 0.0, 210.0, 5.0])
