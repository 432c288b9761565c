"""From a trained network to the ONNX file that the package ships."""

from __future__ import annotations

import warnings
from typing import TYPE_CHECKING

import onnx
import torch

if TYPE_CHECKING:
    from pathlib import Path

    from torch import nn

OPSET = 13
"""TensorRT 8.6 and all later ones take it."""


def export(
    net: nn.Module, example: tuple[torch.Tensor, ...], file: Path, inputs: list[str], outputs: list[str]
) -> None:
    """Write the network with static shapes, batch normalisation folded into the convolutions, and check the file."""
    net = net.cpu().eval()
    with warnings.catch_warnings(), torch.no_grad():
        warnings.simplefilter('ignore')
        torch.onnx.export(
            net,
            example,
            str(file),
            input_names=inputs,
            output_names=outputs,
            opset_version=OPSET,
            dynamo=False,
            do_constant_folding=True,
        )
    model = onnx.load(str(file))
    model.producer_name, model.producer_version = 'facefusion_ros', ''
    model.doc_string = ''
    onnx.checker.check_model(model, full_check=True)
    onnx.save(model, str(file))
    print(f'{file}: {file.stat().st_size / 1e6:.2f} MB', flush=True)
