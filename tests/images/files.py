"""Small files of every format that npstyle reads."""

from io import BytesIO

import numpy as np
import tifffile
from PIL import Image, ImageCms

SIZE = 9, 14
"""Rows and columns; without symmetry."""

COLORS = np.array(
    [[[250, 10, 20], [20, 240, 30], [10, 30, 230]], [[0, 0, 0], [255, 255, 255], [90, 120, 60]]],
    np.uint8,
)
"""Two rows and three columns without any symmetry."""


def write(path, image, **options):
    """Save an image, and return its path."""
    image.save(path, **options)
    return path


def drawn():
    """A smooth picture (height, width, 3), uint8."""
    down, across = np.indices(SIZE)
    planes = [20 * down + 4 * across, 250 - 15 * across, 10 * down + 8 * across]
    return np.stack(planes, axis=2).astype(np.uint8)


def metadata():
    """EXIF and a colour profile, as options of Pillow's save."""
    exif = Image.Exif()
    exif[274], exif[305], exif[282] = 1, "camera", 72.0
    profile = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    return {"exif": exif, "icc_profile": profile}


def linear_profile():
    """The sRGB profile with its three tone curves replaced by the identity."""
    data = bytearray(ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes())
    count = int.from_bytes(data[128:132], "big")
    for entry in range(count):
        start = 132 + 12 * entry
        if data[start : start + 4] in (b"rTRC", b"gTRC", b"bTRC"):
            at = int.from_bytes(data[start + 4 : start + 8], "big")
            data[at : at + 12] = b"curv" + bytes(4) + (0).to_bytes(4, "big")
            data[start + 8 : start + 12] = (12).to_bytes(4, "big")
    return bytes(data)


def see_through():
    """The picture with an opacity."""
    image = Image.fromarray(drawn())
    image.putalpha(200)
    return image


def _with_pillow(suffix, image=None, **options):
    def write(folder):
        path = folder / f"a{suffix}"
        (image or (lambda: Image.fromarray(drawn())))().save(path, **options)
        return path

    return write


def _with_metadata(suffix, image=None, **options):
    return lambda folder: _with_pillow(suffix, image, **options, **metadata())(folder)


def _deep_tiff(folder):
    path = folder / "a.tif"
    tifffile.imwrite(path, drawn() * np.uint16(257), photometric="rgb", compression="zlib")
    return path


def _two_pages(folder):
    path = folder / "a.tif"
    image = Image.fromarray(drawn())
    image.resize((7, 4)).save(path, save_all=True, append_images=[image])
    return path


def _deep_grey():
    return Image.fromarray(drawn()[..., 0] * np.uint16(257))


def _bitmap():
    return Image.fromarray(drawn()[..., 0] > 90)


def animation(folder, suffix, **options):
    """Two frames, of which the first is the picture."""
    path = folder / f"a{suffix}"
    first, second = Image.fromarray(drawn()), Image.fromarray(255 - drawn())
    first.save(path, save_all=True, append_images=[second], **options)
    return path


def _heic(folder):
    from pillow_heif import from_pillow

    path = folder / "a.heic"
    buffer = BytesIO()
    from_pillow(Image.fromarray(drawn()).resize((64, 48))).save(buffer, quality=90)
    path.write_bytes(buffer.getvalue())
    return path


WRITERS = {
    "jpeg": _with_metadata(".jpg", quality=95),
    "progressive jpeg": _with_metadata(".jpg", quality=95, progressive=True),
    "png": _with_metadata(".png", see_through),
    "deep png": _with_metadata(".png", _deep_grey),
    "animated png": lambda folder: animation(folder, ".png"),
    "webp": _with_metadata(".webp", see_through, lossless=True, exact=True),
    "tiff": _with_metadata(".tif"),
    "lzw tiff": _with_metadata(".tif", compression="tiff_lzw"),
    "deep tiff": _deep_tiff,
    "two pages": _two_pages,
    "bmp": _with_pillow(".bmp"),
    "gif": lambda folder: animation(folder, ".gif"),
    "avif": _with_metadata(".avif", see_through, quality=95),
    "jpeg 2000": _with_pillow(".jp2", see_through, quality_layers=[1]),
    "ppm": _with_pillow(".ppm"),
    "pgm": _with_pillow(".pgm", _deep_grey),
    "pbm": _with_pillow(".pbm", _bitmap),
    "tga": _with_pillow(".tga", see_through, compression="tga_rle"),
    "heic": _heic,
}
"""Functions (folder) -> path of a small picture."""
