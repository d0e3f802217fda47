"""Nuclei under the microscope, fetched on demand: the images of the 2018 Data Science Bowl.

Image set BBBC038v1 of the Broad Bioimage Benchmark Collection (Caicedo et al., Nature Methods 2019), in the
public domain (CC0): 670 images of many kinds, each with a mask of every nucleus.
"""

import tempfile
import zipfile
from collections import defaultdict
from collections.abc import Iterable
from contextlib import suppress
from functools import reduce
from pathlib import Path, PurePosixPath
from typing import Any, NamedTuple

import imageio.v3 as iio
import numpy as np
from numpy.typing import NDArray

from napari_semigda.errors import SemiGDAError
from napari_semigda.pace import Cancel, Progress, check

WHOLE = 1000  # of which the download is one half, the unpacking the other
_TIMEOUT_SECONDS = 10.0
_PIECE = 2**16


class Archive(NamedTuple):
    """A zip file on the network: its address, and its checksum in hexadecimal digits."""

    url: str
    sha256: str

    @property
    def name(self) -> str:
        """Its file name."""
        return PurePosixPath(self.url).name


# The collection publishes no checksum. Others who downloaded the archive pin this one, independently of each
# other; on GitHub, for one, fsantibanezleal/CAOS_FrothSeg: data/derived/real-adjacent-dataset-manifest.json.
NUCLEI = Archive(
    "https://data.broadinstitute.org/bbbc/BBBC038/stage1_train.zip",
    "dcb6edc2690f137406638b2309581a71522c4dff19157d118453b448dcddcb68",
)


def fetch_nuclei(
    folder: Path,
    progress: Progress | None = None,
    cancelled: Cancel | None = None,
    archive: Archive = NUCLEI,
) -> list[tuple[Path, Path]]:
    """Return the paths of images of nuclei and their masks, downloaded (83 MB) if they are not there.

    Pairs of PNG files of one name, 8 bit: images gray or RGB, masks 0 and 255. They are kept in `images` and
    `masks` of the folder, which is complete afterwards, or not there. The archive has a folder for each
    image, with one file in `images` and any number in `masks`. Raises a `SemiGDAError` if they could not be
    downloaded or written, or the checksum differs.
    """
    if not any((folder / "images").glob("*.png")):
        watch = _Watch(progress, cancelled)
        try:
            folder.parent.mkdir(parents=True, exist_ok=True)
            with tempfile.TemporaryDirectory(prefix=".nuclei-", dir=folder.parent) as temporary:
                unpacked = Path(temporary) / "unpacked"
                _unpack(_download(archive, folder.parent, Path(temporary), watch), unpacked, watch)
                with suppress(OSError):  # empty folders that an emptied cache left; nothing else goes
                    for left in (folder / "images", folder / "masks", folder):
                        left.rmdir()
                unpacked.rename(folder)
        except OSError as error:
            reason = error.strerror or str(error)
            raise SemiGDAError(f"The nuclei could not be saved in “{folder}”: {reason}.") from error
    return [(image, folder / "masks" / image.name) for image in sorted((folder / "images").glob("*.png"))]


class _Watch:
    """Reports progress of download and unpacking, and stops them when asked; pooch's progress bar."""

    def __init__(self, progress: Progress | None, cancelled: Cancel | None) -> None:
        self._progress, self._cancelled = progress, cancelled
        self.total = self._done = 0  # bytes of the download

    def at(self, half: int, share: float) -> None:
        check(self._cancelled)
        if self._progress is not None:
            self._progress(round((half + min(share, 1)) * WHOLE / 2), WHOLE)

    def update(self, more: int) -> None:
        self._done += more
        self.at(0, self._done / max(self.total, 1))

    def reset(self) -> None:
        self._done = 0

    def close(self) -> None:
        pass


def _download(archive: Archive, home: Path, temporary: Path, watch: Any) -> Path:
    """Download an archive, unless somebody has put it into `home`; returns where it is."""
    try:
        import pooch
        import requests
    except ImportError as error:
        raise SemiGDAError("Fetching the nuclei needs the package pooch: pip install pooch") from error

    downloader = pooch.HTTPDownloader(progressbar=watch, chunk_size=_PIECE, timeout=_TIMEOUT_SECONDS)
    pooch.get_logger().setLevel("WARNING")
    target = home if (home / archive.name).is_file() else temporary
    try:
        return Path(
            pooch.retrieve(archive.url, f"sha256:{archive.sha256}", archive.name, target, None, downloader)
        )
    except ValueError as error:
        raise SemiGDAError(
            f"The file from {archive.url} was not used: its checksum differs. It may be a login page of the "
            "network. Try another network."
        ) from error
    except requests.RequestException as error:
        raise SemiGDAError(
            f"The nuclei could not be downloaded from {archive.url}. Check the network and try again. Or "
            f"download the file on another machine, put it into “{home}”, and try again. The sample lesions "
            "and cells need no network."
        ) from error


def _unpack(path: Path, folder: Path, watch: _Watch) -> None:
    with zipfile.ZipFile(path) as archive:
        images, masks = _by_image(archive.namelist())
        for subfolder in ("images", "masks"):
            (folder / subfolder).mkdir(parents=True)
        for number, (identity, entry) in enumerate(sorted(images.items())):
            watch.at(1, number / len(images))
            name = f"{identity}.png"
            iio.imwrite(folder / "images" / name, _without_alpha(_read(archive, entry)))
            nuclei = (_read(archive, one) > 0 for one in masks[identity])
            iio.imwrite(folder / "masks" / name, reduce(np.logical_or, nuclei).astype(np.uint8) * 255)


def _by_image(entries: Iterable[str]) -> tuple[dict[str, str], dict[str, list[str]]]:
    """The image and the masks of each folder of an archive that has both."""
    images: dict[str, str] = {}
    masks: defaultdict[str, list[str]] = defaultdict(list)
    for entry in entries:
        *_, identity, kind, file = ("", "", *PurePosixPath(entry).parts)
        if not file.endswith(".png"):
            continue
        if kind == "images":
            images[identity] = entry
        elif kind == "masks":
            masks[identity].append(entry)
    return {identity: entry for identity, entry in images.items() if identity in masks}, masks


def _read(archive: zipfile.ZipFile, entry: str) -> NDArray[np.uint8]:
    pixels: NDArray[np.uint8] = iio.imread(archive.read(entry), extension=".png")
    return pixels


def _without_alpha(pixels: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Drop transparency, and colors that are all the same."""
    if pixels.ndim == 2:
        return pixels
    colors = pixels[..., :3]
    gray = colors[..., :1]
    return gray[..., 0] if bool((colors == gray).all()) else colors
