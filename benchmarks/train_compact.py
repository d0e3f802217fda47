"""Train the autoencoder of the preset `compact` on generated pictures and label maps.

    OMP_NUM_THREADS=1 python benchmarks/train_compact.py OUTPUT --seconds 3600 --evaluate PACK ...

Half of what it sees are label maps as images, half pictures, all drawn by
`variety`: no real image takes part, the packs named by `--evaluate` are only
looked at. ImageFeatures get noise while training, so that the decoder puts up with the imperfect ones a
segmentation network predicts. The exponential moving average of the weights is written to
OUTPUT/compact.safetensors (float16) and OUTPUT/compact.json at every evaluation; OUTPUT/checkpoint.pt
lets a stopped run go on (`--resume`, with other pictures than an unstopped run would have seen).
"""

from __future__ import annotations

import argparse
import itertools
import json
import math
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from diffusers import AutoencoderKL
from numpy.typing import NDArray
from safetensors.torch import save_file

from mask_round_trip import measure
from variety import random_image, random_labels

CONFIG = {
    # Squares of 2 × 2 pixels are channels of the network, so that nothing is computed at full size.
    "in_channels": 12,
    "out_channels": 12,
    "down_block_types": ["DownEncoderBlock2D"] * 3,
    "up_block_types": ["UpDecoderBlock2D"] * 3,
    "block_out_channels": [16, 32, 64],
    "layers_per_block": 1,
    "act_fn": "silu",
    "latent_channels": 4,
    "norm_num_groups": 8,
    "sample_size": 64,
    "mid_block_add_attention": False,
}
PATCH = 2
CANVAS = 256
CROPS = ((64, 16, 0.55), (96, 8, 0.2), (128, 4, 0.15), (224, 2, 0.1))
"""Side of a crop in pixels, crops a step, share of the steps."""
FIRST_LOG_VARIANCE = -5.0


class Pool:
    """Generated canvases to take crops from; every step some are replaced by new ones.

    Parameters
    ----------
    rng
        Source of randomness.
    count
        Canvases of each kind held at a time.
    """

    def __init__(self, rng: np.random.Generator, count: int) -> None:
        self._rng = rng
        self._labels = np.stack([self._draw_labels() for _ in range(count)])
        self._images = np.stack([random_image(rng, CANVAS) for _ in range(count)])

    def _draw_labels(self) -> NDArray[np.uint8]:
        classes = 2 if self._rng.random() < 0.6 else int(self._rng.integers(3, 9))
        return random_labels(self._rng, CANVAS, classes)

    def refresh(self) -> None:
        """Replace one canvas of each kind."""
        slot = self._rng.integers(len(self._labels))
        self._labels[slot] = self._draw_labels()
        self._images[slot] = random_image(self._rng, CANVAS)

    def masks(self, count: int, side: int) -> torch.Tensor:
        """Draw label maps as (count, 3, side, side) images of colors at the corners of [-1, 1]³."""
        canvases = self._rng.choice(len(self._labels), count)
        return _as_batch([self._color(self._labels[i], side) for i in canvases])

    def images(self, count: int, side: int) -> torch.Tensor:
        """Draw pictures, (count, 3, side, side) in [-1, 1]."""
        canvases = self._rng.choice(len(self._images), count)
        return _as_batch([self._crop(self._images[i], side) / np.float32(127.5) - 1 for i in canvases])

    def _color(self, labels: NDArray[np.uint8], side: int) -> NDArray[np.float32]:
        return _palette(self._rng, labels)[self._crop(labels, side)]

    def _crop(self, canvas: NDArray[np.uint8], side: int) -> NDArray[np.uint8]:
        """Cut a square, half of the time zoomed by nearest neighbor, flipped and turned at random."""
        zoom = np.exp(self._rng.uniform(-0.5, 0.7)) if self._rng.random() < 0.5 else 1.0
        zoom = min(zoom, CANVAS / side)
        rows, columns = (
            (offset + np.arange(side) * zoom).clip(max=CANVAS - 1).astype(int)
            for offset in self._rng.uniform(0, CANVAS - side * zoom, 2)
        )
        cut = canvas[rows][:, columns]
        cut = np.rot90(cut, self._rng.integers(4))
        return cut[::-1] if self._rng.random() < 0.5 else cut


def _palette(rng: np.random.Generator, labels: NDArray[np.uint8]) -> NDArray[np.float32]:
    """Give the color of each class: black and white for two, else different corners of the color cube."""
    corners = np.array(list(itertools.product([-1, 1], repeat=3)), dtype=np.float32)
    if labels.max() > 1:
        return corners[rng.permutation(8)]
    return corners[[0, 7]] if rng.random() < 0.85 else corners[[7, 0]]


def _as_batch(pictures: Sequence[NDArray]) -> torch.Tensor:
    return torch.from_numpy(np.ascontiguousarray(np.stack(pictures).transpose(0, 3, 1, 2), dtype=np.float32))


def moments_of(model: AutoencoderKL, pictures: torch.Tensor) -> torch.Tensor:
    """Encode (B, 3, H, W) to means and log-variances, (B, 8, H/8, W/8) float32."""
    moments: torch.Tensor = model.quant_conv(model.encoder(F.pixel_unshuffle(pictures, PATCH))).float()
    return moments


def pictures_of(model: AutoencoderKL, latents: torch.Tensor) -> torch.Tensor:
    """Decode (B, 4, H/8, W/8) to (B, 3, H, W) float32."""
    return F.pixel_shuffle(model.decoder(model.post_quant_conv(latents)).float(), PATCH)


def new_autoencoder() -> AutoencoderKL:
    """Build the untrained network, its latents nearly certain at first."""
    model = AutoencoderKL(**CONFIG)
    with torch.no_grad():
        model.quant_conv.weight[4:] *= 0.1
        model.quant_conv.bias[4:] = FIRST_LOG_VARIANCE
    return model


def losses(
    model: AutoencoderKL, masks: torch.Tensor, images: torch.Tensor, noise: float
) -> dict[str, torch.Tensor]:
    """Reconstruct masks and images and say how far off they are.

    Parameters
    ----------
    model
        The autoencoder.
    masks, images
        (B, 3, H, W) in [-1, 1].
    noise
        Largest standard deviation of the noise added to latents, in standard deviations of the latents;
        each item draws its own up to it.
    """
    target = torch.cat([masks, images])
    mean, log_variance = moments_of(model, target).chunk(2, dim=1)
    log_variance = log_variance.clamp(-20, 10)
    strength = noise * torch.rand(len(mean), 1, 1, 1) * mean.detach().std(dim=(0, 2, 3), keepdim=True)
    spread = torch.sqrt(torch.exp(log_variance) + strength**2)
    latent = mean + spread * torch.randn_like(mean)
    mask_output, image_output = pictures_of(model, latent).split([len(masks), len(images)])
    return {
        "mask": F.l1_loss(mask_output, masks) + F.mse_loss(mask_output, masks),
        "margin": F.relu(0.7 - mask_output * masks).mean(),
        "image": F.l1_loss(image_output, images) + F.mse_loss(image_output, images),
        "kl": 0.5 * (mean**2 + log_variance.exp() - 1 - log_variance).mean(),
    }


WEIGHTS = {"mask": 1.0, "margin": 2.0, "image": 1.0, "kl": 1e-4}


class Muon(torch.optim.Optimizer):
    """Momentum whose update of each convolution kernel is made orthogonal (Jordan et al., 2024).

    A kernel is taken as the matrix (out, in * height * width). Five Newton-Schulz iterations bring the
    singular values of its averaged gradient to about one, so that rare directions, such as those thin
    walls need, are learned as fast as common ones.
    """

    def __init__(self, kernels: Sequence[torch.nn.Parameter], lr: float, momentum: float = 0.95) -> None:
        super().__init__(kernels, {"lr": lr, "momentum": momentum})

    @torch.no_grad()
    def step(self) -> None:  # type: ignore[override]
        """Move every kernel once."""
        for group in self.param_groups:
            for kernel in group["params"]:
                average = self.state[kernel].setdefault("average", torch.zeros_like(kernel))
                average.lerp_(kernel.grad, 1 - group["momentum"])
                update = orthogonalise(kernel.grad.lerp(average, group["momentum"]).flatten(1))
                # The factor gives the update the root mean square that Adam's has, so both share a rate.
                update *= 0.2 * math.sqrt(max(update.shape))
                kernel.mul_(1 - 0.01 * group["lr"])
                kernel.sub_(update.reshape(kernel.shape), alpha=group["lr"])


def orthogonalise(matrix: torch.Tensor) -> torch.Tensor:
    """Bring the singular values of a (rows, columns) matrix near one."""
    tall = matrix.shape[0] > matrix.shape[1]
    result = (matrix.T if tall else matrix) / (matrix.norm() + 1e-7)
    for _ in range(5):
        square = result @ result.T
        result = 3.4445 * result + (2.0315 * square @ square - 4.7750 * square) @ result
    return result.T if tall else result


class Average:
    """Exponential moving average of a module's parameters."""

    def __init__(self, model: torch.nn.Module, decay: float) -> None:
        self.values = {name: value.detach().clone() for name, value in model.state_dict().items()}
        self._decay = decay

    def update(self, model: torch.nn.Module, step: int) -> None:
        """Take in the weights as they are after ``step`` steps."""
        decay = min(self._decay, (1 + step) / (10 + step))
        for name, value in model.state_dict().items():
            self.values[name].lerp_(value, 1 - decay)


def learning_rate(progress: float, highest: float) -> float:
    """Warm up over the first hundredth of the run, then fall along a cosine to a hundredth."""
    if progress < 0.01:
        return highest * (0.05 + 0.95 * progress / 0.01)
    return highest * (0.01 + 0.99 * 0.5 * (1 + math.cos(math.pi * min(1.0, progress))))


def crop_sizes(rng: np.random.Generator) -> Iterator[tuple[int, int]]:
    """Give side and number of crops for one step after another."""
    shares = [share for _, _, share in CROPS]
    while True:
        side, count, _ = CROPS[rng.choice(len(CROPS), p=shares)]
        yield side, count


@torch.no_grad()
def scale_latents(model: AutoencoderKL, pool: Pool) -> None:
    """Give latents of generated masks and images a spread of one; what is decoded stays the same.

    So the scaling factor is 1, and the posterior's noise, which the paper adds to the scaled mean without
    scaling it, is in the mean's units.
    """
    batches = [draw(16, 128) for draw in (pool.masks, pool.images) for _ in range(4)]
    channels = CONFIG["latent_channels"]
    factor = 1 / torch.cat([moments_of(model, batch)[:, :channels] for batch in batches]).std()
    model.quant_conv.weight[:channels] *= factor
    model.quant_conv.bias[:channels] *= factor
    model.quant_conv.bias[channels:] += 2 * factor.log()
    model.post_quant_conv.weight /= factor


def export(values: dict[str, torch.Tensor], pool: Pool, folder: Path) -> AutoencoderKL:
    """Write the weights as float16 with their configuration, and give the network as it will be read back."""
    model = AutoencoderKL(**CONFIG).eval()
    model.load_state_dict(values)
    scale_latents(model, pool)
    stored = {name: value.half().contiguous() for name, value in model.state_dict().items()}
    save_file(stored, folder / "compact.safetensors")
    config = {"_class_name": "AutoencoderKL", **CONFIG, "scaling_factor": 1.0}
    (folder / "compact.json").write_text(json.dumps(config, indent=2) + "\n", encoding="utf-8")
    model.load_state_dict({name: value.float() for name, value in stored.items()})
    return model


class Training:
    """A run that can be stopped at any evaluation and taken up again.

    Parameters
    ----------
    options
        As on the command line; with `resume`, the state in the output folder is taken up.
    """

    def __init__(self, options: argparse.Namespace) -> None:
        torch.manual_seed(options.seed)
        self.options = options
        self.model = new_autoencoder()
        self.average = Average(self.model, decay=0.998)
        kernels = [parameter for parameter in self.model.parameters() if parameter.ndim == 4]
        others = [parameter for parameter in self.model.parameters() if parameter.ndim != 4]
        self.optimizers = [
            Muon(kernels, options.rate),
            torch.optim.Adam(others, options.rate, betas=(0.9, 0.98)),
        ]
        self.step, self.elapsed = 0, 0.0
        if options.resume:
            self._restore()
        rng = np.random.default_rng([options.seed, self.step])
        self.pool = Pool(rng, options.pool)
        self._sizes = crop_sizes(rng)
        self._running: dict[str, float] = {}

    def run(self) -> None:
        """Train until the time is over, with an evaluation now and then and one at the end."""
        next_evaluation = self.elapsed + self.options.every
        while self.elapsed < self.options.seconds:
            started = time.perf_counter()
            self._advance()
            self.elapsed += time.perf_counter() - started
            if next_evaluation <= self.elapsed < self.options.seconds:
                next_evaluation += self.options.every
                self._evaluate()
        self._evaluate()

    def _advance(self) -> None:
        """Take one optimizer step."""
        progress = self.elapsed / self.options.seconds
        for optimizer in self.optimizers:
            optimizer.param_groups[0]["lr"] = learning_rate(progress, self.options.rate)
        side, count = next(self._sizes)
        if self.step % 4 == 0:
            self.pool.refresh()
        masks, images = self.pool.masks(count // 2, side), self.pool.images(count // 2, side)
        with torch.autocast("cpu", torch.bfloat16, enabled=self.options.bfloat16 and progress < 0.9):
            terms = losses(self.model, masks, images, self.options.noise)
        self.model.zero_grad(set_to_none=True)
        sum((WEIGHTS[name] * term for name, term in terms.items()), torch.zeros(())).backward()
        torch.nn.utils.clip_grad_norm_(self.model.parameters(), 1.0)
        for optimizer in self.optimizers:
            optimizer.step()
        self.step += 1
        self.average.update(self.model, self.step)
        for name, term in terms.items():
            self._running[name] = 0.98 * self._running.get(name, term.item()) + 0.02 * term.item()

    @torch.no_grad()
    def _evaluate(self) -> None:
        """Write weights and state; print and keep step, seconds, losses, and Dice of twenty masks a pack."""
        output = self.options.output
        exported = export(self.average.values, self.pool, output)
        self._save()

        def round_trip(image: torch.Tensor) -> torch.Tensor:
            return pictures_of(exported, moments_of(exported, image)[:, : CONFIG["latent_channels"]])

        line: dict[str, float] = {"step": self.step, "seconds": round(self.elapsed)}
        line |= {name: round(value, 4) for name, value in self._running.items()}
        for folder in self.options.evaluate:
            line[folder.name] = round(measure(round_trip, folder, size=224, limit=20).mean_dice, 4)
        with (output / "curve.jsonl").open("a", encoding="utf-8") as curve:
            curve.write(json.dumps(line) + "\n")
        print(json.dumps(line), flush=True)

    def _save(self) -> None:
        state = {
            "model": self.model.state_dict(),
            "optimizers": [optimizer.state_dict() for optimizer in self.optimizers],
            "average": self.average.values,
            "step": self.step,
            "elapsed": self.elapsed,
        }
        torch.save(state, self.options.output / "checkpoint.pt")

    def _restore(self) -> None:
        state = torch.load(self.options.output / "checkpoint.pt", weights_only=True)
        self.model.load_state_dict(state["model"])
        for optimizer, saved in zip(self.optimizers, state["optimizers"], strict=True):
            optimizer.load_state_dict(saved)
        self.average.values = state["average"]
        self.step, self.elapsed = state["step"], state["elapsed"]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("output", type=Path, help="folder for weights, checkpoint and curve")
    parser.add_argument("--seconds", type=float, default=3600, help="length, evaluations not counted")
    parser.add_argument("--every", type=float, default=240, help="seconds between evaluations")
    parser.add_argument("--evaluate", type=Path, nargs="*", default=[], help="packs whose masks are tried")
    parser.add_argument("--seed", type=int, default=20261123)
    parser.add_argument("--rate", type=float, default=2e-3, help="highest learning rate")
    parser.add_argument("--noise", type=float, default=0.25, help="largest noise, in spreads of the latents")
    parser.add_argument("--pool", type=int, default=1000, help="canvases of each kind held at a time")
    parser.add_argument("--bfloat16", action="store_true", help="autocast, for processors with bf16 units")
    parser.add_argument("--resume", action="store_true", help="go on from OUTPUT/checkpoint.pt")
    options = parser.parse_args()
    options.output.mkdir(parents=True, exist_ok=True)
    Training(options).run()


if __name__ == "__main__":
    main()
