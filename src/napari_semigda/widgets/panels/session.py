"""Panel 1: which session is open, how far it is, and which weights it uses."""

import json
import os
from contextlib import suppress
from functools import partial
from html import escape
from pathlib import Path

from napari.components import ViewerModel
from napari.layers import Image
from platformdirs import user_data_path
from qtpy.QtCore import Signal  # type: ignore[attr-defined]
from qtpy.QtWidgets import QDialog, QFileDialog, QWidget

from napari_semigda.errors import SemiGDAError
from napari_semigda.io.atomic import write_json
from napari_semigda.io.pictures import MANIFEST_NAME
from napari_semigda.pace import counted
from napari_semigda.session.items import ItemState
from napari_semigda.session.session import Session
from napari_semigda.widgets.controller import Controller
from napari_semigda.widgets.panels.new_session import AddLayersDialog, NewSessionDialog
from napari_semigda.widgets.panels.parts import (
    ActionButton,
    MenuAction,
    MenuButton,
    Rows,
    ThinBar,
    ask,
    elided,
    wrapped,
    wrapping_label,
)
from napari_semigda.widgets.panels.session_plan import LayerSource, plan_of_samples
from napari_semigda.widgets.panels.status import weights_status

DEVICE_TIP = "Runs on {}. To change the device: File › Preferences › SemiGDA."
HINT = (
    "A session is a folder with your masks, the drafts and the trained network. Your images stay where they "
    "are. Create a session from your images, or try one with sample images."
)
NO_LAYERS = "No image layer is open in napari besides those of the session."
NO_SESSION = "No session is open."
OPEN, CREATE = "Open session", "Create new session"
NO_RECENT = "There is no other recent session, or its folder is missing."
ENTRY_WIDTH = 420  # pixels
CREATING = "A session is being created."
MOST_RECENT = 10
LARGEST_FILE = 2**16  # bytes: a larger list of recent sessions is not ours


class SessionPanel(QWidget):
    """Open or create a session; `summed_up` carries its name and progress, for the heading."""

    summed_up = Signal(str)

    def __init__(self, controller: Controller, viewer: ViewerModel) -> None:
        super().__init__()
        self._controller = controller
        self._viewer = viewer
        self.hint = wrapping_label(HINT)
        self.name, self.weights = wrapping_label(), wrapping_label()
        self.share = ThinBar("Share of the images that are accepted.")
        self.open = ActionButton("Open…", "Open the folder of an existing session.", self._open)
        self.recent = MenuButton("Recent…", "Open a session that was open before.")
        self.recent.entries.aboutToShow.connect(self._list_recent)
        self.new = ActionButton(
            "New…", "Create a session from a folder of images, or from image layers in napari.", self._new
        )
        self.add = MenuButton("Add…", "Add images to this session; its masks are kept.")
        self._fill_add_menu()
        self.samples = ActionButton(
            "Try sample images", "Create a session of 44 small images: lesions and cells.", self._try_samples
        )
        self.close_session = ActionButton(
            "Close", "Save what was painted, and close the session.", controller.close
        )
        rows = Rows(self)
        for part in (self.hint, self.name, self.share, self.weights):
            rows.add(part)
        rows.add(self.open, self.recent, self.new)
        rows.add(self.add, self.close_session)
        rows.add(self.samples)
        controller.opened.connect(self._remember)
        for signal in (controller.opened, controller.closed, controller.creating):
            signal.connect(self._allow_recent)
            signal.connect(self._refresh)
        controller.states_changed.connect(self._refresh)
        controller.progress.changed.connect(self._refresh_weights)
        self._refresh()
        self._allow_recent()

    def _fill_add_menu(self) -> None:
        menu = self.add.entries
        self.add_files = MenuAction(menu, "Files…", "Add image files.", self._add_files)
        self.add_folder = MenuAction(
            menu, "Folder…", "Add the images of a folder that are not in the session yet.", self._add_folder
        )
        self.add_layers = MenuAction(
            menu, "Layers…", "Add image layers; each plane of a stack becomes an image.", self._add_layers
        )
        self.find_moved = MenuAction(
            menu,
            "Find moved images…",
            "Search a folder, with its subfolders, for missing images by their names.",
            self._find_moved,
        )
        menu.aboutToShow.connect(lambda: self.add_layers.allow(None if self._other_layers() else NO_LAYERS))

    # Open and create ---------------------------------------------------------------------------

    def _open(self) -> None:
        if folder := self._ask_for_folder("Open a session folder"):
            self._controller.open(folder)

    def _list_recent(self) -> None:
        entries = self.recent.entries
        entries.clear()
        for folder in self._other_sessions():
            name = elided(f"{folder.name}  ({folder.parent})", entries.fontMetrics(), ENTRY_WIDTH)
            open_it = partial(self._controller.open, folder)
            MenuAction(entries, name, f"Open {folder}", open_it)

    def _other_sessions(self) -> list[Path]:
        session = self._controller.session
        return [folder for folder in recent_sessions() if session is None or folder != session.folder]

    def _remember(self) -> None:
        if self._controller.session is not None:
            remember_session(self._controller.session.folder)

    def _allow_recent(self) -> None:
        busy = CREATING if self._controller.is_creating else None
        self.recent.allow(busy or (None if self._other_sessions() else NO_RECENT))

    def _new(self) -> None:
        dialog = NewSessionDialog(self._other_layers(), self._usual_folder(), self)
        if dialog.exec() == QDialog.DialogCode.Accepted:
            plan = dialog.plan()
            self._controller.create(plan.make)
            if isinstance(plan.source, LayerSource):
                _hide(plan.source)
        dialog.deleteLater()

    def _try_samples(self) -> None:
        folder = user_data_path("napari-semigda") / "samples"
        if not (folder / MANIFEST_NAME).exists():
            self._controller.create(plan_of_samples(folder).make)
            return
        question = f"There is already a session of the sample images:\n{folder}"
        answer = ask(self, "Sample images", question, (OPEN, CREATE), by_enter=OPEN)
        if answer == OPEN:
            self._controller.open(folder)
        elif answer == CREATE:
            number = next(n for n in range(2, 10_000) if not folder.with_name(f"samples-{n}").exists())
            self._controller.create(plan_of_samples(folder.with_name(f"samples-{number}")).make)

    # Add images --------------------------------------------------------------------------------

    def _other_layers(self) -> list[Image]:
        """The image layers that are not the session's own."""
        owns = self._controller.canvas.owns
        return [layer for layer in self._viewer.layers if isinstance(layer, Image) and not owns(layer)]

    def _add_files(self) -> None:
        paths, _ = QFileDialog.getOpenFileNames(self, "Add images", str(self._usual_folder()))
        if paths:
            self._controller.add_images([Path(path) for path in paths])

    def _add_folder(self) -> None:
        if folder := self._ask_for_folder("Add a folder of images"):
            self._controller.add_images([folder])

    def _add_layers(self) -> None:
        dialog = AddLayersDialog(self._other_layers(), self)
        if dialog.exec() == QDialog.DialogCode.Accepted:
            source = dialog.layers.source()
            self._controller.add_layers(source)
            _hide(source)
        dialog.deleteLater()

    def _find_moved(self) -> None:
        if folder := self._ask_for_folder("Where are the images now?"):
            self._controller.find_moved_images(folder)

    def _ask_for_folder(self, title: str) -> Path | None:
        folder = QFileDialog.getExistingDirectory(self, title, str(self._usual_folder()))
        return Path(folder) if folder else None

    def _usual_folder(self) -> Path:
        session = self._controller.session
        return last_folder() if session is None else session.folder.parent

    # What is shown -----------------------------------------------------------------------------

    def _refresh(self) -> None:
        session = self._controller.session
        shown: tuple[QWidget, ...] = (self.name, self.share, self.weights)
        for part in (*shown, self.hint, self.samples):
            part.setVisible((session is not None) == (part in shown))
        self.close_session.allow(NO_SESSION if session is None else None)
        self._allow_adding()
        for button in (self.open, self.new, self.samples):
            button.allow(CREATING if self._controller.is_creating else None)
        if session is None:
            self.summed_up.emit("")
        else:
            self._show(session)
            self._refresh_weights()

    def _show(self, session: Session) -> None:
        counts = session.counts()
        accepted = counts[ItemState.ACCEPTED]
        parts = [f"{accepted} of {len(session.items)} accepted"]
        if drafts := counts[ItemState.DRAFT]:
            parts.append(counted(drafts, "draft"))
        if skipped := counts[ItemState.SKIPPED]:
            parts.append(f"{skipped} skipped")
        read_only = " (read-only)" if session.read_only is not None else ""
        self.name.setText(f"<b>{escape(session.folder.name)}</b>{read_only}: {', '.join(parts)}")
        self.name.setToolTip(
            wrapped(session.read_only or f"{session.folder}\nTraining uses {session.settings.in_words()}.")
        )
        self.summed_up.emit(f"{session.folder.name}: {parts[0]}")
        self.share.setMaximum(max(len(session.items), 1))
        self.share.setValue(accepted)

    def _allow_adding(self) -> None:
        why_not = NO_SESSION if self._controller.session is None else self._controller.why_no_change
        if why_not is None and self._controller.is_creating:
            why_not = CREATING
        elif why_not is None and self._controller.progress.active:
            why_not = "Adding images reopens the session: stop the round first, or wait until it ends."
        self.add.allow(why_not)

    def _refresh_weights(self) -> None:
        self._allow_adding()
        session, runner = self._controller.session, self._controller.runner
        if session is None:
            return
        self.weights.setText(
            weights_status(session, None if runner is None else runner.engine.drafting_round)
        )
        if runner is not None:
            self.weights.setToolTip(wrapped(DEVICE_TIP.format(runner.engine.device)))


def _hide(source: LayerSource) -> None:
    """Hide layers whose planes are shown one by one from now on."""
    for layer in source.layers:
        layer.visible = False


# Recent sessions, known from one start of napari to the next --------------------------------------------


def recent_sessions() -> list[Path]:
    """Return the folders of sessions that were open and still exist, the last one first."""
    return [folder for folder in _remembered() if os.path.isfile(folder / MANIFEST_NAME)]


def last_folder() -> Path:
    """Return the folder that holds the last session, or else the home folder."""
    parents = (folder.parent for folder in _remembered())
    return next((folder for folder in parents if os.path.isdir(folder)), Path.home())


def remember_session(folder: Path) -> None:
    """Put a session before all others; a convenience, so a failure to save is ignored."""
    folders = [folder, *(one for one in _remembered() if one != folder)]
    with suppress(SemiGDAError, OSError):
        _recent_file().parent.mkdir(parents=True, exist_ok=True)
        names = [str(one) for one in folders[:MOST_RECENT]]
        write_json(_recent_file(), {"sessions": names}, durable=False)


def _recent_file() -> Path:
    return user_data_path("napari-semigda") / "recent.json"


def _remembered() -> list[Path]:
    try:
        with _recent_file().open("rb") as file:
            found = json.loads(file.read(LARGEST_FILE))["sessions"]
    except (OSError, ValueError, LookupError, TypeError, RecursionError):
        return []
    known = found if isinstance(found, list) else []
    return [Path(one) for one in known if isinstance(one, str) and os.path.isabs(one)][:MOST_RECENT]
