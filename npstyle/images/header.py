"""What the header of a picture says: its size as it is shown, and the memory that reading takes."""

from dataclasses import dataclass
from pathlib import Path

from PIL import ExifTags, Image
from PIL.JpegImagePlugin import JpegImageFile
from PIL.TiffImagePlugin import TiffImageFile

from npstyle.images.formats import opened
from npstyle.images.resize import fit_size, narrowed_rows, strip_rows

Size = tuple[int, int]

METADATA = ("exif", "Raw profile type exif", "xmp", "XML:com.adobe.xmp")
"""Entries of Pillow's `info` in which it looks for an orientation."""

DRAFT_GAP = 4
"""Least number of pixels on a side that a JPEG has, in pixels of the result, after its decoder has
scaled it down. The result differs by less than 1 of 255 from that of all pixels."""

DECODED_BYTES = {
    "JPEG": 4,
    "MPO": 4,
    "PNG": 4,
    "BMP": 4,
    "GIF": 4,
    "PPM": 4,
    "TGA": 4,
    "TIFF": 16,
    "WEBP": 20,
    "AVIF": 20,
    "HEIF": 20,
    "JPEG2000": 24,
}
"""Bytes for each pixel of a file while it is decoded, in the largest mode: estimates. Measurements
stayed below them."""

PROGRESSIVE_BYTES = 6
"""Bytes for each pixel of a progressive JPEG, whose coefficients are all held."""

READ_WHOLE = ("WEBP", "AVIF", "HEIF", "JPEG2000")
"""Formats whose files are read as a whole before they are decoded."""

STRIP_BYTES = 75
"""Bytes for each pixel of a strip while its colours are converted, with an alpha channel."""

NARROW_BYTES = 16
"""Bytes for each pixel of a strip whose rows have been resized: three channels, and one's copy."""

RESULT_BYTES = 24
"""Bytes for each pixel of the result, three numbers in float64."""


@dataclass(frozen=True)
class Header:
    """The layout of a picture.

    Attributes
    ----------
    height, width : int
        Of the picture as it is shown.
    orientation : int
        EXIF's number, 1 to 8: how the decoded rows lie in the picture.
    """

    height: int
    width: int
    orientation: int

    def result_size(self, size: int | Size | None) -> Size:
        """Return the (height, width) of the result for the argument of `load_image`."""
        if size is None:
            return self.height, self.width
        return fit_size(self.height, self.width, size) if isinstance(size, int) else size

    def stored(self, size: Size) -> Size:
        """Return the (rows, columns) of the file that become this (height, width)."""
        return size[::-1] if self.orientation >= 5 else size


def read_header(image: Image.Image) -> Header:
    """Return the layout of an opened picture, and remove its EXIF, which can do no more harm.

    Call it once, before the picture is decoded.
    """
    orientation = _orientation(image)
    height, width = image.height, image.width
    if isinstance(image, TiffImageFile):
        # Pillow turns these itself while it decodes, and has counted it into the size.
        orientation = 1
    if orientation >= 5:
        height, width = width, height
    return Header(height, width, orientation)


def _orientation(image: Image.Image) -> int:
    """Return the EXIF orientation, 1 if there is none, and leave it as the only tag."""
    try:
        exif = image.getexif()
    except Exception:  # whatever a damaged tag leads to, the picture is not damaged
        exif = image.getexif()  # the second call returns what the first has found
    try:
        tags = image.tag_v2 if isinstance(image, TiffImageFile) else exif
        value = tags.get(ExifTags.Base.Orientation, 1)
        orientation = int(value) if value in range(1, 9) else 1
    except Exception:
        orientation = 1
    for tag in list(exif):
        del exif[tag]
    for name in METADATA:
        image.info.pop(name, None)
    if orientation != 1:
        exif[ExifTags.Base.Orientation] = orientation
    return orientation


def shrink_while_decoding(image: Image.Image, size: tuple[int, int]) -> tuple[float, float]:
    """Let the decoder of a JPEG scale it down by 2, 4 or 8 if it stays large enough.

    Parameters
    ----------
    image : Image
        Not decoded yet. Pictures of other formats are left as they are.
    size : (height, width)
        Of the result, in the orientation of the file.

    Returns
    -------
    height, width : float
        Of the picture, in decoded pixels; the last row and column may count in part.
    """
    found = None
    if isinstance(image, JpegImageFile):
        found = image.draft(None, (DRAFT_GAP * size[1], DRAFT_GAP * size[0]))
    return (image.height, image.width) if found is None else (found[1][3], found[1][2])


def reading_bytes(path: str | Path, size: int | Size | None = None) -> int:
    """Count the bytes that `npstyle.images.read.load_image` takes for a moment, and its result.

    Raises
    ------
    InputError
        If the file is missing or not a picture.
    """
    path = Path(path)
    with opened(path) as image:
        header = read_header(image)
        result = header.result_size(size)
        stored = header.stored(result)
        decoding = _decoding_bytes(image, path, stored)
        strip = strip_rows(image.height, image.width) * image.width * STRIP_BYTES
        narrow = narrowed_rows(image.height, *stored) * stored[1] * NARROW_BYTES
        return result[0] * result[1] * RESULT_BYTES + decoding + strip + narrow


def least_reading_bytes(path: str | Path) -> int:
    """Count the bytes that decoding a picture takes at least, whatever the size of the result.

    Raises
    ------
    InputError
        If the file is missing or not a picture.
    """
    path = Path(path)
    with opened(path) as image:
        read_header(image)
        return _decoding_bytes(image, path, (1, 1))


def _decoding_bytes(image: Image.Image, path: Path, size: tuple[int, int]) -> int:
    """Count the bytes of a decoded picture and its decoder; a JPEG is scaled down for `size`."""
    decoded = DECODED_BYTES.get(str(image.format), max(DECODED_BYTES.values()))
    held = path.stat().st_size if image.format in READ_WHOLE else 0
    if "progressive" in image.info:
        held += image.width * image.height * PROGRESSIVE_BYTES
    shrink_while_decoding(image, size)
    return held + image.width * image.height * decoded
