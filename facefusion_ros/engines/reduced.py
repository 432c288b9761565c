"""The precisions at which a network can be computed."""

from __future__ import annotations

from enum import Enum


class Precision(str, Enum):
    """How a network is computed."""

    FP32 = 'fp32'
    FP16 = 'fp16'
    INT8 = 'int8'
    INT8_KEEP_REGIONS = 'int8_keep_regions'
    """INT8 for the patch, FP16 for eyes and lips: see ``regions``."""


class IntegerKernels(str, Enum):
    """Whose integer convolutions the file is written for; it runs on both, but is fast on one."""

    TENSORRT = 'tensorrt'
    """Inputs and weights are quantised, the bias is float, the result is what the next layer wants."""
    ONNXRUNTIME = 'onnxruntime'
    """As its convolution on x86-64 wants it, or it computes in float32.

    Activations are uint8 about 128, the bias is int32, and the result is quantised as well.
    """
