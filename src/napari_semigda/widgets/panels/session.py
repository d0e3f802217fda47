"""Panel 1: which session is open, how far it is, and which weights it uses."""

from functools import partial
from html import escape
from pathlib import Path

from napari.components import ViewerModel
from napari.layers import Image
from platformdirs import user_data_path
from qtpy.QtCore import Signal  # type: ignore[attr-defined]
from qtpy.QtWidgets import QDialog, QFileDialog, QWidget

from napari_semigda.session.items import ItemState
from napari_semigda.session.session import Session
from napari_semigda.session.trained_model import weights_in_words
from napari_semigda.widgets.controller import Controller
from napari_semigda.widgets.layer_choice import AddLayersDialog
from napari_semigda.widgets.panels.names import elided
from napari_semigda.widgets.panels.new_session import NewSessionDialog
from napari_semigda.widgets.panels.panel import ActionButton, MenuAction, MenuButton, Rows, sentence, thin_bar
from napari_semigda.widgets.panels.question import ask
from napari_semigda.widgets.panels.recent import last_folder, recent_sessions, remember_session
from napari_semigda.widgets.panels.session_plan import LayerSource, plan_of_samples
from napari_semigda.widgets.panels.tips import wrapped

DEVICE_TIP = "Computed on {}. Another device: File › Preferences › SemiGDA."
HINT = (
    "A session is a folder that keeps your masks, the drafts and what the network has learned; your images "
    "stay where they are. Make one of your images, or try it with drawn ones."
)
NO_LAYERS = "No image layer is open in napari besides those of the session."
GO_ON = "Go on with it"
NONE_BEFORE = "No other session was open before, or none is where it was."
ENTRY_WIDTH = 420  # pixels
IN_THE_MAKING = "A session is being made."


class SessionPanel(QWidget):
    """Open or make a session; counts and weights of the open one.

    Attributes
    ----------
    summed_up : Signal
        Emitted with the session's name and how far it is, for where there is one line only.
    """

    summed_up = Signal(str)

    def __init__(self, controller: Controller, viewer: ViewerModel) -> None:
        super().__init__()
        self._controller = controller
        self._viewer = viewer
        self.hint = sentence()
        self.hint.setText(HINT)
        self.name = sentence()
        self.weights = sentence()
        self.share = thin_bar("Share of the images that are accepted.")
        self.open = ActionButton("Open…", "Open a session folder that was made before.", self._open)
        self.recent = MenuButton("Recent…", "Open a session that was open before.")
        self.recent.entries.aboutToShow.connect(self._list_recent)
        self.new = ActionButton(
            "New…", "Make a session from a folder of images, or from image layers open in napari.", self._new
        )
        self.add = MenuButton("Add…", "Add images to this session; those there are stay as they are.")
        self.add_files = MenuAction(
            self.add.entries, "Files…", "Add picture files.", lambda: self._add(self._ask_for_files())
        )
        self.add_folder = MenuAction(
            self.add.entries,
            "A folder…",
            "Add the pictures of a folder that are not in the session yet.",
            lambda: self._add(self._ask_for_folder()),
        )
        self.add_layers = MenuAction(
            self.add.entries,
            "Layers…",
            "Add image layers open in napari; every plane of a stack is an image.",
            self._add_layers,
        )
        self.add.entries.aboutToShow.connect(self._allow_layers)
        self.find_moved = MenuAction(
            self.add.entries,
            "Find moved images…",
            "Images that are not where they were are looked for by their names, in a folder and below.",
            self._find_moved,
        )
        self.samples = ActionButton(
            "Try with drawn samples",
            "A session of 44 bundled pictures of lesions and cells.",
            self._try_samples,
        )
        self.close_session = ActionButton(
            "Close",
            "Keep what was painted and close the session; all of it is in its folder.",
            controller.close,
        )
        self._lay_out()
        controller.opened.connect(self._remember)
        for signal in (controller.closed, controller.creating):
            signal.connect(self._allow_recent)
        for signal in (controller.opened, controller.states_changed, controller.closed, controller.creating):
            signal.connect(self._refresh)
        controller.progress.changed.connect(self._refresh_weights)
        self._refresh()
        self._allow_recent()

    def _lay_out(self) -> None:
        rows = Rows(self)
        for part in (self.hint, self.name, self.share, self.weights):
            rows.add(part)
        rows.add(self.open, self.recent, self.new)
        rows.add(self.add, self.close_session)
        rows.add(self.samples)

    def _open(self) -> None:
        folder = QFileDialog.getExistingDirectory(self, "Open a session folder", str(self._usual_place()))
        if folder:
            self._controller.open(Path(folder))

    def _list_recent(self) -> None:
        entries = self.recent.entries
        entries.clear()
        for folder in self._other_sessions():
            name = elided(f"{folder.name}  ({folder.parent})", entries.fontMetrics(), ENTRY_WIDTH)
            open_it = partial(self._controller.open, folder)
            MenuAction(entries, name.replace("&", "&&"), f"Open {folder}", open_it)

    def _other_sessions(self) -> list[Path]:
        session = self._controller.session
        return [folder for folder in recent_sessions() if session is None or folder != session.folder]

    def _remember(self) -> None:
        """Remember which session is open, and offer those that were before."""
        session = self._controller.session
        if session is not None:
            remember_session(session.folder)
        self._allow_recent()

    def _allow_recent(self) -> None:
        busy = IN_THE_MAKING if self._controller.is_creating else None
        self.recent.allow(busy or (None if self._other_sessions() else NONE_BEFORE))

    def _new(self) -> None:
        dialog = NewSessionDialog(self._other_layers(), self._usual_place(), self)
        if dialog.exec() == QDialog.DialogCode.Accepted:
            plan = dialog.plan()
            self._controller.create(plan.make)
            if isinstance(plan.source, LayerSource):
                _hide(plan.source)
        dialog.deleteLater()

    def _other_layers(self) -> list[Image]:
        """The image layers that do not belong to the session on the screen."""
        return [
            layer
            for layer in self._viewer.layers
            if isinstance(layer, Image) and not self._controller.canvas.owns(layer)
        ]

    def _ask_for_files(self) -> list[Path]:
        paths, _ = QFileDialog.getOpenFileNames(self, "Add images", str(self._usual_place()))
        return [Path(path) for path in paths]

    def _ask_for_folder(self) -> list[Path]:
        folder = QFileDialog.getExistingDirectory(self, "Add a folder of images", str(self._usual_place()))
        return [Path(folder)] if folder else []

    def _add(self, images: list[Path]) -> None:
        if images:
            self._controller.add_images(images)

    def _add_layers(self) -> None:
        dialog = AddLayersDialog(self._other_layers(), self)
        if dialog.exec() == QDialog.DialogCode.Accepted:
            source = dialog.layers.source()
            self._controller.add_layers(source)
            _hide(source)
        dialog.deleteLater()

    def _allow_layers(self) -> None:
        self.add_layers.allow(None if self._other_layers() else NO_LAYERS)

    def _find_moved(self) -> None:
        folder = QFileDialog.getExistingDirectory(self, "Where are the images now?", str(self._usual_place()))
        if folder:
            self._controller.find_moved_images(Path(folder))

    def _try_samples(self) -> None:
        folder = user_data_path("napari-semigda") / "samples"
        if not (folder / "semigda.json").exists():
            self._controller.create(plan_of_samples(folder).make)
        elif (answer := self._ask_about_samples(folder)) == GO_ON:
            self._controller.open(folder)
        elif answer is not None:
            number = next(n for n in range(2, 10_000) if not folder.with_name(f"samples-{n}").exists())
            self._controller.create(plan_of_samples(folder.with_name(f"samples-{number}")).make)

    def _ask_about_samples(self, folder: Path) -> str | None:
        """Ask whether to go on with the samples of last time."""
        words = f"There is a session of drawn samples from before, in\n{folder}"
        return ask(self, "Drawn samples", words, (GO_ON, "Make a new one"), by_enter=GO_ON)

    def _usual_place(self) -> Path:
        session = self._controller.session
        return last_folder() if session is None else session.folder.parent

    def _refresh(self) -> None:
        session = self._controller.session
        for part in (self.name, self.share, self.weights):
            part.setVisible(session is not None)
        self.hint.setVisible(session is None)
        self.samples.setVisible(session is None)
        self.close_session.allow("No session is open." if session is None else None)
        self._allow_adding()
        busy = IN_THE_MAKING if self._controller.is_creating else None
        for button in (self.open, self.new, self.samples):
            button.allow(busy)
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
            parts.append("1 draft" if drafts == 1 else f"{drafts} drafts")
        if skipped := counts[ItemState.SKIPPED]:
            parts.append(f"{skipped} skipped")
        looking = " (looking only)" if session.read_only is not None else ""
        self.name.setText(f"<b>{escape(session.folder.name)}</b>{looking}: {', '.join(parts)}")
        self.name.setToolTip(
            wrapped(session.read_only or f"{session.folder}\nIn training {session.settings.in_words()}.")
        )
        self.summed_up.emit(f"{session.folder.name}: {parts[0]}")
        self.share.setMaximum(max(len(session.items), 1))
        self.share.setValue(accepted)

    def _allow_adding(self) -> None:
        session, why_not = self._controller.session, None
        if session is None:
            why_not = "No session is open."
        elif session.read_only is not None:
            why_not = session.read_only
        elif self._controller.is_creating:
            why_not = IN_THE_MAKING
        elif self._controller.progress.active:
            why_not = "The session is opened anew to add images: stop the round first, or let it end."
        self.add.allow(why_not)

    def _refresh_weights(self) -> None:
        self._allow_adding()
        session = self._controller.session
        if session is not None:
            runner = self._controller.runner
            drafting = None if runner is None else runner.engine.drafting_round
            self.weights.setText(_weights_in_words(session, drafting))
            if runner is not None:
                self.weights.setToolTip(wrapped(DEVICE_TIP.format(runner.engine.device)))


def _hide(source: LayerSource) -> None:
    """Hide layers whose planes are shown one by one from now on."""
    for layer in source.layers:
        layer.visible = False


def _weights_in_words(session: Session, drafting: int | None) -> str:
    """Say what drafts come from: weights of a session, or those of the running round so far."""
    model = session.last_model()
    source = "" if session.weights is None else f" with {session.weights.name}"
    if drafting and (model is None or drafting != int(model.parent.name)):
        return f"Weights: of round {drafting} so far (preset {session.preset}{source})"
    if model is None and session.starts_trained:
        return f"Weights: those that {session.preset} comes with, until the first round"
    if model is None:
        return f"Weights: none yet (preset {session.preset}{source})"
    return f"Weights: of {weights_in_words(model)} (preset {session.preset}{source})"
