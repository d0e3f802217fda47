"""What the samples of a stored image mean, and the image and the label map that follow from them.

Every reader (TIFF of all compressions, whole or in parts; PNG, JPEG and the like) hands over the samples as
they are stored, with an `Interpretation`. Here alone they become colors, gray values or labels.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from enum import Enum
from pathlib import Path
from typing import Any

import numpy as np
import tifffile
from numpy.typing import NDArray
from tifffile import PHOTOMETRIC

from napari_semigda.errors import SemiGDAError
from napari_semigda.io.tiff_pages import Page, comes_as_rgb, is_lossy, keyframe
from napari_semigda.io.units import number_in

Array = NDArray[Any]

_CHANNELS_OF_COLOR = 3
_DARK = 32
_PHOTOMETRIC, _COLOR_MAP, _INK_SET, _COEFFICIENTS, _REFERENCE = 262, 320, 332, 529, 532  # tags of TIFF
_CMYK_INKS = 1


class ColorSpace(Enum):
    """What the first samples of a pixel are; more of them are opacity or channels of their own."""

    GRAY = "gray"
    WHITE_IS_ZERO = "inverted gray"
    PALETTE = "indices"
    RGB = "RGB"
    YCBCR = "YCbCr"
    CIELAB = "Lab with signed colors"
    ICCLAB = "Lab with unsigned colors"
    CMYK = "CMYK"

    @property
    def samples(self) -> int:
        """Number of samples of a pixel that are its color."""
        if self in (ColorSpace.GRAY, ColorSpace.WHITE_IS_ZERO, ColorSpace.PALETTE):
            return 1
        return 4 if self is ColorSpace.CMYK else 3


@dataclass(frozen=True)
class Interpretation:
    """What the samples of a stored image mean."""

    space: ColorSpace = ColorSpace.GRAY  # of the first samples
    bits: int = 8  # of a sample as it is stored; 0 for floating point
    alpha: int | None = None  # which sample is the opacity
    premultiplied: bool = False  # whether colors are stored multiplied by the opacity
    palette: Array | None = None  # (N, 3) or (N, 4) uint8: the color of each index, with its opacity
    raw_labels: bool = False  # whether stored values are labels, however they are shown (ImageJ's tables)
    shades: bool = False  # whether a palette of grays means gray values, as in GIF, which has no others
    lossy: bool = False  # whether the compression changed the values
    # (red, green, blue) weights of the brightness, then the black and white of each sample
    ycbcr: tuple[float, ...] = (0.299, 0.587, 0.114, 0, 255, 128, 255, 128, 255)

    def as_picture(self, stored: Array) -> Array:
        """Return samples (H, W) or (H, W, C) as they are displayed, in native byte order.

        Opacity is kept beside colors and dropped beside gray.
        """
        samples = stored[..., None] if stored.ndim == 2 else stored
        count = self.space.samples
        color, rest = self._seen(samples[..., :count]), samples[..., count:]
        if self.alpha is not None and count == 1 and color.shape[-1] == 1:
            rest = np.delete(rest, self.alpha - count, axis=-1)
        elif self.alpha is not None and self.premultiplied:
            color = _divided(color, samples[..., self.alpha])
        if rest.shape[-1] and color.dtype != rest.dtype:
            rest = _eight_bits(rest, self.bits)
        seen = np.concatenate([color, rest], axis=-1) if rest.shape[-1] else color
        seen = seen[..., 0] if seen.shape[-1] == 1 else seen
        return np.ascontiguousarray(seen.astype(seen.dtype.newbyteorder("="), copy=False))

    def as_labels(self, stored: Array, path: Path) -> NDArray[np.integer]:
        """Turn samples (H, W) or (H, W, C) into a label map (H, W) of an integer type.

        Of a palette the indices count; of an image drawn on a transparent background, where it is opaque.
        Raises a `SemiGDAError` for samples that are no label map, or could mean several.
        """
        samples = stored[..., None] if stored.ndim == 2 else stored
        if self.space is ColorSpace.PALETTE and self.palette is not None:
            if _is_drawn(samples[..., 0], self.palette):
                return _whole(_single(self.as_picture(samples[..., :1]), _CHANNELS_OF_COLOR, path), path)
            return _indices(samples[..., 0], self.palette, path, shades=self.shades)
        if self.space is ColorSpace.WHITE_IS_ZERO:
            samples = samples if self.raw_labels else _as_shown(samples, self, path)
        alpha = self.alpha
        if self.space not in (ColorSpace.GRAY, ColorSpace.WHITE_IS_ZERO, ColorSpace.RGB):
            samples = self.as_picture(samples)
            alpha = None if alpha is None else alpha - self.space.samples + _CHANNELS_OF_COLOR
        labels = _whole(_single(samples, alpha, path), path)
        if self.lossy and not np.isin(labels, (0, 255)).all():
            raise SemiGDAError(
                f"“{path}” has a lossy compression such as JPEG, which changes values, so it is no label "
                "map. Save it as PNG, or as TIFF with lossless compression."
            )
        return labels

    def _seen(self, color: Array) -> Array:
        convert: dict[ColorSpace, Callable[[Array], Array]] = {
            ColorSpace.GRAY: self._full_range,
            ColorSpace.RGB: self._full_range,
            ColorSpace.WHITE_IS_ZERO: lambda color: self._full_range(_inverted(color, self.bits)),
            ColorSpace.PALETTE: self._colored,
            ColorSpace.CMYK: lambda color: _from_cmyk(self._full_range(color)),
            ColorSpace.YCBCR: lambda color: _from_ycbcr(color, self.ycbcr),
            ColorSpace.CIELAB: lambda color: _from_lab(color, signed=True),
            ColorSpace.ICCLAB: lambda color: _from_lab(color, signed=False),
        }
        return convert[self.space](color)

    def _full_range(self, samples: Array) -> Array:
        """Stretch what has less than eight bits; one bit of gray stays black and white."""
        if self.bits == 0 or self.bits >= 8 or (self.bits == 1 and samples.shape[-1] == 1):
            return samples
        return _eight_bits(samples, self.bits)

    def _colored(self, index: Array) -> Array:
        if self.palette is None:
            return index
        colors: Array = self.palette[index[..., 0].astype(np.intp)]
        return colors


def meaning_of_page(page: Page, tif: tifffile.TiffFile, path: Path) -> Interpretation:
    """Return what the samples of a page of a TIFF mean, or raise `SemiGDAError` where they cannot be read."""
    key = keyframe(page)
    if key.dtype is None or np.dtype(key.dtype).kind not in "buif":
        raise SemiGDAError(
            f"“{path}” holds numbers of the type {key.dtype}, which are not gray values. "
            "Save it as real numbers, such as the magnitude."
        )
    floating = np.dtype(key.dtype).kind == "f"
    bits = 0 if floating else int(key.bitspersample)
    space = _color_space(key, tif, path)
    extra = [int(one) for one in key.extrasamples][-max(key.samplesperpixel - space.samples, 0) :]
    opacity = next((index for index, kind in enumerate(extra) if kind in (1, 2)), None)
    if key.samplesperpixel <= space.samples:
        opacity = None
    _refuse_unknown_numbers(key, space, bits, path)
    palette = None
    if space is ColorSpace.PALETTE:
        given = np.asarray(key.tags.valueof(_COLOR_MAP)).reshape(3, -1).T
        palette = (given if given.max() < 256 else given >> 8).astype(np.uint8)
    return Interpretation(
        space,
        bits,
        alpha=None if opacity is None else space.samples + opacity,
        premultiplied=opacity is not None and extra[opacity] == 1,
        palette=palette,
        raw_labels=tif.is_imagej or (bits == 1 and _is_of_python(tif)),
        lossy=is_lossy(page),
        ycbcr=_ycbcr(key),
    )


def _color_space(key: tifffile.TiffPage, tif: tifffile.TiffFile, path: Path) -> ColorSpace:
    photometric = key.tags.valueof(_PHOTOMETRIC)
    if photometric is None:
        photometric = PHOTOMETRIC.RGB if key.samplesperpixel in (3, 4) else PHOTOMETRIC.MINISBLACK
    if photometric == PHOTOMETRIC.PALETTE and (tif.is_imagej or key.tags.valueof(_COLOR_MAP) is None):
        return ColorSpace.GRAY  # in ImageJ's files the values count, and the palette is decoration
    known = {
        PHOTOMETRIC.MINISWHITE: ColorSpace.WHITE_IS_ZERO,
        PHOTOMETRIC.MINISBLACK: ColorSpace.GRAY,
        PHOTOMETRIC.MASK: ColorSpace.GRAY,
        PHOTOMETRIC.DEPTH_MAP: ColorSpace.GRAY,
        PHOTOMETRIC.LINEAR_RAW: ColorSpace.GRAY,
        PHOTOMETRIC.RGB: ColorSpace.RGB,
        PHOTOMETRIC.PALETTE: ColorSpace.PALETTE,
        PHOTOMETRIC.YCBCR: ColorSpace.RGB if comes_as_rgb(key) else ColorSpace.YCBCR,
        PHOTOMETRIC.CIELAB: ColorSpace.CIELAB,
        PHOTOMETRIC.ICCLAB: ColorSpace.ICCLAB,
    }
    if photometric == PHOTOMETRIC.SEPARATED and key.tags.valueof(_INK_SET, _CMYK_INKS) == _CMYK_INKS:
        space = ColorSpace.CMYK
    elif photometric in known:
        space = known[photometric]
    else:
        raise SemiGDAError(
            f"“{path}” has colors of an unsupported kind (PhotometricInterpretation {int(photometric)}). "
            "Save it as RGB or gray."
        )
    if key.compression == tifffile.COMPRESSION.APERIO_JP2000_YCBC and space is ColorSpace.RGB:
        space = ColorSpace.YCBCR
    if space is ColorSpace.RGB and key.samplesperpixel < 3:
        return ColorSpace.GRAY
    if key.samplesperpixel < space.samples:
        raise ValueError(f"it has {key.samplesperpixel} samples a pixel, too few for {space.value}")
    return space


def _refuse_unknown_numbers(key: tifffile.TiffPage, space: ColorSpace, bits: int, path: Path) -> None:
    """Refuse numbers that no rule turns into colors."""
    kind = np.dtype(key.dtype).kind
    converted = {ColorSpace.YCBCR, ColorSpace.CIELAB, ColorSpace.ICCLAB}
    wrong = space in converted and (kind not in "ui" or bits not in (8, 16))
    wrong |= space is ColorSpace.CMYK and kind not in "buf"
    wrong |= space is ColorSpace.PALETTE and (kind not in "ub" or bits > 16)
    if wrong:
        raise SemiGDAError(
            f"“{path}” stores its colors ({space.value}) in {key.bitspersample} bits of the kind "
            f"{key.dtype}, which is not supported. Save it as RGB or gray."
        )


def _is_of_python(tif: tifffile.TiffFile) -> bool:
    """Return whether tifffile has written a file: it stores True as black, unasked."""
    first = tif.pages[0]
    return isinstance(first, tifffile.TiffPage) and str(first.software).startswith("tifffile")


def _ycbcr(key: tifffile.TiffPage) -> tuple[float, ...]:
    weights = _ratios(key.tags.valueof(_COEFFICIENTS), 3) or (0.299, 0.587, 0.114)
    limits = _ratios(key.tags.valueof(_REFERENCE), 6) or (0, 255, 128, 255, 128, 255)
    if weights[1] <= 0 or any(limits[at] >= limits[at + 1] for at in (0, 2, 4)):
        return Interpretation().ycbcr
    return (*weights, *limits)


def _ratios(value: Any, count: int) -> tuple[float, ...] | None:
    """Read what a tag stores as numerators and denominators; None where it does not."""
    if not isinstance(value, Sequence) or len(value) != 2 * count or not all(value[1::2]):
        return None
    return tuple(number_in(over / under) for over, under in zip(value[::2], value[1::2], strict=True))


def upright(pixels: Array, orientation: int) -> Array:
    """Turn an array (H, W, …) upright, as an orientation of TIFF or EXIF, 1 to 8, says."""
    if orientation in (5, 6, 7, 8):
        pixels = np.swapaxes(pixels, 0, 1)
    if orientation in (2, 3, 6, 7):
        pixels = pixels[:, ::-1]
    if orientation in (3, 4, 7, 8):
        pixels = pixels[::-1]
    return pixels


# Colors -----------------------------------------------------------------------------------------------


def _eight_bits(samples: Array, bits: int) -> Array:
    """Stretch samples of less than eight bits over the range of eight."""
    if not 0 < bits < 8:
        return samples
    most = 2**bits - 1
    return np.asarray((samples.astype(np.uint16) * 255 + most // 2) // most, np.uint8)


def _inverted(samples: Array, bits: int) -> Array:
    """Exchange black and white; of floating-point numbers, which have no white, change the sign."""
    if samples.dtype.kind == "b":
        return ~samples
    if samples.dtype.kind == "u":
        return np.asarray(samples.dtype.type(2**bits - 1) - samples)
    return np.asarray(~samples if samples.dtype.kind == "i" else -samples)


def _divided(color: Array, alpha: Array) -> Array:
    """Undo the multiplication of colors by their opacity."""
    if color.dtype.kind == "f":
        shown = alpha[..., None] > 0
        full = np.where(shown, color / np.where(shown, alpha[..., None], 1), 0)
        return np.asarray(full, color.dtype)
    most = np.iinfo(color.dtype).max
    opacity = alpha[..., None].astype(np.uint64)
    full = np.minimum(color.astype(np.uint64) * np.uint64(most) // np.maximum(opacity, 1), most)
    return np.where(opacity > 0, full, 0).astype(color.dtype)


def _from_cmyk(inks: Array) -> Array:
    if inks.dtype.kind != "u":
        return np.asarray((1 - inks[..., :3]) * (1 - inks[..., 3:]))
    most = np.uint64(np.iinfo(inks.dtype).max)
    left = most - inks.astype(np.uint64)
    return np.asarray((left[..., :3] * left[..., 3:] + most // np.uint64(2)) // most, inks.dtype)


def _from_ycbcr(stored: Array, given: tuple[float, ...]) -> Array:
    red, green, blue, *limits = given
    most = np.iinfo(stored.dtype).max
    scale = most / 255
    parts = []
    for number, span in enumerate((255, 127, 127)):
        black, white = (limit * scale for limit in limits[2 * number : 2 * number + 2])
        parts.append((stored[..., number].astype(np.float32) - black) * (span * scale / (white - black)))
    y, cb, cr = parts
    r = y + cr * (2 - 2 * red)
    b = y + cb * (2 - 2 * blue)
    g = (y - red * r - blue * b) / green
    return np.asarray(np.clip(np.rint(np.stack([r, g, b], axis=-1)), 0, most), stored.dtype)


_XYZ_TO_RGB = np.array(  # sRGB, from a white point of D50, which Lab has in TIFF
    [
        [3.1338561, -1.6168667, -0.4906146],
        [-0.9787684, 1.9161415, 0.0334540],
        [0.0719453, -0.2289914, 1.4052427],
    ],
    np.float32,
)
_D50 = np.array([0.9642, 1.0, 0.8249], np.float32)


def _from_lab(stored: Array, *, signed: bool) -> Array:
    most = float(np.iinfo(stored.dtype).max)
    step = (most + 1) / 256  # of a and b
    if signed:
        lightness = stored[..., :1].astype(np.float32) * (100 / most)
        signs = stored[..., 1:].astype(stored.dtype.newbyteorder("=")).view(f"i{stored.dtype.itemsize}")
        colors = signs.astype(np.float32) / step
    else:
        lightness = stored[..., :1].astype(np.float32) * (100 / (255 * step))
        colors = stored[..., 1:].astype(np.float32) / step - 128
    fy = (lightness + 16) / 116
    f = np.concatenate([fy + colors[..., :1] / 500, fy, fy - colors[..., 1:] / 200], axis=-1)
    xyz = np.where(f > 6 / 29, f**3, (f - 4 / 29) * 3 * (6 / 29) ** 2) * _D50
    linear = np.clip(xyz @ _XYZ_TO_RGB.T, 0, 1)
    rgb = np.where(linear > 0.0031308, 1.055 * linear ** (1 / 2.4) - 0.055, 12.92 * linear)
    return np.asarray(np.rint(np.clip(rgb, 0, 1) * most).astype(stored.dtype))


# Label maps -------------------------------------------------------------------------------------------


def _is_drawn(index: Array, palette: Array) -> bool:
    """Return whether any of the indices in use is transparent."""
    if palette.shape[1] == _CHANNELS_OF_COLOR:
        return False
    used = np.unique(index).astype(np.intp)
    transparent = used[palette[used, _CHANNELS_OF_COLOR] == 0]
    return bool(transparent.any())


def _indices(index: Array, palette: Array, path: Path, *, shades: bool) -> Array:
    """Use the indices of a palette as classes, unless it has only grays, which may be meant instead."""
    used = np.union1d(index, [0]).astype(np.intp)
    colors = palette[used][:, :_CHANNELS_OF_COLOR].astype(int)
    grays = colors[:, 0]
    if (colors != colors[:, :1]).any() or (grays == used).all():
        return index
    is_contrary = (np.diff(grays) < 0).any() or (len(used) == 1 and grays[0] == np.iinfo(np.uint8).max)
    # Too dark to be told apart by eye: gray values that a program has renumbered.
    is_dark = grays.max() < _DARK and (np.diff(grays) > 0).all()
    if not (is_contrary or is_dark or shades):
        return index
    if not shades and (len(used) > 2 or not np.isin(grays, (0, 255)).all()):
        raise SemiGDAError(
            f"“{path}” numbers its shades of gray in another order than their brightness, or with another "
            "start, so its classes are unclear. Save it as gray values, without a palette."
        )
    return palette[index.astype(np.intp)][..., 0]


def _as_shown(samples: Array, meaning: Interpretation, path: Path) -> Array:
    """Exchange black and white of a mask that has nothing else."""
    most = 1 if samples.dtype.kind == "b" else 2**meaning.bits - 1
    first = samples[..., :1]
    if meaning.bits == 0 or not np.isin(first, (0, most)).all():
        raise SemiGDAError(
            f"“{path}” stores white as 0 (“WhiteIsZero”) and has other values than black and white, so it is "
            "unclear whether the stored or the displayed values are the classes. Save it with black as 0."
        )
    return np.concatenate([_inverted(first, meaning.bits), samples[..., 1:]], axis=-1)


def _single(samples: Array, alpha: int | None, path: Path) -> Array:
    """Return the one value of each pixel, or of what is drawn on a transparent background."""
    samples = samples[..., None] if samples.ndim == 2 else samples
    opacity = samples[..., alpha] if alpha is not None and samples.shape[-1] > alpha else None
    count = samples.shape[-1]
    colors = samples[..., : _CHANNELS_OF_COLOR if count in (3, 4) else 1 if opacity is not None else count]
    if opacity is None:
        return _gray(colors, samples, path)
    most = _most(opacity)
    if (opacity == most).all():
        return _gray(colors, colors, path)
    if not np.isin(opacity, (0, most)).all():
        raise SemiGDAError(
            f"“{path}” is partly semi-transparent, so it is unclear where its objects end. "
            "Save it without transparency, or without smoothed edges."
        )
    return _drawn(colors, opacity > 0, path)


def _gray(colors: Array, samples: Array, path: Path) -> Array:
    if colors.shape[-1] > 1 and not (colors == colors[..., :1]).all():  # what is no number equals nothing
        raise SemiGDAError(
            f"“{path}” is a color image, not a label map. Save it with one value for each class, such as PNG "
            "with a palette, or gray values 0, 1, 2, …"
        )
    others = samples[..., colors.shape[-1] :]
    if others.size and (others != others[:1, :1]).any():
        raise SemiGDAError(
            f"“{path}” has an unknown channel beside its colors, so its classes are unclear. "
            "Save it as gray values only."
        )
    return colors[..., 0]


def _drawn(colors: Array, opaque: NDArray[np.bool_], path: Path) -> Array:
    """Read a mask that was drawn on a transparent background: the object, or classes as gray values."""
    drawn = colors[opaque]
    if not len(drawn):
        raise SemiGDAError(
            f"“{path}” is completely transparent, so it is unclear where its objects are. "
            "Save it without transparency."
        )
    if (drawn == drawn[:1]).all():
        color = drawn[0]
        is_object = (color != color[0]).any() or color[0] in (0, np.iinfo(np.uint8).max, _most(colors))
        return np.where(opaque, np.uint8(255) if is_object else color[0], 0)
    if (drawn != drawn[:, :1]).any() or (drawn == 0).any():
        raise SemiGDAError(
            f"“{path}” has several colors on a transparent background, so its classes are unclear. Save it "
            "without transparency, with one value for each class."
        )
    return np.where(opaque, colors[..., 0], 0)


def _most(values: Array) -> Any:
    return np.iinfo(values.dtype).max if values.dtype.kind in "ui" else 1


def _whole(values: Array, path: Path) -> NDArray[np.integer]:
    if values.dtype.kind == "b":
        return values.astype(np.uint8)
    if values.dtype.kind == "f":
        whole = (
            values.astype(np.int64) if np.isfinite(values).all() and np.abs(values).max() < 2**53 else None
        )
        if whole is None or not (whole == values).all():
            raise SemiGDAError(f"“{path}” holds fractions, so it is not a label map. Save it with integers.")
        return whole
    if values.dtype.kind not in "ui":
        raise SemiGDAError(f"“{path}” holds values of the type {values.dtype}, so it is not a label map.")
    return values.astype(values.dtype.newbyteorder("="), copy=False)
