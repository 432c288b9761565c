"""An RTSP server of its own process: GStreamer's, called where it is.

``python rtsp_server.py PORT PATH PIPELINE ...`` serves at rtsp://127.0.0.1:PORT/PATH what each pipeline makes, which
ends in a payloader named pay0. A path that begins with ``locked`` is only for ``owner`` with ``pass word``. Port 0 is
any free one. Prints the port as soon as it can be reached, and ends when standard input does.
"""

import ctypes
import os
import sys
import threading
from ctypes import c_char_p, c_int, c_void_p

LIBRARY = 'libgstrtspserver-1.0.so.0'
_NONE = c_void_p()


def serve(port, pipelines):
    rtsp, gst, glib = (ctypes.CDLL(name) for name in (LIBRARY, 'libgstreamer-1.0.so.0', 'libglib-2.0.so.0'))

    def call(library, name, result, *arguments):
        function = getattr(library, name)
        function.restype, function.argtypes = result, [type(argument) for argument in arguments]
        return function(*arguments)

    def new(name, *arguments):
        return c_void_p(call(rtsp, f'gst_rtsp_{name}', c_void_p, *arguments))

    def act(name, *arguments):
        call(rtsp, f'gst_rtsp_{name}', None, *arguments)

    def text(value):
        return c_char_p(value.encode())

    def token(role):
        made = new('token_new_empty')
        act('token_set_string', made, text('media.factory.role'), text(role))
        return made

    call(gst, 'gst_init', None, _NONE, _NONE)
    server, auth = new('server_new'), new('auth_new')
    act('server_set_address', server, text('127.0.0.1'))
    act('server_set_service', server, text(str(port)))
    act('auth_set_default_token', auth, token('anyone'))
    act('auth_add_basic', auth, new('auth_make_basic', text('owner'), text('pass word')), token('owner'))
    act('server_set_auth', server, auth)
    mounts = new('server_get_mount_points', server)
    for path, pipeline in pipelines.items():
        factory, permissions = new('media_factory_new'), new('permissions_new')
        granted = [('owner', 'access'), ('owner', 'construct'), ('anyone', 'access')]
        if not path.startswith('locked'):
            granted.append(('anyone', 'construct'))
        for role, permission in granted:
            name = text(f'media.factory.{permission}')
            act('permissions_add_permission_for_role', permissions, text(role), name, c_int(1))
        act('media_factory_set_permissions', factory, permissions)
        act('media_factory_set_launch', factory, text(f'( {pipeline} )'))
        act('media_factory_set_shared', factory, c_int(1))
        act('mount_points_add_factory', mounts, text(f'/{path}'), factory)
    if not call(rtsp, 'gst_rtsp_server_attach', ctypes.c_uint, server, _NONE):
        sys.exit(f'cannot listen at port {port}')
    print(call(rtsp, 'gst_rtsp_server_get_bound_port', c_int, server), flush=True)
    threading.Thread(target=lambda: os._exit(len(sys.stdin.read())), daemon=True).start()
    call(glib, 'g_main_loop_run', None, c_void_p(call(glib, 'g_main_loop_new', c_void_p, _NONE, c_int(0))))


if __name__ == '__main__':
    serve(int(sys.argv[1]), dict(zip(sys.argv[2::2], sys.argv[3::2], strict=True)))
