"""VGG-19 with batch normalisation for 48×48 grey faces, as it is commonly trained on FER2013, and its features.

Configuration E of Simonyan and Zisserman (2015) without its two hidden layers of 4096, which a 48×48 image does not need: sixteen
convolutions in five stages, then one linear layer with dropout before it. Axes: N images, H×W pixels.
"""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor, nn

SIZE = 48
"""Height and width of a FER2013 image, in pixels."""
CROP = 44
"""Height and width of what the network is shown of it."""
EMOTIONS = ("angry", "disgust", "fear", "happy", "sad", "surprise", "neutral")
"""FER2013's classes by their numbers (Goodfellow et al., 2013)."""

_STAGES = ((1, 2), (2, 2), (4, 4), (8, 4), (8, 4))
"""Width, in units of the first convolution's, and number of convolutions of each stage."""


class Vgg19(nn.Module):
    """Grey faces to the logits of the seven emotions.

    Args:
        classes: number of classes.
        width: channels of the first convolution, an eighth of the features; 64 is VGG-19.
        dropout: before the classifier.

    Example:
        >>> network = Vgg19().eval()
        >>> network.features(torch.zeros(2, 1, 44, 44)).shape
        torch.Size([2, 512])
    """

    def __init__(self, classes: int = len(EMOTIONS), width: int = 64, dropout: float = 0.5) -> None:
        super().__init__()
        layers: list[nn.Module] = []
        channels = 1
        for factor, convolutions in _STAGES:
            for _ in range(convolutions):
                convolution = nn.Conv2d(channels, factor * width, 3, padding=1)
                layers += [convolution, nn.BatchNorm2d(factor * width), nn.ReLU(inplace=True)]
                channels = factor * width
            layers.append(nn.MaxPool2d(2))
        self.convolutions = nn.Sequential(*layers)
        self.dropout = nn.Dropout(dropout)
        self.classifier = nn.Linear(channels, classes)

    def features(self, x: Tensor) -> Tensor:
        """What the classifier is given.

        Args:
            x: (N, 1, H, W) grey levels in [0, 1]; H and W at least 32.

        Returns:
            (N, 8·width), none below 0.
        """
        pooled: Tensor = self.convolutions(x).mean(dim=(2, 3))  # up to 63×63 there is one position alone
        return pooled

    def forward(self, x: Tensor) -> Tensor:
        """(N, classes) logits of (N, 1, H, W) grey levels in [0, 1]."""
        logits: Tensor = self.classifier(self.dropout(self.features(x)))
        return logits


def centre_crops(images: Tensor) -> Tensor:
    """(N, 1, CROP, CROP): the middle of images (N, 1, H, W), what features are taken of."""
    top, left = (images.shape[2] - CROP) // 2, (images.shape[3] - CROP) // 2
    return images[:, :, top : top + CROP, left : left + CROP]


def ten_crop_logits(network: nn.Module, images: Tensor) -> Tensor:
    """The mean logits over the four corners and the middle of each image and their mirror images (Krizhevsky et al., 2012).

    Args:
        network: of (N, 1, CROP, CROP) to (N, classes).
        images: (N, 1, H, W).

    Returns:
        (N, classes) float32.
    """
    last = (images.shape[2] - CROP, images.shape[3] - CROP)
    corners = [(top, left) for top in (0, last[0]) for left in (0, last[1])]
    crops = [images[:, :, top : top + CROP, left : left + CROP] for top, left in corners]
    crops.append(centre_crops(images))
    stacked = torch.cat([*crops, *(crop.flip(3) for crop in crops)])
    logits: Tensor = network(stacked)
    return logits.float().view(10, len(images), -1).mean(0)


def from_published(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The state of a `Vgg19` from a published one whose grey image stood in three equal channels; it computes the same.

    Args:
        state: `features.0.weight` (64, 3, 3, 3), …, `classifier.weight`; one of our own is given back as it is.
    """
    ours = {name.replace("features.", "convolutions.", 1): tensor for name, tensor in state.items()}
    first = ours.get("convolutions.0.weight")
    if first is not None and first.ndim == 4:
        ours["convolutions.0.weight"] = first.sum(1, keepdim=True)
    return ours
