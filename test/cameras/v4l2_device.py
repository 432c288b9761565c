"""A V4L2 device at the ioctl seam, written from the kernel's documentation apart from what it tests.

Structures are taken apart by their offsets, so that this shares nothing with the code under test.
"""

import ctypes
import errno
import os
import struct
from dataclasses import dataclass

NEXT = 0x80000000
INTEGER, BOOLEAN, MENU, CLASS, INTEGER64 = 1, 2, 3, 6, 5
READ_ONLY, INACTIVE, VOLATILE = 0x4, 0x10, 0x80
G_EXT, S_EXT, QUERY_EXT, SELECTION = 0xC0205647, 0xC0205648, 0xC0E85667, 0xC040563D


@dataclass
class Knob:
    id: int
    name: str
    value: int
    minimum: int = 0
    maximum: int = 1
    step: int = 1
    type: int = INTEGER
    flags: int = 0


def webcam():
    """What a USB camera with a manual exposure has."""
    return [
        Knob(0x00980001, 'User Controls', 0, type=CLASS),
        Knob(0x00980900, 'Brightness', 128, 0, 255),
        Knob(0x0098090C, 'White Balance, Automatic', 1, type=BOOLEAN),
        Knob(0x00980913, 'Gain', 64, 16, 255),
        Knob(0x0098091A, 'White Balance Temperature', 4600, 2800, 6500, 10),
        Knob(0x009A0901, 'Auto Exposure', 3, 0, 3, type=MENU),
        Knob(0x009A0902, 'Exposure Time, Absolute', 156, 3, 2047),
        Knob(0x009A0903, 'Exposure, Dynamic Framerate', 1, type=BOOLEAN),
    ]


def sensor():
    """What the sub-device of an IMX219 has, at 1080p and 30 Hz."""
    return [
        Knob(0x00980911, 'Exposure', 1600, 4, 1759),
        Knob(0x009E0901, 'Vertical Blanking', 683, 4, 64455),
        Knob(0x009E0902, 'Horizontal Blanking', 1528, 1528, 1528, flags=READ_ONLY),
        Knob(0x009E0903, 'Analogue Gain', 0, 0, 232),
        Knob(0x009F0902, 'Pixel Rate', 182_400_000, 1, 182_400_000, type=INTEGER64, flags=READ_ONLY),
    ]


class FakeKernel:
    """Answers for one device node."""

    def __init__(self, knobs, path='/dev/video9', crop_width=1920):
        self.knobs = {knob.id: knob for knob in knobs}
        self.path = path
        self.crop_width = crop_width
        self.refusal = 0
        """Errno of every ioctl; 0 for none."""
        self.open_refusal = 0
        self.journal = []
        """What was set, in order."""
        self.calls = []
        """Dictionaries of what was set by one call each."""
        self.opened = 0

    def open(self, path, flags):
        assert flags & os.O_RDWR
        refusal = self.open_refusal or (0 if path == self.path else errno.ENOENT)
        if refusal:
            raise OSError(refusal, os.strerror(refusal), path)
        self.opened += 1
        return 1000 + self.opened

    def close(self, descriptor):
        assert descriptor == 1000 + self.opened
        self.opened -= 1

    def ioctl(self, descriptor, request, argument):
        assert descriptor == 1000 + self.opened
        if self.refusal:
            raise OSError(self.refusal, os.strerror(self.refusal))
        size = request >> 16 & 0x3FFF
        memory = (ctypes.c_char * size).from_address(ctypes.addressof(argument))
        if request == QUERY_EXT:
            self._query(memory)
        elif request in (G_EXT, S_EXT):
            self._transfer(memory, writes=request == S_EXT)
        elif request == SELECTION:
            which, pad, target = struct.unpack_from('<III', memory.raw)
            assert (which, pad, target) == (1, 0, 0)
            struct.pack_into('<iiII', memory, 16, 680, 692, self.crop_width, 1080)
        else:
            self._refuse(errno.ENOTTY)
        return 0

    def _query(self, memory):
        [wanted] = struct.unpack_from('<I', memory.raw)
        if wanted & NEXT:
            later = sorted(number for number in self.knobs if number > wanted & ~NEXT)
            if not later:
                self._refuse(errno.EINVAL)
            wanted = later[0]
        elif wanted not in self.knobs:
            self._refuse(errno.EINVAL)
        knob = self.knobs[wanted]
        name = knob.name.encode().ljust(32, b'\0')
        content = (knob.id, knob.type, name, knob.minimum, knob.maximum, knob.step, knob.value, knob.flags, 4, 1, 0)
        struct.pack_into('<II32sqqQqIIII', memory, 0, *content)

    def _transfer(self, memory, writes):
        which, count, _, _, _, address = struct.unpack_from('<IIIiI4xQ', memory.raw)
        assert which == 0
        values = (ctypes.c_char * (20 * count)).from_address(address)
        call = {}
        for place in range(0, 20 * count, 20):
            number, size, _ = struct.unpack_from('<III', values.raw, place)
            assert size == 0
            if number not in self.knobs:
                self._refuse(errno.EINVAL)
            knob = self.knobs[number]
            form = '<q' if knob.type == INTEGER64 else '<i'
            if not writes:
                struct.pack_into(form, values, place + 12, knob.value)
                continue
            [value] = struct.unpack_from(form, values.raw, place + 12)
            if knob.flags & (READ_ONLY | INACTIVE):
                self._refuse(errno.EACCES)
            if not knob.minimum <= value <= knob.maximum:
                self._refuse(errno.ERANGE)
            call[number] = value
        for number, value in call.items():
            self.knobs[number].value = value
            self.journal.append((number, value))
        if writes:
            self.calls.append(call)

    @staticmethod
    def _refuse(number):
        raise OSError(number, os.strerror(number))
