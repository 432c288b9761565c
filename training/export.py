"""From a trained network to the ONNX file that the package ships."""

from __future__ import annotations

import warnings
from typing import TYPE_CHECKING

import onnx
import torch

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from torch import nn

OPSET = 13
"""TensorRT 8.6 and all later ones take it, and opset 16, the first that samples a picture where it is told to."""


def export(
    net: nn.Module,
    example: tuple[torch.Tensor, ...],
    file: Path,
    inputs: list[str],
    outputs: list[str],
    told: Mapping[str, str] | None = None,
    opset: int = OPSET,
) -> None:
    """Write the network with static shapes, batch normalisation folded into the convolutions, and check the file.

    ``told``: what the file says of itself beside its inputs and outputs, such as whose faces it shows.
    """
    net = net.cpu().eval()
    with warnings.catch_warnings(), torch.no_grad():
        warnings.simplefilter('ignore')
        torch.onnx.export(
            net,
            example,
            str(file),
            input_names=inputs,
            output_names=outputs,
            opset_version=opset,
            dynamo=False,
            do_constant_folding=True,
        )
    model = onnx.load(str(file))
    model.producer_name, model.producer_version = 'facefusion_ros', ''
    model.doc_string = ''
    onnx.helper.set_model_props(model, dict(told or {}))
    onnx.checker.check_model(model, full_check=True)
    onnx.save(model, str(file))
    print(f'{file}: {file.stat().st_size / 1e6:.2f} MB', flush=True)
