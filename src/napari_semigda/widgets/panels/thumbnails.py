"""Small pictures of a session's items: made behind the scenes when they are looked at, and some kept."""

from collections import OrderedDict

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageOps
from qtpy.QtCore import QObject, Signal  # type: ignore[attr-defined]
from qtpy.QtGui import QIcon, QImage, QPixmap

from napari_semigda.errors import SemiGDAError
from napari_semigda.inference.preparation import normalize
from napari_semigda.io.bands import opened_copy
from napari_semigda.session.items import Item
from napari_semigda.session.session import Session
from napari_semigda.widgets.background import Background

SIDE = 32  # pixels
MOST_KEPT = 2000  # 8 MiB
MOST_WANTED = 40  # more rows than a table shows: those asked for before have been scrolled away
FINER = 4  # a large picture is thinned out to so many times the side before it is averaged


class Thumbnails(QObject):
    """The thumbnails of a session's items.

    Parameters
    ----------
    session : Session
        Whose pictures.

    Attributes
    ----------
    made : Signal
        Emitted with an item's id when `of` has its thumbnail.
    """

    made = Signal(str)

    def __init__(self, session: Session, parent: QObject | None = None) -> None:
        super().__init__(parent)
        self._session = session
        self._background = Background(self)
        self._kept: OrderedDict[str, QIcon] = OrderedDict()
        self._wanted: OrderedDict[str, Item] = OrderedDict()
        self._at_work = False

    def of(self, item: Item) -> QIcon | None:
        """Return an item's thumbnail; None while it is being made, an empty icon if it cannot be.

        What was asked for last is made first, for that is what is on the screen.
        """
        kept = self._kept.get(item.id)
        if kept is not None:
            self._kept.move_to_end(item.id)
            return kept
        self._wanted[item.id] = item
        self._wanted.move_to_end(item.id)
        while len(self._wanted) > MOST_WANTED:
            self._wanted.popitem(last=False)
        self._make_next()
        return None

    def close(self) -> None:
        """Make no more."""
        self._wanted.clear()
        self._background.close()

    def _make_next(self) -> None:
        if self._at_work or not self._wanted:
            return
        item_id, item = self._wanted.popitem()
        self._at_work = True
        self._background.do(
            lambda: thumbnail(self._session, item), lambda pixels: self._take(item_id, pixels)
        )

    def _take(self, item_id: str, pixels: NDArray[np.uint8] | None) -> None:
        self._at_work = False
        self._kept[item_id] = _icon(pixels)
        while len(self._kept) > MOST_KEPT:
            self._kept.popitem(last=False)
        self.made.emit(item_id)
        self._make_next()


def thumbnail(session: Session, item: Item, side: int = SIDE) -> NDArray[np.uint8] | None:
    """Make an item's thumbnail as the network sees its colors.

    Returns
    -------
    ndarray or None
        (side, side, 3), the middle of the picture; None where it cannot be read.
    """
    try:
        with opened_copy(session.plane(item), FINER * side) as pixels:
            step = max(1, max(pixels.shape[:2]) // (FINER * side))
            colors = normalize(pixels[::step, ::step], session.settings)
    except SemiGDAError:
        return None
    image = Image.fromarray(np.uint8((np.moveaxis(np.asarray(colors), 0, -1) + 1) * 127.5))
    return np.asarray(ImageOps.fit(image, (side, side)))


def _icon(pixels: NDArray[np.uint8] | None) -> QIcon:
    icon = QIcon()
    if pixels is not None:
        height, width, _ = pixels.shape
        image = QImage(pixels.tobytes(), width, height, 3 * width, QImage.Format.Format_RGB888)
        for mode in (QIcon.Mode.Normal, QIcon.Mode.Selected):  # a selected row's is not to be tinted
            icon.addPixmap(QPixmap.fromImage(image), mode)
    return icon
