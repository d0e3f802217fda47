"""Three sizes of the network: the paper's, a small one, and one that needs no download."""

from dataclasses import dataclass
from pathlib import Path

from napari_semigda.errors import SemiGDAError


@dataclass(frozen=True)
class Preset:
    """Which frozen autoencoder, and the widths of the parts that learn around it."""

    name: str
    description: str  # for menus
    encoder_stem: int  # channels of E at the finest level
    encoder_widths: tuple[int, ...]  # and of each stage
    encoder_blocks: tuple[int, ...]
    linear_head: bool  # see `ResidualEncoder`
    mapping_width: int  # of 𝓜's outermost blocks
    adapter_hidden: tuple[int, ...]  # channels of the skip adapters, finest first; the paper's: the decoder's
    default_working_size: int  # side in pixels of what the network sees
    small_batches: bool = False  # see `ResidualEncoder`
    image_branch_share: float = 0.5  # of predictions, as in the paper

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
            description="Small and fast, included in the package: needs no download and no GPU",
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
            description="TAESD, a small Stable Diffusion autoencoder (10 MB download): sharper, slower",
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
