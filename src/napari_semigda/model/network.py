"""The assembled network (SemiGDA, arXiv 2604.23274)."""

from collections.abc import Iterable
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from napari_semigda.model.adapters import SkipAdapters
from napari_semigda.model.annotation import image_to_probabilities, labels_to_image
from napari_semigda.model.autoencoder import Autoencoder
from napari_semigda.model.encoder import ResidualEncoder
from napari_semigda.model.mapping import LatentMapping


@dataclass(frozen=True)
class Latents:
    """Both branches' latents of a batch of images, and the skips to decode them with.

    Attributes
    ----------
    image
        z_v, (B, 4, H/8, W/8): the autoencoder's latent of the image, sampled if noise was given; no gradient.
    mapped
        z̃_v = 𝓜(z_v), same shape: what the image branch decodes.
    encoded
        z_r, same shape, from E: what the mask branch decodes.
    image_skips, mask_skips
        Feature maps of the autoencoder's encoder (no gradient) and of E, finest first.
    """

    image: Tensor
    mapped: Tensor
    encoded: Tensor
    image_skips: tuple[Tensor, ...]
    mask_skips: tuple[Tensor, ...]


class SemiGDANetwork(nn.Module):
    """SemiGDA: two branches in the latent space of a frozen autoencoder.

    The image branch maps the image's latent to the mask's (𝓜) and decodes it with skips of the autoencoder's
    encoder; the mask branch predicts the mask's latent from the image (E) and decodes it with skips of E.

    Parameters
    ----------
    autoencoder
        Frozen; stays in evaluation mode.
    encoder, mapping, image_adapters, mask_adapters
        The four parts that learn.
    classes
        Number of classes with the background, 2 to 254.
    preset
        Name of the preset it was built from.
    image_branch_share
        Weight of the image branch in predictions, in [0, 1]; the paper's is one half.

    Attributes
    ----------
    shown : set of int
        Foreground classes that a mask has shown to it in training. With more than one foreground class no
        other is predicted: the color of a class that was added later and is in no mask yet would still be
        the nearest one here and there between two others. While it is empty, nothing is left out.
    """

    def __init__(
        self,
        autoencoder: Autoencoder,
        encoder: ResidualEncoder,
        mapping: LatentMapping,
        image_adapters: SkipAdapters,
        mask_adapters: SkipAdapters,
        classes: int,
        preset: str,
        image_branch_share: float = 0.5,
    ) -> None:
        super().__init__()
        self.autoencoder = autoencoder
        self.encoder = encoder
        self.mapping = mapping
        self.image_adapters = image_adapters
        self.mask_adapters = mask_adapters
        self.classes = classes
        self.preset = preset
        self.image_branch_share = image_branch_share
        self.shown: set[int] = set()

    @property
    def device(self) -> torch.device:
        """Where the network is."""
        return next(self.parameters()).device

    def latents(self, image: Tensor, noise: Tensor | None = None) -> Latents:
        """Compute both branches' latents.

        Parameters
        ----------
        image
            (B, 3, H, W) in [-1, 1]; H and W multiples of 8.
        noise
            (B, 4, H/8, W/8) standard normal: z_v is then mean + exp(log-variance / 2) · noise, as the paper's
            stage 2 does half of the time. None, or an autoencoder without log-variance: z_v is the mean.

        Raises
        ------
        ValueError
            If the height or width is no multiple of 8.
        """
        _check_size(image)
        encoding = self.autoencoder.encode(image)
        latent = encoding.mean
        if noise is not None and encoding.log_variance is not None:
            latent = latent + (encoding.log_variance / 2).exp() * noise
        features, moments = self.encoder(image)
        return Latents(
            image=latent,
            mapped=self.mapping(latent),
            encoded=self.autoencoder.latent_from_moments(moments),
            image_skips=encoding.skips,
            mask_skips=features,
        )

    @torch.no_grad()
    def mask_latent(self, labels: Tensor) -> Tensor:
        """Encode label maps: z_g (B, 4, H/8, W/8), the anchor of the alignment; no gradient.

        Parameters
        ----------
        labels
            (B, H, W), any integer type, values 0 to classes - 1: unknown pixels must have been replaced.

        Raises
        ------
        ValueError
            If a label is none of the classes, or the height or width is no multiple of 8.
        """
        _check_size(labels)
        return self.autoencoder.encode(labels_to_image(labels, self.classes)).mean

    def decode_image_branch(self, latents: Latents) -> Tensor:
        """Decode z̃_v with skips of the autoencoder: class probabilities (B, classes, H, W) float32."""
        return self._probabilities(latents.mapped, self.image_adapters, latents.image_skips)

    def decode_mask_branch(self, latents: Latents) -> Tensor:
        """Decode z_r with skips of E: class probabilities (B, classes, H, W) float32."""
        return self._probabilities(latents.encoded, self.mask_adapters, latents.mask_skips)

    def forward(self, image: Tensor) -> tuple[Tensor, Tensor]:
        """Predict by both branches, without noise.

        Parameters
        ----------
        image
            (B, 3, H, W) in [-1, 1]; H and W multiples of 8.

        Returns
        -------
        image_branch, mask_branch
            Class probabilities, (B, classes, H, W) float32 each; their mean, weighted by
            `image_branch_share`, is the prediction.
        """
        latents = self.latents(image)
        return self.decode_image_branch(latents), self.decode_mask_branch(latents)

    def parts(self) -> dict[str, nn.Module]:
        """The parts that learn, by name."""
        return {
            "mapping": self.mapping,
            "encoder": self.encoder,
            "image_adapters": self.image_adapters,
            "mask_adapters": self.mask_adapters,
        }

    def stage_one_parameters(self) -> dict[str, list[nn.Parameter]]:
        """Parameters that stage 1 trains, by part: the latents' alignment needs no adapters."""
        return {"mapping": list(self.mapping.parameters()), "encoder": list(self.encoder.parameters())}

    def trainable_state(self) -> dict[str, Tensor]:
        """Parameters and buffers (batch norm's) of the four parts; the tensors themselves, not copies."""
        return {
            f"{name}.{key}": value
            for name, part in self.parts().items()
            for key, value in part.state_dict().items()
        }

    def load_trainable_state(self, state: dict[str, Tensor]) -> None:
        """Copy the values of a `trainable_state` of an equal network into this one.

        Raises
        ------
        ValueError
            If names or shapes differ; nothing is changed then.
        """
        own = self.trainable_state()
        if differing := _differences(own, state):
            raise ValueError(
                f"These weights belong to a network of another shape: {', '.join(differing[:4])}."
            )
        with torch.no_grad():
            for name, tensor in own.items():
                tensor.copy_(state[name])

    def _probabilities(self, latent: Tensor, adapters: SkipAdapters, skips: Iterable[Tensor]) -> Tensor:
        decoded = self.autoencoder.decode(latent, adapters, tuple(skips))
        known = None if self.training or not self.shown else self.shown
        return image_to_probabilities(decoded, self.classes, known)


def _check_size(picture: Tensor) -> None:
    height, width = picture.shape[-2:]
    if height % 8 or width % 8:
        raise ValueError(
            f"The network takes heights and widths that are multiples of 8, not {height} × {width}."
        )


def _differences(own: dict[str, Tensor], other: dict[str, Tensor]) -> list[str]:
    return sorted(
        name
        for name in own.keys() | other.keys()
        if name not in own or name not in other or own[name].shape != other[name].shape
    )
