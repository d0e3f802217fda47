"""Which format to export to, and the options that belong to it."""

from dataclasses import fields

from qtpy.QtCore import Qt
from qtpy.QtWidgets import QCheckBox, QComboBox, QLabel, QSpinBox, QWidget

from napari_semigda.session.exporting.formats import FORMATS, STACKS, Format
from napari_semigda.widgets.panels.parts import Rows, set_up_number, wrapped

LARGEST_MINIMUM = 10**6  # pixels
WITH_DRAFTS_TIP = (
    "Write the drafts of images that are not accepted, too, and fill in with drafts what was marked as not "
    "looked at. Otherwise only accepted masks are written."
)
POLYGONS_TIP = (
    "Outlines, which every program reads, but which round corners and have no holes. Run lengths are exact "
    "to the pixel."
)

_STACKS = {
    "image": ("one file for each image", "A plane a file."),
    "file": (
        "one file for each image file",
        "The planes of a z- or time-stack go into one stack again; those that are not exported are marked as "
        "not looked at.",
    ),
    "session": (
        "one file for all images",
        "A stack with all masks; the images must be of one size and pixel size.",
    ),
}


class FormatChoice(QWidget):
    """A list of formats; below it what can be said about the chosen one, and nothing else.

    Attributes
    ----------
    formats : QComboBox
        The formats, by key.
    with_drafts : QCheckBox
        Whether drafts stand in for what nobody accepted; not for formats that predict.
    """

    def __init__(self) -> None:
        super().__init__()
        self.formats = QComboBox()
        for format in FORMATS.values():
            self.formats.addItem(format.title, format.key)
            place = self.formats.count() - 1
            self.formats.setItemData(place, wrapped(format.about), Qt.ItemDataRole.ToolTipRole)
        self.with_drafts = QCheckBox("Also drafts that nobody accepted")
        self.with_drafts.setToolTip(wrapped(WITH_DRAFTS_TIP))
        self.stacks = QComboBox()
        for stacks in STACKS:
            title, tip = _STACKS[stacks]
            self.stacks.addItem(title, stacks)
            self.stacks.setItemData(self.stacks.count() - 1, wrapped(tip), Qt.ItemDataRole.ToolTipRole)
        self.stacks.setToolTip(wrapped("What goes into one file."))
        self.minimum_size = QSpinBox()
        tip = "Connected parts with fewer pixels are left out."
        set_up_number(self.minimum_size, 1, 1, LARGEST_MINIMUM, 1, tip)
        self.minimum_size.setPrefix("at least ")
        self.minimum_size.setSuffix(" px")
        self.polygons = QCheckBox("Polygons instead of run lengths")
        self.polygons.setToolTip(wrapped(POLYGONS_TIP))
        self.contact_sheet = QCheckBox("And one sheet with all of them")
        self.contact_sheet.setToolTip(
            wrapped("contact_sheet.png: all images in rows, with outlines and names.")
        )
        self.contact_sheet.setChecked(True)
        self._size_label = QLabel("Objects")
        self._lay_out()
        self.formats.currentIndexChanged.connect(self._show_options)
        self._show_options()

    def format(self) -> Format:
        """Return the chosen format with its options."""
        chosen = self._chosen()
        values = {
            "stacks": self.stacks.currentData(),
            "minimum_size": self.minimum_size.value(),
            "polygons": self.polygons.isChecked(),
            "contact_sheet": self.contact_sheet.isChecked(),
        }
        return chosen(**{field.name: values[field.name] for field in fields(chosen)})

    def include_predicted(self) -> bool:
        """Whether drafts are wanted, as far as the format asks."""
        return not self._chosen().predicts and self.with_drafts.isChecked()

    def choose(self, key: str) -> None:
        """Choose the format with this key."""
        self.formats.setCurrentIndex(self.formats.findData(key))

    def _chosen(self) -> type[Format]:
        return FORMATS[self.formats.currentData()]

    def _lay_out(self) -> None:
        rows = Rows(self)
        rows.setContentsMargins(0, 0, 0, 0)
        rows.add(self.formats)
        rows.add(self.with_drafts)
        rows.add(self.stacks)
        rows.add(self._size_label, self.minimum_size, shares=(3, 9))
        rows.add(self.polygons)
        rows.add(self.contact_sheet)

    def _show_options(self) -> None:
        chosen = self._chosen()
        self.formats.setToolTip(wrapped(chosen.about))
        options = {field.name for field in fields(chosen)}
        self.with_drafts.setVisible(not chosen.predicts)
        self.stacks.setVisible("stacks" in options)
        for part in (self._size_label, self.minimum_size):
            part.setVisible("minimum_size" in options)
        self.polygons.setVisible("polygons" in options)
        self.contact_sheet.setVisible("contact_sheet" in options)
