import numpy as np

from npstyle.images.sheet import MARGIN, labelled_sheet


def test_every_picture_lies_in_its_place_below_its_label():
    pictures = [np.full((20, 30, 3), 10.0 * k) for k in range(5)]
    sheet = labelled_sheet(pictures, [str(k) for k in range(5)], 3)
    line = (sheet.shape[0] - MARGIN) // 2 - 20 - MARGIN
    for k in range(5):
        top = MARGIN + k // 3 * (20 + line + MARGIN) + line
        left = MARGIN + k % 3 * (30 + MARGIN)
        assert np.array_equal(sheet[top : top + 20, left : left + 30], pictures[k])
        assert sheet[top - line : top, left : left + 30].min() < 128  # the label is black
    assert sheet[-1, -1].tolist() == [255] * 3
