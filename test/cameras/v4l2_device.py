"""A V4L2 device at the ioctl seam, written from the kernel's documentation apart from what it tests.

Structures are taken apart by their offsets, so that this shares nothing with the code under test.
"""

import collections
import ctypes
import errno
import mmap
import os
import select
import struct
import threading
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


CAPTURE, SEVERAL, META, STREAMING, OF_NODE = 0x1, 0x1000, 0x800000, 0x4000000, 0x80000000
MONOTONIC, BEGUN, SPOILT = 0x2000, 0x10000, 0x40
PAGE = mmap.PAGESIZE
CALLS = {
    0x80685600: 'capabilities',
    0xC0405602: 'formats',
    0xC0D05604: 'get_format',
    0xC0D05605: 'set_format',
    0xC0145608: 'request',
    0xC0585609: 'place',
    0xC058560F: 'queue',
    0xC0585611: 'dequeue',
    0x40045612: 'start',
    0x40045613: 'stop',
    0xC0CC5615: 'get_rate',
    0xC0CC5616: 'set_rate',
    0xC02C564A: 'sizes',
    0xC034564B: 'intervals',
    0x4020565A: 'subscribe',
    0x80885659: 'event',
    0x80845663: 'signal',
    0xC0845657: 'set_signal',
}


def planes_of(code, width, height, padding):
    """Bytes per row and bytes of each of a picture's buffers, rows padded."""
    if code in ('MJPG', 'H264'):
        return [(0, width * height * 2)]
    row = width * {'GREY': 1, 'YUYV': 2, 'UYVY': 2, 'BGR3': 3, 'RGB3': 3, 'XR24': 4}.get(code, 1) + padding
    if code in ('NV12', 'NV21', 'YU12'):
        return [(row, row * height * 3 // 2)]
    if code in ('NM12', 'NM21'):
        return [(row, row * height), (row, row * height // 2)]
    return [(row, row * height)]


class FakeCamera(FakeKernel):
    """A device that films what the test gives it.

    :param modes: code of the pixel format -> size -> rates (Hz); no rates where the driver does not tell them.
    """

    def __init__(self, modes, *, knobs=(), path='/dev/video9', several=False, can=None, padding=0, step=0):
        super().__init__(knobs, path)
        self.modes = modes
        self.several = several
        self.type = 9 if several else 1
        self.can = (SEVERAL if several else CAPTURE) | STREAMING if can is None else can
        self.padding = padding
        self.step = step
        """Of a range of sizes between the first and the last of a format; 0 for those alone."""
        code = next(iter(modes))
        self.now = (code, *next(iter(modes[code])))
        self.rate_hz = 30.0
        self.colours = (8, 0, 0)
        """Colour space, encoding and quantization."""
        self.field = 1
        self.sequence = 0
        self.data_offset = 0
        self.refusals = {}
        """Name of a call -> errno."""
        self.gone = False
        self.signal = None
        self.events = 0
        self.filming = False
        self.count = 0
        self.queued, self.filled = collections.deque(), collections.deque()
        self.lock = threading.Condition()
        self.bell = os.eventfd(0, os.EFD_NONBLOCK)
        self.memory = os.memfd_create('camera')
        os.ftruncate(self.memory, 64 << 20)
        self.waits = 0

    # -- what the test does

    def film(self, *planes, stamp_ns=0, flags=MONOTONIC | BEGUN, sequence=None):
        """Fill the buffer that has waited longest; without one the picture is lost. Returns whether it was taken."""
        with self.lock:
            number, self.sequence = self.sequence if sequence is None else sequence, self.sequence + 1
            taken = bool(self.queued) and self.filming
            if taken:
                index = self.queued.popleft()
                used = []
                for plane, (offset, _) in zip(planes, self._places(index), strict=True):
                    content = bytes(self.data_offset) + bytes(plane)
                    os.pwrite(self.memory, content, offset)
                    used.append(len(content))
                self.filled.append((index, used, stamp_ns, flags, number))
        os.eventfd_write(self.bell, 1)
        return taken

    def unplug(self):
        self.gone = True
        os.eventfd_write(self.bell, 1)

    def change(self, width, height):
        """Deliver another size from now on, and say so."""
        self.now = (self.now[0], width, height)
        self.events += 1
        os.eventfd_write(self.bell, 1)

    # -- the seam

    def open(self, path, flags):
        if self.gone:
            self._refuse(errno.ENOENT)
        return super().open(path, flags)

    def close(self, descriptor):
        super().close(descriptor)
        self.filming, self.count = False, 0
        self.queued.clear()
        self.filled.clear()

    def map(self, descriptor, length, offset):
        assert descriptor == 1000 + self.opened
        assert offset % PAGE == 0
        return mmap.mmap(self.memory, length, mmap.MAP_SHARED, mmap.PROT_READ | mmap.PROT_WRITE, offset=offset)

    def poll(self, descriptor, wake, timeout_s):
        assert descriptor == 1000 + self.opened
        poll = select.poll()
        poll.register(self.bell, select.POLLIN)
        poll.register(wake, select.POLLIN)
        self.waits += 1
        while True:
            bits = select.POLLIN if self.filled else 0
            bits |= select.POLLPRI if self.events else 0
            bits |= select.POLLERR | select.POLLHUP if self.gone else 0
            woken = bool(select.select([wake], [], [], 0)[0])
            if bits or woken:
                return bits, woken
            if not poll.poll(max(0.0, timeout_s) * 1e3):
                return 0, False
            if select.select([self.bell], [], [], 0)[0]:
                os.eventfd_read(self.bell)

    def ioctl(self, descriptor, request, argument):
        name = CALLS.get(request)
        if name is None:
            if self.gone:
                self._refuse(errno.ENODEV)
            return super().ioctl(descriptor, request, argument)
        assert descriptor == 1000 + self.opened
        size = request >> 16 & 0x3FFF
        assert size == ctypes.sizeof(argument)
        if self.gone:
            self._refuse(errno.ENODEV)
        if self.refusals.get(name):
            self._refuse(self.refusals[name])
        memory = (ctypes.c_char * size).from_address(ctypes.addressof(argument))
        with self.lock:
            getattr(self, f'_{name}')(memory)
        return 0

    def _capabilities(self, memory):
        struct.pack_into('<16s32s32sIII', memory, 0, b'fake', b'Camera of the test', b'usb-1', 0x60000, 0, 0)
        struct.pack_into('<II', memory, 84, self.can | OF_NODE | META, self.can)

    def _formats(self, memory):
        index, kind = struct.unpack_from('<II', memory.raw)
        assert kind == self.type
        if index >= len(self.modes):
            self._refuse(errno.EINVAL)
        struct.pack_into('<4s', memory, 44, list(self.modes)[index].encode())

    def _sizes(self, memory):
        index, code = struct.unpack_from('<I4s', memory.raw)
        sizes = list(self.modes[code.decode()])
        if index >= (1 if self.step else len(sizes)):
            self._refuse(errno.EINVAL)
        if self.step:
            (left, top), (right, bottom) = sizes[0], sizes[-1]
            struct.pack_into('<I6I', memory, 8, 3, left, right, self.step, top, bottom, self.step)
        else:
            struct.pack_into('<I2I', memory, 8, 1, *sizes[index])

    def _intervals(self, memory):
        index, code, *size = struct.unpack_from('<I4sII', memory.raw)
        rates = self.modes[code.decode()].get(tuple(size), ())
        if index >= len(rates):
            self._refuse(errno.EINVAL)
        struct.pack_into('<III', memory, 16, 1, 1000, round(1000 * rates[index]))

    def _get_format(self, memory):
        [kind] = struct.unpack_from('<I', memory.raw)
        assert kind == self.type
        code, width, height = self.now
        struct.pack_into('<II4sI', memory, 8, width, height, code.encode(), self.field)
        planes = planes_of(code, width, height, self.padding)
        space, encoding, quantization = self.colours
        if self.several:
            struct.pack_into('<I', memory, 24, space)
            for number, (row, length) in enumerate(planes):
                struct.pack_into('<II', memory, 28 + 20 * number, length, row)
            struct.pack_into('<BBBB', memory, 188, len(planes), 0, encoding, quantization)
        else:
            struct.pack_into('<IIIIIII', memory, 24, *planes[0], space, 0, 0, encoding, quantization)

    def _set_format(self, memory):
        if self.count:
            self._refuse(errno.EBUSY)
        width, height, code, _ = struct.unpack_from('<II4sI', memory.raw, 8)
        code = code.decode()
        there = self.modes.get(code)
        if there and not self.step:  # as drivers do: the nearest
            width, height = min(there, key=lambda size: abs(size[0] - width) + abs(size[1] - height))
        if there:
            self.now = (code, width, height)
        self._get_format(memory)

    def _get_rate(self, memory):
        struct.pack_into('<II', memory, 12, 1000, round(1000 * self.rate_hz))

    def _set_rate(self, memory):
        numerator, denominator = struct.unpack_from('<II', memory.raw, 12)
        code, *size = self.now
        rates = self.modes[code].get(tuple(size)) or (self.rate_hz,)
        self.rate_hz = min(rates, key=lambda rate: abs(rate - denominator / numerator))
        self._get_rate(memory)

    def _places(self, index):
        lengths = [length + self.data_offset for _, length in planes_of(*self.now, self.padding)]
        whole = [(length + PAGE - 1) // PAGE * PAGE for length in lengths]
        return [(index * sum(whole) + sum(whole[:number]), length) for number, length in enumerate(lengths)]

    def _request(self, memory):
        count, kind, way = struct.unpack_from('<III', memory.raw)
        assert (kind, way) == (self.type, 1)
        self.count = min(count, 32)
        self.queued.clear()
        self.filled.clear()
        struct.pack_into('<I', memory, 0, self.count)

    def _place(self, memory):
        index, kind = struct.unpack_from('<II', memory.raw)
        if kind != self.type or index >= self.count:
            self._refuse(errno.EINVAL)
        places = self._places(index)
        if not self.several:
            struct.pack_into('<QI', memory, 64, *places[0])
            return
        for number, (offset, length) in enumerate(places):
            struct.pack_into('<IIQ', self._plane(memory, number), 0, 0, length, offset)

    def _queue(self, memory):
        index, kind = struct.unpack_from('<II', memory.raw)
        assert kind == self.type
        if index >= self.count or index in self.queued or any(index == each[0] for each in self.filled):
            self._refuse(errno.EINVAL)
        self.queued.append(index)

    def _dequeue(self, memory):
        if not self.filled:
            self._refuse(errno.EAGAIN)
        index, used, stamp_ns, flags, number = self.filled.popleft()
        seconds, rest = divmod(stamp_ns, 1_000_000_000)
        struct.pack_into('<I', memory, 0, index)
        struct.pack_into('<IIIIqq', memory, 8, used[0], flags, 1, 0, seconds, rest // 1000)
        struct.pack_into('<I', memory, 56, number)
        if self.several:
            for plane, length in enumerate(used):
                content = self._plane(memory, plane)
                struct.pack_into('<I', content, 0, length)
                struct.pack_into('<I', content, 16, self.data_offset)

    def _plane(self, memory, number):
        address, length = struct.unpack_from('<QI', memory.raw, 64)
        assert number < length
        return (ctypes.c_char * 64).from_address(address + 64 * number)

    def _start(self, memory):
        assert struct.unpack('<i', memory.raw) == (self.type,)
        self.filming = True

    def _stop(self, memory):
        assert struct.unpack('<i', memory.raw) == (self.type,)
        self.filming = False

    def _subscribe(self, memory):
        assert struct.unpack_from('<I', memory.raw) == (5,)

    def _event(self, memory):
        if not self.events:
            self._refuse(errno.ENOENT)
        self.events -= 1
        struct.pack_into('<I', memory, 0, 5)
        struct.pack_into('<I', memory, 72, self.events)

    def _signal(self, memory):
        if self.signal is None:
            self._refuse(errno.ENOTTY)
        struct.pack_into('<II', memory, 0, 0, self.signal[0])

    def _set_signal(self, memory):
        assert struct.unpack_from('<II', memory.raw) == (0, self.signal[0])
        self.now = (self.now[0], *self.signal)
