"""A gyroscope on a HID sensor hub, as tablets have, played by this process: the kernel gets an IIO buffer that fills.

Drivers of chips on an I2C bus sample by an interrupt line, which no bus made here has; a HID device reports by itself.

Sources: Linux Documentation/hid/uhid.rst and include/uapi/linux/uhid.h; USB-IF HUTRR39 for the usages of sensors;
drivers/iio/gyro/hid-sensor-gyro-3d.c for what its driver asks for.
"""

from __future__ import annotations

import os
import select
import struct
import threading

_DESTROY, _GET_REPORT, _GET_REPLY, _CREATE, _INPUT, _SET_REPORT, _SET_REPLY = 1, 9, 10, 11, 12, 13, 14
_EVENT_BYTES = 4380
_LOOK_S = 0.05
_HUB_REPORT, _FEATURES = 1, 0
_BUS_USB, _VENDOR, _PRODUCT = 3, 0x2047, 0x0001
DEGREES_PER_COUNT = 0.01
"""Degrees per second for each count of a report."""


def _item(prefix: int, value: int, size: int) -> bytes:
    return bytes((prefix | (3 if size == 4 else size),)) + value.to_bytes(size, 'little', signed=value < 0)


def _usage(value: int) -> bytes:
    return _item(0x08, value, 2)


_SIGNED_32 = _item(0x14, -(1 << 31), 4) + _item(0x24, (1 << 31) - 1, 4) + _item(0x74, 32, 1)
_UNSIGNED_8 = _item(0x14, 0, 1) + _item(0x24, 127, 1) + _item(0x74, 8, 1)
_UNSIGNED_32 = _item(0x14, 0, 1) + _item(0x24, (1 << 31) - 1, 4) + _item(0x74, 32, 1)
_FEATURE, _INPUT_ITEM = _item(0xB0, 0x02, 1), _item(0x80, 0x02, 1)
_SELECT, _SELECTED = _item(0xB0, 0x00, 1), _item(0xC0, 0, 0)


def _choice(usage: int, selectors: tuple[int, ...]) -> bytes:
    """A feature that holds one of some named values, by its number from 1."""
    limits = _item(0x14, 1, 1) + _item(0x24, len(selectors), 1) + _item(0x74, 8, 1) + _item(0x94, 1, 1)
    return _usage(usage) + limits + _item(0xA0, 2, 1) + b''.join(map(_usage, selectors)) + _SELECT + _SELECTED


_DESCRIPTOR = b''.join(
    (
        _item(0x04, 0x20, 1), _usage(0x01), _item(0xA0, 1, 1),  # sensor page: a collection, application
        _item(0x84, _HUB_REPORT, 1), _usage(0x76), _item(0xA0, 0, 1),  # 3D gyrometer, physical
        _choice(0x316, (0x840, 0x841)),  # reporting state: none, all
        _choice(0x319, (0x850, 0x851)),  # power state: undefined, full
        _usage(0x30E), _UNSIGNED_32, _item(0x94, 1, 1), _FEATURE,  # report interval, milliseconds without a unit
        _SIGNED_32, _item(0x94, 1, 1), _item(0x54, 0x0E, 1),
        *(_usage(axis) + _INPUT_ITEM for axis in (0x457, 0x458, 0x459)),
        # angular velocity, 10^-2 of degrees per second, which a gyrometer has without a unit
        _SELECTED, _SELECTED,
    )
)  # fmt: skip


class HidGyro:
    """The gyroscope, from ``plug`` to ``unplug``."""

    def __init__(self) -> None:
        self._features = bytes((1, 1)) + (10).to_bytes(4, 'little')
        self._counts = bytes(12)
        self._node = -1

    @property
    def interval_s(self) -> float:
        """What its driver has asked for between two reports."""
        return int.from_bytes(self._features[2:6], 'little') * 1e-3

    @property
    def reporting(self) -> bool:
        """Whether its driver has asked for reports."""
        return self._features[0] == 2

    def plug(self) -> None:
        """Appear."""
        self._node = os.open('/dev/uhid', os.O_RDWR)
        about = (len(_DESCRIPTOR), _BUS_USB, _VENDOR, _PRODUCT, 0, 0)
        head = struct.pack('<128s64s64sHHIIII', b'gyroscope', b'', b'', *about)
        self._send(_CREATE, head + _DESCRIPTOR)
        self._gone = threading.Event()
        self._thread = threading.Thread(target=self._answer, name='HID device', daemon=True)
        self._thread.start()

    def unplug(self) -> None:
        """Disappear."""
        self._send(_DESTROY, b'')
        self._gone.set()
        self._thread.join()
        os.close(self._node)

    def report(self, counts: tuple[int, int, int]) -> None:
        """Report angular velocity about x, y and z, in hundredths of a degree per second."""
        self._counts = struct.pack('<3i', *counts)
        data = bytes((_HUB_REPORT,)) + self._counts
        self._send(_INPUT, struct.pack('<H', len(data)) + data)

    def _send(self, kind: int, data: bytes) -> None:
        os.write(self._node, struct.pack('<I', kind) + data)

    def _answer(self) -> None:
        while not self._gone.is_set():
            if not select.select([self._node], [], [], _LOOK_S)[0]:
                continue
            event = os.read(self._node, _EVENT_BYTES)
            kind, number, _, report = struct.unpack_from('<IIBB', event)
            if kind == _GET_REPORT:
                data = bytes((_HUB_REPORT,)) + (self._features if report == _FEATURES else self._counts)
                self._send(_GET_REPLY, struct.pack('<IHH', number, 0, len(data)) + data)
            elif kind == _SET_REPORT:
                size = struct.unpack_from('<H', event, 10)[0]
                self._features = event[13 : 12 + size].ljust(len(self._features), b'\0')
                self._send(_SET_REPLY, struct.pack('<IH', number, 0))
