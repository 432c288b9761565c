"""Structures, codes and constants, against the kernel's headers."""

import ctypes
import shutil
import subprocess
from pathlib import Path

import pytest

from facefusion_ros.cameras import v4l2_uapi as uapi

HEADERS = Path('/usr/include/linux')
TABLE = [
    (uapi.QueryExtCtrl, 'v4l2_query_ext_ctrl'),
    (uapi.ExtControl, 'v4l2_ext_control'),
    (uapi.ExtControls, 'v4l2_ext_controls'),
    (uapi.Capability, 'v4l2_capability'),
    (uapi.FmtDesc, 'v4l2_fmtdesc'),
    (uapi.FrmSizeEnum, 'v4l2_frmsizeenum'),
    (uapi.FrmIvalEnum, 'v4l2_frmivalenum'),
    (uapi.Fract, 'v4l2_fract'),
    (uapi.PixFormat, 'v4l2_pix_format'),
    (uapi.PlanePixFormat, 'v4l2_plane_pix_format'),
    (uapi.PixFormatMplane, 'v4l2_pix_format_mplane'),
    (uapi.Format, 'v4l2_format'),
    (uapi.CaptureParm, 'v4l2_captureparm'),
    (uapi.StreamParm, 'v4l2_streamparm'),
    (uapi.RequestBuffers, 'v4l2_requestbuffers'),
    (uapi.Plane, 'v4l2_plane'),
    (uapi.Buffer, 'v4l2_buffer'),
    (uapi.EventSubscription, 'v4l2_event_subscription'),
    (uapi.Event, 'v4l2_event'),
    (uapi.DvTimings, 'v4l2_dv_timings'),
    (uapi.TimeVal, 'timeval'),
]
"""Ours and theirs, whose fields have the same names."""
CONSTANTS = [name for name in vars(uapi) if name.isupper() and not name.startswith('_') and name not in
             ('U8', 'U16', 'U32', 'U64', 'S32', 'S64')]  # fmt: skip
UNPREFIXED = ('VIDIOC_', 'VIDEO_MAX')


def program():
    lines = [
        '#include <linux/videodev2.h>',
        '#include <linux/v4l2-subdev.h>',
        '#include <stddef.h>',
        '#include <stdio.h>',
        '#include <sys/time.h>',
        '#define SHOW(name, value) printf("%s %lld\\n", name, (long long)(value))',
        'int main(void) {',
    ]
    lines += [f'SHOW("{name}", {name if name.startswith(UNPREFIXED) else "V4L2_" + name});' for name in CONSTANTS]
    lines += [f'SHOW("Cid.{each.name}", V4L2_CID_{each.name});' for each in uapi.Cid]
    for ours, theirs in TABLE:
        lines.append(f'SHOW("{ours.__name__}", sizeof(struct {theirs}));')
        fields = [field for field, *_ in ours._fields_ if field != 'u' or ours is uapi.Event]
        lines += [f'SHOW("{ours.__name__}.{each}", offsetof(struct {theirs}, {each}));' for each in fields]
    lines += [f'SHOW("SubdevSelection.{each}", offsetof(struct v4l2_subdev_selection, r.{each}));' for each in
              ('left', 'top', 'width', 'height')]  # fmt: skip
    return '\n'.join([*lines, 'return 0; }'])


@pytest.mark.skipif(
    not (shutil.which('gcc') and (HEADERS / 'v4l2-subdev.h').exists()), reason='needs gcc and linux-libc-dev'
)
def test_all_is_as_the_kernels_headers_have_it(tmp_path):
    (tmp_path / 'show.c').write_text(program())
    subprocess.run(['gcc', '-o', tmp_path / 'show', tmp_path / 'show.c'], check=True)
    shown = subprocess.run([tmp_path / 'show'], check=True, capture_output=True, text=True).stdout
    told = {name: int(value) for name, value in (line.split() for line in shown.splitlines())}
    assert len(told) > 200
    for name, value in told.items():
        owner, _, member = name.partition('.')
        if owner == 'Cid':
            ours = uapi.Cid[member]
        elif member:
            ours = getattr(getattr(uapi, owner), member).offset
        else:
            ours = getattr(uapi, owner)
            ours = ctypes.sizeof(ours) if isinstance(ours, type) else ours
        # The compiler shows ioctl codes as signed or not, by the width of long.
        assert ours & 0xFFFFFFFF == value & 0xFFFFFFFF, name


@pytest.mark.parametrize(
    ('name', 'code'),
    [
        ('QUERYCAP', 0x80685600),
        ('S_FMT', 0xC0D05605),
        ('REQBUFS', 0xC0145608),
        ('DQBUF', 0xC0585611),
        ('STREAMON', 0x40045612),
        ('S_PARM', 0xC0CC5616),
        ('ENUM_FRAMESIZES', 0xC02C564A),
        ('ENUM_FRAMEINTERVALS', 0xC034564B),
        ('DQEVENT', 0x80885659),
        ('G_EXT_CTRLS', 0xC0205647),
        ('QUERY_EXT_CTRL', 0xC0E85667),
        ('SUBDEV_G_SELECTION', 0xC040563D),
    ],
)
def test_codes_are_those_that_strace_shows(name, code):
    """For machines without the headers; a code has the size of its structure in it."""
    assert getattr(uapi, f'VIDIOC_{name}') == code
