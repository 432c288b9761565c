"""A USB device that is an I2C adapter, with emulated chips on it: the kernel gets a bus with plain I2C transfers.

Linux' virtual USB host controller (vhci-hcd) takes USB devices from a socket, and i2c-tiny-usb drives this one as if
it hung on a cable. So everything between a driver in user space, or in the kernel, and the chip's registers is real.

Sources: Linux Documentation/usb/usbip_protocol.rst for the messages on the socket; drivers/usb/usbip/vhci_sysfs.c for
how to attach; drivers/i2c/busses/i2c-tiny-usb.c for the adapter's requests; USB 2.0, chapter 9, for the descriptors.
"""

from __future__ import annotations

import socket
import struct
import threading
from contextlib import suppress
from pathlib import Path

from facefusion_ros.sim.i2c import EmulatedAdapter

_HOST_CONTROLLER = Path('/sys/devices/platform/vhci_hcd.0')
_PORT, _DEVICE, _FULL_SPEED = 0, 0x0001_0002, 2
_VENDOR, _PRODUCT = 0x0403, 0xC631

_SUBMIT, _UNLINK, _SUBMITTED, _UNLINKED = 1, 2, 3, 4
_HEADER = struct.Struct('>5I')
_SUBMISSION = struct.Struct('>I4i')
_RESULT = struct.Struct('>5i8x')
_SETUP = struct.Struct('<BBHHH')
_STALLED = -32  # EPIPE: the device does not know the request

_DEVICE_DESCRIPTOR = struct.pack('<BBH4B3H4B', 18, 1, 0x0110, 0xFF, 0, 0, 64, _VENDOR, _PRODUCT, 0x0205, 0, 0, 0, 1)
_CONFIGURATION = struct.pack('<BBHBBBBB', 9, 2, 18, 1, 1, 0, 0x80, 50) + bytes((9, 4, 0, 0, 0, 0xFF, 0, 0, 0))
_DESCRIPTORS = {1: _DEVICE_DESCRIPTOR, 2: _CONFIGURATION}

_ECHO, _GET_FUNCTIONS, _SET_DELAY, _GET_STATUS, _TRANSFER = 0, 1, 2, 3, 4  # a transfer with its begin and end: 4 to 7
_ACKNOWLEDGED, _NOBODY = 1, 2
_I2C_AND_SMBUS = 0x0EFF_0001  # I2C_FUNC_I2C and what of SMBus follows from it


class UsbI2c:
    """The adapter, from ``plug`` to ``unplug``.

    ``adapter`` is what is wired to it, faults included; it is not installed, because the kernel has the bus.
    """

    def __init__(self) -> None:
        self.adapter = EmulatedAdapter('usb')
        self._status = _ACKNOWLEDGED
        self._socket: socket.socket | None = None
        self._thread: threading.Thread | None = None

    def plug(self) -> None:
        """Plug it in, if it is not; the kernel finds it soon."""
        if self._socket is not None:
            return
        ours, kernels = socket.socketpair()
        with kernels:
            self._attach(kernels.fileno())
        self._socket = ours
        self._thread = threading.Thread(target=self._serve, args=(ours,), name='USB device', daemon=True)
        self._thread.start()

    def unplug(self) -> None:
        """Pull it out, if it is plugged in."""
        if self._socket is None:
            return
        (_HOST_CONTROLLER / 'detach').write_text(f'{_PORT}')
        self._thread.join()
        self._socket.close()
        self._socket = None

    @staticmethod
    def bus() -> int | None:
        """Return the number of the kernel's bus, where there is one."""
        for folder in Path('/sys/class/i2c-dev').glob('i2c-*'):
            with suppress(OSError):  # it goes while it is looked at
                if 'i2c-tiny-usb' in (folder / 'name').read_text():
                    return int(folder.name[4:])
        return None

    def _attach(self, descriptor: int) -> None:
        (_HOST_CONTROLLER / 'attach').write_text(f'{_PORT} {descriptor} {_DEVICE} {_FULL_SPEED}')

    def _serve(self, wire: socket.socket) -> None:
        with wire.makefile('rb') as stream, suppress(ConnectionError):  # it ends when the kernel hangs up
            while True:
                header = stream.read(48)
                if len(header) < 48:
                    return
                command, number, _, inward, _ = _HEADER.unpack_from(header)
                if command == _UNLINK:  # all that was submitted is done
                    wire.sendall(_HEADER.pack(_UNLINKED, number, 0, 0, 0) + bytes(28))
                    continue
                length = _SUBMISSION.unpack_from(header, 20)[1]
                data = b'' if inward else stream.read(length)
                answer = self._control(*_SETUP.unpack_from(header, 40), data)
                status, answer = (_STALLED, b'') if answer is None else (0, answer[:length])
                done = len(answer) if inward else length
                reply = _HEADER.pack(_SUBMITTED, number, 0, 0, 0) + _RESULT.pack(status, done, 0, 0, 0)
                wire.sendall(reply + answer)

    def _control(self, kind: int, request: int, value: int, index: int, length: int, data: bytes) -> bytes | None:
        """Do a control request; returns what is read, or None for a request that there is not."""
        if kind & 0x60 == 0:
            return self._standard(request, value)
        if request == _GET_FUNCTIONS:
            return _I2C_AND_SMBUS.to_bytes(4, 'little')
        if request == _GET_STATUS:
            return bytes((self._status,))
        if _TRANSFER <= request <= _TRANSFER + 3:
            return self._transfer(index, length if kind & 0x80 else data)
        return b'' if request in (_ECHO, _SET_DELAY) else None

    @staticmethod
    def _standard(request: int, value: int) -> bytes | None:
        get_status, get_descriptor, set_configuration, set_interface = 0, 6, 9, 11
        if request == get_descriptor:
            return _DESCRIPTORS.get(value >> 8)
        if request == get_status:
            return bytes(2)
        return b'' if request in (set_configuration, set_interface) else None

    def _transfer(self, address: int, content: bytes | int) -> bytes:
        try:
            answer = self.adapter.transact([(address, content)])[0]
        except OSError:
            self._status = _NOBODY
            return bytes(content) if isinstance(content, int) else b''
        self._status = _ACKNOWLEDGED
        return answer
