"""Say what a file is that is not a weights file, by its first bytes."""

import re

START_BYTES = 512
"""Length in bytes of the start that a file is recognised by."""

HTML = (b"<!doctype", b"<html", b"<head", b"<body", b"<?xml", b"<!--")

SIGNATURES = {
    b"\x1f\x8b": "is compressed with gzip; unpack it and use the weights file in it",
    b"BZh": "is compressed with bzip2; unpack it and use the weights file in it",
    b"\xfd7zXZ": "is compressed with xz; unpack it and use the weights file in it",
    b"7z\xbc\xaf": "is a 7z archive; unpack it and use the weights file in it",
    b"Rar!": "is a RAR archive; unpack it and use the weights file in it",
    b"\x93NUMPY": "is a single array of NumPy; use a file of a whole network",
    b"%PDF": "is a PDF document; download the weights file itself",
}

PICTURES = {
    rb"\x89PNG": "PNG",
    rb"\xff\xd8\xff": "JPEG",
    rb"GIF8": "GIF",
    rb"II\*\0|MM\0\*": "TIFF",
    rb"RIFF....WEBP": "WebP",
}
"""Formats of pictures, by patterns of their first bytes."""


def what_it_is(start: bytes) -> str | None:
    """Return what a file is that begins so, and what to do, or None if it is not known.

    Parameters
    ----------
    start : bytes
        The first `START_BYTES` of the file, or all of a shorter one.

    Returns
    -------
    str or None
        The rest of a sentence that begins with the name of the file.
    """
    if not start:
        return "is empty; download it again"
    text = start.removeprefix(b"\xef\xbb\xbf").lstrip()
    if text.lower().startswith(HTML):
        return (
            "is a web page (HTML or XML), which the server sent instead of the file; open it in a "
            "browser to see why, and download the file itself"
        )
    if text.startswith(b"version https://git-lfs"):
        return (
            "is a Git LFS pointer, which stands for the file in a repository; run `git lfs pull` "
            "there, or download the file itself"
        )
    if start[257:262] == b"ustar":
        return "is a tar archive; unpack it and use the weights file in it"
    for signature, words in SIGNATURES.items():
        if start.startswith(signature):
            return words
    for pattern, name in PICTURES.items():
        if re.match(pattern, start, re.DOTALL):
            return f"is a picture ({name}), not a weights file; give the weights file of a network"
    if text and all(byte >= 0x20 or byte in b"\t\r\n" for byte in text) and text.isascii():
        line = text.splitlines()[0][:60].decode("ascii")
        return f"is a text that begins {line!r}, not a weights file; download the file itself"
    return None
