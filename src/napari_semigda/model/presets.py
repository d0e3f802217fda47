"""Three sizes of the network: the paper's, a small one, and one that needs no download."""

from dataclasses import dataclass
from pathlib import Path

from napari_semigda.errors import SemiGDAError


@dataclass(frozen=True)
class Preset:
    """Which frozen autoencoder, and the widths of the parts that learn around it.

    Attributes
    ----------
    name, description
        For menus.
    encoder_stem, encoder_widths, encoder_blocks
        Of E: channels at the finest level, then channels and number of blocks of each stage.
    linear_head, small_batches
        Differences of E from the paper's, see `ResidualEncoder`.
    mapping_width
        Width of 𝓜's outermost blocks.
    adapter_hidden
        Hidden channels of the skip adapters, finest level first; the paper's are the decoder's.
    default_working_size
        Side in pixels of what the network sees, unless the user chooses another.
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

    @classmethod
    def named(cls, name: str) -> "Preset":
        """Return the preset of this name; a `SemiGDAError` lists those there are."""
        if name not in PRESETS:
            raise SemiGDAError(f"There is no preset “{name}”: choose {', '.join(PRESETS)}.")
        return PRESETS[name]


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


def starts_trained(preset: str, weights: Path | None = None) -> bool:
    """Return whether a new network with this preset and autoencoder starts from trained weights."""
    return preset == "compact" and weights is None
