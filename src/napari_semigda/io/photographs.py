"""PNG, JPEG, BMP, WebP and GIF, read with Pillow: the samples as they are stored, and what they mean."""

import io
import math
import struct
import zlib
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageFile
from PIL.PngImagePlugin import PngImageFile

from napari_semigda.errors import SemiGDAError
from napari_semigda.io.colors import ColorSpace, Interpretation, upright
from napari_semigda.io.planes import FileContent, Picture, Plane, StoredPixels, refuse_implausible

_FORMATS = ("PNG", "JPEG", "BMP", "WEBP", "GIF", "PPM")
_ORIENTATION = 274
_PNG_DEPTH, _PNG_COLORS = 24, 25  # offsets in a file
_GRAY, _GRAY_AND_OPACITY, _RED_GREEN_BLUE_AND_OPACITY = 0, 4, 6

Array = NDArray[Any]


def list_file(path: Path) -> FileContent:
    """List the one plane of a photograph, upright as its EXIF says."""
    with _opened(path) as image:
        width, height = image.size
        shape = (width, height) if _turn(image) > 4 else (height, width)
    return FileContent([Plane(path, shape=shape)])


def stack_axes(path: Path, series: int) -> tuple[list[tuple[str, int]], float | None]:
    """Return no axes: there is one plane."""
    return [], None


def read_plane(plane: Plane) -> Picture:
    """Read a photograph as it is displayed."""
    samples, meaning = read_samples(plane)
    return Picture(meaning.as_picture(samples))


def read_samples(plane: Plane) -> tuple[Array, Interpretation]:
    """Read a photograph as it is stored, upright as its EXIF says, and what its samples mean."""
    with _opened(plane.path) as image:
        turn = _turn(image)
        stored, meaning = _stored(plane.path, image)
        return upright(stored, turn), meaning


def open_levels(plane: Plane, stack: ExitStack) -> list[StoredPixels]:
    """Return no levels: photographs are read whole."""
    return []


def _opened(path: Path) -> Image.Image:
    image = Image.open(path, formats=_FORMATS)
    refuse_implausible(path, math.prod(image.size) * len(image.getbands()))
    return image


def _turn(image: Image.Image) -> int:
    value = image.getexif().get(_ORIENTATION, 1)
    return value if isinstance(value, int) and 1 <= value <= 8 else 1


def _stored(path: Path, image: Image.Image) -> tuple[Array, Interpretation]:
    if image.format == "PNG":
        with path.open("rb") as file:
            header = file.read(_PNG_COLORS + 1)
        depth, colors = header[_PNG_DEPTH], header[_PNG_COLORS]
        if depth == 16 and colors != _GRAY:
            return _sixteen_bits(path, colors)
        if depth in (2, 4) and colors == _GRAY:
            return np.asarray(image) // np.uint8(255 // (2**depth - 1)), Interpretation(bits=depth)
    if image.mode == "P":
        return _indexed(image)
    if image.mode in ("PA", "La"):
        image = image.convert("RGBA" if image.mode == "PA" else "LA")
    elif image.mode == "CMYK" and "adobe" not in image.info:
        raise SemiGDAError(
            f"“{path}” is a CMYK JPEG that does not say whether its inks are inverted. Save it as RGB."
        )
    elif isinstance(image, ImageFile.ImageFile) and image.format == "PPM":
        _refuse_rescaled(path, image)
    kinds = {
        "LA": Interpretation(alpha=1),
        "RGB": Interpretation(ColorSpace.RGB),
        "RGBA": Interpretation(ColorSpace.RGB, alpha=3),
        "RGBa": Interpretation(ColorSpace.RGB, alpha=3, premultiplied=True),
        "CMYK": Interpretation(ColorSpace.CMYK),
        "YCbCr": Interpretation(ColorSpace.YCBCR),
        "1": Interpretation(bits=1),
    }
    if image.mode not in kinds and image.mode not in ("L", "F") and not image.mode.startswith("I"):
        raise SemiGDAError(f"“{path}” has colors of an unsupported kind ({image.mode}). Save it as RGB.")
    stored = np.asarray(image)
    known = kinds.get(image.mode, Interpretation(bits=0 if image.mode == "F" else 8 * stored.dtype.itemsize))
    lossy = image.format in ("JPEG", "MPO") or (image.format == "WEBP" and _is_lossy_webp(path))
    return stored, Interpretation(known.space, known.bits, known.alpha, known.premultiplied, lossy=lossy)


def _indexed(image: Image.Image) -> tuple[Array, Interpretation]:
    """Read indices, and the colors that they stand for; those without a color are black."""
    transparent = "transparency" in image.info
    kind = "RGBA" if transparent else "RGB"
    image.load()
    if image.palette is None:
        return np.asarray(image), Interpretation()
    image.apply_transparency()
    given = np.array(image.getpalette(kind), np.uint8).reshape(-1, len(kind))[:256]
    palette = np.zeros((256, len(kind)), np.uint8)
    palette[: len(given)] = given
    is_gif = image.format == "GIF"
    return np.asarray(image), Interpretation(ColorSpace.PALETTE, palette=palette, shades=is_gif)


def _is_lossy_webp(path: Path) -> bool:
    """Return whether the pixels of a WebP are in a chunk of the kind that changes values."""
    with path.open("rb") as file:
        at = file.seek(12)
        while len(head := file.read(8)) == 8:
            if head[:4] in (b"VP8 ", b"VP8L"):
                return head[:4] == b"VP8 "
            length = int.from_bytes(head[4:], "little")
            at = file.seek(at + 8 + length + length % 2)
    return False


def _sixteen_bits(path: Path, colors: int) -> tuple[Array, Interpretation]:
    """Read a PNG of 16 bits a color: Pillow keeps 8 of them, so first the upper ones, then the lower ones."""
    if colors == _GRAY_AND_OPACITY:
        with Image.open(io.BytesIO(_as_four_bytes(path)), formats=("PNG",)) as image:
            stored = np.ascontiguousarray(image).view(">u2").astype(np.uint16)
        return stored, Interpretation(bits=16, alpha=1)
    halves = []
    for end in "BL":
        with PngImageFile(path) as image:
            image.tile = [tile._replace(args=f"{image.mode};16{end}") for tile in image.tile]
            halves.append(np.array(image))
    stored = np.bitwise_or(halves[0].astype(np.uint16) << 8, halves[1], dtype=np.uint16)
    return stored, Interpretation(ColorSpace.RGB, 16, alpha=3 if stored.shape[2] == 4 else None)


def _as_four_bytes(path: Path) -> bytes:
    """Declare a PNG of two samples of 16 bits as one of four of 8 bits, which are stored in the same way."""
    content = path.read_bytes()
    header = b"IHDR" + content[16:_PNG_DEPTH] + bytes([8, _RED_GREEN_BLUE_AND_OPACITY]) + content[26:29]
    return content[:12] + header + struct.pack(">I", zlib.crc32(header)) + content[33:]


def _refuse_rescaled(path: Path, image: ImageFile.ImageFile) -> None:
    given = image.tile[0].args if image.tile else None
    most = given[-1] if isinstance(given, tuple) else given
    if isinstance(most, int) and most not in (255, 65535):
        raise SemiGDAError(
            f"“{path}” has a largest value of {most}, for which Pillow changes all others. Save it as "
            "PNG or TIFF."
        )
