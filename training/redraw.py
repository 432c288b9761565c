"""A network that redraws a picture under a condition: an hourglass with bridges, told at every scale what is wanted."""

from __future__ import annotations

import torch
from torch import nn
from torch.nn import functional

WIDTHS = (24, 48, 96, 136)
"""Channels at a half, a quarter, an eighth and a sixteenth of the picture's side."""

_HASTE = 4.0
"""How many times faster than other weights those of the condition change: few, they decide the whole picture."""


def conv(inputs: int, outputs: int, stride: int = 1) -> nn.Sequential:
    """Convolution of 3x3 and leaky ReLU of slope 0.1."""
    made = nn.Conv2d(inputs, outputs, 3, stride, 1)
    nn.init.kaiming_normal_(made.weight, 0.1, 'fan_out' if stride == 1 else 'fan_in')
    nn.init.zeros_(made.bias)
    return nn.Sequential(made, nn.LeakyReLU(0.1, inplace=True))


class Residual(nn.Module):
    """Two convolutions and the way around them, which is all there is at first.

    Nothing is normalised over the batch: the scale of a picture is what is to be learned (Lim et al., "EDSR", 2017),
    and few pictures of many lights have no common statistics.
    """

    def __init__(self, width: int) -> None:
        super().__init__()
        self.first = conv(width, width)
        self.second = nn.Conv2d(width, width, 3, 1, 1)
        nn.init.normal_(self.second.weight, std=1e-3)
        nn.init.zeros_(self.second.bias)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """(N, width, H, W) to the same."""
        out: torch.Tensor = x + self.second(self.first(x))
        return out


class Told(nn.Module):
    """Scales and shifts channels by the condition (Perez et al., "FiLM", 2018)."""

    def __init__(self, conditions: int, width: int) -> None:
        super().__init__()
        self.width = width
        self.values = nn.Linear(conditions, 2 * width)
        nn.init.zeros_(self.values.bias)
        nn.init.normal_(self.values.weight, std=0.05)

    def forward(self, x: torch.Tensor, condition: torch.Tensor) -> torch.Tensor:
        """(N, width, H, W) and (N, conditions) to (N, width, H, W)."""
        values = _HASTE * self.values(condition).view(-1, 2 * self.width, 1, 1)
        out: torch.Tensor = x * (1 + values[:, : self.width]) + values[:, self.width :]
        return out


class Rise(nn.Module):
    """To twice the size, with the bridge from the way down and the condition."""

    def __init__(self, conditions: int, inputs: int, outputs: int) -> None:
        super().__init__()
        self.narrow = nn.Conv2d(inputs, outputs, 1)
        self.told = Told(conditions, outputs)
        self.refined = Residual(outputs)

    def forward(self, x: torch.Tensor, bridge: torch.Tensor, condition: torch.Tensor) -> torch.Tensor:
        """(N, inputs, H, W) and (N, outputs, 2H, 2W) to (N, outputs, 2H, 2W)."""
        x = functional.interpolate(self.narrow(x), scale_factor=2.0, mode='nearest')
        out: torch.Tensor = self.refined(self.told(x + bridge, condition))
        return out


class Redraw(nn.Module):
    """(N, 3, 256, 256) and (N, conditions) to (N, outputs, 256, 256), without a bound on the values.

    ``coarse``: how many further outputs there are at a quarter of the side, (N, coarse, 64, 64), for what is smooth.
    """

    def __init__(self, conditions: int, outputs: int, coarse: int = 0, side: int = 256) -> None:
        super().__init__()
        a, b, c, d = WIDTHS
        self.stem = conv(12, a)
        self.down_4 = nn.Sequential(conv(a, b, 2), Residual(b))
        self.down_8 = nn.Sequential(conv(b, c, 2), Residual(c))
        self.down_16 = nn.Sequential(conv(c, d, 2), Residual(d))
        # The crop is aligned: where a place is says much of what is there.
        self.place = nn.Parameter(torch.zeros(1, d, side // 16, side // 16))
        self.told = Told(conditions, d)
        self.middle = nn.Sequential(Residual(d), Residual(d))
        self.up_8, self.up_4, self.up_2 = Rise(conditions, d, c), Rise(conditions, c, b), Rise(conditions, b, a)
        self.last = nn.Conv2d(a, 4 * outputs, 3, 1, 1)
        self.fields = nn.Conv2d(b, coarse, 3, 1, 1) if coarse else None
        for made in (self.last, self.fields):
            if made is not None:
                nn.init.normal_(made.weight, std=1e-3)
                nn.init.zeros_(made.bias)
        self.tint = nn.Linear(conditions, outputs, bias=False)
        nn.init.zeros_(self.tint.weight)

    def forward(self, x: torch.Tensor, condition: torch.Tensor) -> torch.Tensor:
        """Redraw."""
        return self.both(x, condition)[0]

    def both(self, x: torch.Tensor, condition: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor | None]:
        """Redraw, and give the fields."""
        x2 = self.stem(functional.pixel_unshuffle(x, 2))
        x4 = self.down_4(x2)
        x8 = self.down_8(x4)
        x16 = self.middle(self.told(self.down_16(x8) + self.place, condition))
        y4 = self.up_4(self.up_8(x16, x8, condition), x4, condition)
        y2 = self.up_2(y4, x2, condition)
        tint = _HASTE * self.tint(condition)
        out = functional.pixel_shuffle(self.last(y2), 2) + tint.view(tint.shape[0], -1, 1, 1)
        return out, None if self.fields is None else self.fields(y4)
