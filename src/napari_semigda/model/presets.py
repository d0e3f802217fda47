"""Three sizes of the network: the paper's, a small one, and one that needs no download."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import torch

from napari_semigda.errors import SemiGDAError
from napari_semigda.model.adapters import SkipAdapters
from napari_semigda.model.annotation import class_palette
from napari_semigda.model.autoencoder import Autoencoder
from napari_semigda.model.encoder import ResidualEncoder
from napari_semigda.model.loading import load_autoencoder, load_start, random_autoencoder_of
from napari_semigda.model.mapping import LatentMapping
from napari_semigda.model.network import SemiGDANetwork


@dataclass(frozen=True)
class Preset:
    """A frozen autoencoder and the widths of the parts that learn around it.

    Attributes
    ----------
    name, description
        For menus.
    encoder_stem, encoder_widths, encoder_blocks
        Of E: channels at the finest level, then channels and number of blocks of each stage.
    linear_head, small_batches
        Departures of E from the paper's, see `ResidualEncoder`.
    mapping_width
        Width of 𝓜's outermost blocks.
    adapter_hidden
        Hidden channels of the skip adapters, finest level first; the paper's are the decoder's.
    default_working_size
        Side in pixels of what the network sees, unless the person chooses another.
    image_branch_share
        Weight of the image branch in predictions; the paper's is one half.
    """

    name: str
    description: str
    encoder_stem: int
    encoder_widths: tuple[int, ...]
    encoder_blocks: tuple[int, ...]
    linear_head: bool
    mapping_width: int
    adapter_hidden: tuple[int, ...]
    default_working_size: int
    small_batches: bool = False
    image_branch_share: float = 0.5


PRESETS: dict[str, Preset] = {
    preset.name: preset
    for preset in (
        Preset(
            name="compact",
            description="Small and quick, shipped with the package: needs no download and no graphics card",
            encoder_stem=32,
            encoder_widths=(64, 128),
            encoder_blocks=(1, 3),
            linear_head=True,
            mapping_width=16,
            adapter_hidden=(16, 32, 64),
            default_working_size=128,
            small_batches=True,
            image_branch_share=0.3,
        ),
        Preset(
            name="taesd",
            description="TAESD, Stable Diffusion's autoencoder made tiny (10 MB download): sharper, slower",
            encoder_stem=16,
            encoder_widths=(48, 96, 160),
            encoder_blocks=(1, 2, 2),
            linear_head=True,
            mapping_width=32,
            adapter_hidden=(8, 16, 32, 64),
            default_working_size=128,
        ),
        Preset(
            name="sd",
            description="The paper's, with Stable Diffusion's autoencoder (335 MB download): for a large GPU",
            encoder_stem=128,
            encoder_widths=(256, 512, 512),
            encoder_blocks=(3, 4, 6),
            linear_head=False,
            mapping_width=32,
            adapter_hidden=(128, 256, 512, 512),
            default_working_size=224,
        ),
    )
}


def build_model(
    preset: str,
    classes: int = 2,
    *,
    weights: Path | None = None,
    seed: int = 0,
    progress: Callable[[int, int], None] | None = None,
    cancelled: Callable[[], bool] | None = None,
    random_autoencoder: bool = False,
    pretrained: bool = True,
) -> SemiGDANetwork:
    """Build a network for a first round: a trained, frozen autoencoder and the parts that learn around it.

    Parameters
    ----------
    preset
        A name in `PRESETS`.
    classes
        Number of classes with the background, 2 to 254.
    weights
        The autoencoder's weights in a local file or folder; None takes the package's (compact) or the hub's,
        which are downloaded on first use.
    seed
        Of the random parts; the caller's random state is left alone.
    progress
        Called with bytes downloaded and bytes in all.
    cancelled
        Asked between two pieces of a download.
    random_autoencoder
        Take an autoencoder with random weights: for tests and speed measurements.
    pretrained
        Start "compact" with its own autoencoder from parts that tell objects from background on generated
        pictures (see `load_start`); False, or another preset or autoencoder: from random ones.

    Raises
    ------
    SemiGDAError
        If there is no such preset, or the weights cannot be had.
    Cancelled
        If `cancelled` said so.
    ValueError
        If the number of classes is out of range.
    """
    class_palette(classes)  # refuses a wrong number before anything is downloaded
    if preset not in PRESETS:
        raise SemiGDAError(f"There is no preset “{preset}”: choose {', '.join(PRESETS)}.")
    autoencoder = (
        random_autoencoder_of(preset, seed)
        if random_autoencoder
        else load_autoencoder(preset, weights, progress, cancelled)
    )
    model = assemble(PRESETS[preset], autoencoder, classes, seed)
    if pretrained and autoencoder.source == "package":
        model.load_trainable_state(load_start())
    return model


def starts_trained(preset: str, weights: Path | None = None) -> bool:
    """Whether all that learns was trained before in what `build_model` gives for these arguments."""
    return preset == "compact" and weights is None


def assemble(preset: Preset, autoencoder: Autoencoder, classes: int, seed: int = 0) -> SemiGDANetwork:
    """Put random parts of a preset's widths around an autoencoder."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        encoder = ResidualEncoder(
            preset.encoder_stem,
            preset.encoder_widths,
            preset.encoder_blocks,
            autoencoder.moment_channels,
            linear_head=preset.linear_head,
            patch=autoencoder.patch,
            small_batches=preset.small_batches,
        )
        hidden = preset.adapter_hidden
        return SemiGDANetwork(
            autoencoder,
            encoder,
            LatentMapping(preset.mapping_width, autoencoder.latent_channels),
            SkipAdapters(autoencoder.decoder_channels, autoencoder.level_channels, hidden),
            SkipAdapters(autoencoder.decoder_channels, encoder.channels, hidden),
            classes,
            preset.name,
            preset.image_branch_share,
        )
