"""Layers that the networks are made of."""

from __future__ import annotations

import torch
from torch import nn


def conv(inputs: int, outputs: int, kernel: int = 3, stride: int = 1) -> nn.Sequential:
    """Convolution, batch normalisation and leaky ReLU of slope 0.1, as in YOLOv4-tiny."""
    return nn.Sequential(
        nn.Conv2d(inputs, outputs, kernel, stride, kernel // 2, bias=False),
        nn.BatchNorm2d(outputs),
        nn.LeakyReLU(0.1, inplace=True),
    )


class Residual(nn.Module):
    """Two convolutions and the way around them (He et al., 2016)."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.first = conv(width, width)
        self.second = nn.Sequential(nn.Conv2d(width, width, 3, 1, 1, bias=False), nn.BatchNorm2d(width))
        self.end = nn.LeakyReLU(0.1, inplace=True)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """(N, width, H, W) to the same."""
        out: torch.Tensor = self.end(x + self.second(self.first(x)))
        return out


class CrossStage(nn.Module):
    """The cross-stage block of YOLOv4-tiny: half of the channels go through two convolutions, all meet again.

    Wang et al., "Scaled-YOLOv4", CVPR 2021; cfg/yolov4-tiny.cfg of AlexeyAB/darknet.
    """

    def __init__(self, width: int) -> None:
        super().__init__()
        self.begin = conv(width, width)
        self.first = conv(width // 2, width // 2)
        self.second = conv(width // 2, width // 2)
        self.join = conv(width, width, 1)

    def forward(self, x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """(N, width, H, W) to the block's features, and to those with its input beside them, (N, 2 width, H, W)."""
        x = self.begin(x)
        first = self.first(x[:, x.shape[1] // 2 :])
        joined = self.join(torch.cat([self.second(first), first], 1))
        return joined, torch.cat([x, joined], 1)
