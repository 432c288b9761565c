"""CUDA C for the pixels around a network: a crop on the way in, a blend on the way out.

``crop.py`` and ``blend.py`` hold the description of a task and the numpy reference, which is the specification: the
kernels give the same bits. Every float32 operation is rounded on its own (no fused multiply-add), every tie goes to the
even number, so that there is one right answer on every machine.

What has been checked: the kernels compile for sm_87 and sm_90, and the same source, compiled for the CPU, equals the
reference. They have never run on a GPU.
"""
