"""``facefusion-ros``: the command line."""

from __future__ import annotations

import argparse
import importlib
import json
import math
import os
import sys
from contextlib import nullcontext
from pathlib import Path
from typing import TYPE_CHECKING

from facefusion_ros import __version__
from facefusion_ros.app.models import register as register_models
from facefusion_ros.app.share import adopt_environment
from facefusion_ros.errors import FacefusionError

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

# The commands import what they need when they run: `detect` should not wait for ROS, nor `doctor` fail without it.
# ruff: noqa: PLC0415

EXTRAS = {'onnx': 'inference', 'onnxruntime': 'inference', 'skimage': 'demo'}
"""What is installed only with an extra of the package."""

BENCHES = ('transport', 'stages', 'inference', 'precision')

EPILOG = """\
examples:
  facefusion-ros demo --out out                          the simulated robot head, 20 s
  facefusion-ros demo --display web:8080                 the same, live on http://127.0.0.1:8080
  facefusion-ros launch pipeline.launch.xml source:=/dev/video0 bus:=1
  facefusion-ros record --out drive.mcap --duration 60
  facefusion-ros replay drive.mcap --out replayed
  facefusion-ros detect portrait.jpg --json -
  facefusion-ros swap portrait.jpg --persona porcelain --out android.png
"""


def parser() -> argparse.ArgumentParser:
    """Describe the command line."""
    top = argparse.ArgumentParser(
        prog='facefusion-ros',
        description='A digital human for a robot or a vehicle.',
        epilog=EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    top.add_argument('--version', action='version', version=f'facefusion-ros {__version__}')
    commands = top.add_subparsers(metavar='COMMAND', required=True)

    def command(name: str, act: Callable[[argparse.Namespace], int], text: str) -> argparse.ArgumentParser:
        sub = commands.add_parser(name, help=text, description=text[0].upper() + text[1:] + '.')
        sub.set_defaults(act=act)
        return sub

    sub = command('demo', _demo, 'run the pipeline on the simulated robot head; leaves a film, a bag and a summary')
    sub.add_argument('--out', type=Path, default=Path('out'), metavar='DIR', help='folder for the results (out)')
    sub.add_argument('--duration', type=seconds, default=20.0, metavar='S', help='how long, seconds (20)')
    sub.add_argument('--world', default='head', help='a world from config/worlds or a YAML file (head)')
    sub.add_argument('--persona', default='porcelain', help='a built-in persona or a folder (porcelain)')
    sub.add_argument('--display', help='none, web:PORT, file:PATH.mp4 or compare:PATH.mp4 (compare:DIR/demo.mp4)')
    sub.add_argument('--separate', action='store_true', help='one process per node instead of one for the hot path')

    sub = command('launch', _launch, 'run a ROS 2 launch file (XML) without ros2 launch')
    sub.add_argument('file', help="a path, or one of the package's own: demo, pipeline or sensors.launch.xml")
    sub.add_argument('arguments', nargs='*', metavar='arg:=value', help='arguments of the launch file')
    sub.add_argument('--show-args', action='store_true', help='list the arguments of the launch file, and stop')

    sub = command('record', _record, 'record the topics of a running pipeline to an MCAP bag')
    sub.add_argument('topics', nargs='*', metavar='TOPIC', help='what to record (everything but raw pictures)')
    sub.add_argument('--out', type=Path, default=Path('record.mcap'), metavar='FILE', help='the bag (record.mcap)')
    sub.add_argument('--namespace', default='/', help='namespace of the pipeline (/)')
    sub.add_argument('--duration', type=seconds, metavar='S', help='seconds from the first message on (until Ctrl-C)')

    sub = command('replay', _replay, 'run a bag through the pipeline, frame by frame and deterministically')
    sub.add_argument('bag', type=Path, help='an .mcap file or a rosbag2 folder')
    sub.add_argument('--out', type=Path, required=True, metavar='DIR', help='folder for the results')
    sub.add_argument('--persona', default='porcelain', help='a built-in persona or a folder (porcelain)')
    sub.add_argument('--topic', help="the camera's pictures (the first Image, else CompressedImage)")
    sub.add_argument('--frames', action='store_true', help='also write every output frame as PNG')

    sub = command('detect', _detect, 'find the faces in pictures')
    sub.add_argument('images', nargs='+', metavar='IMAGE')
    sub.add_argument('--json', default='-', metavar='FILE', help='where to write the list (-, the standard output)')

    sub.add_argument('--model', metavar='NAME', help="a detector from the store (OpenCV's cascades)")

    sub = command('swap', _swap, 'replace the faces in a picture')
    sub.add_argument('image', metavar='IMAGE')
    sub.add_argument(
        '--persona', default='porcelain', metavar='NAME', help='a built-in persona or a folder (porcelain)'
    )
    sub.add_argument('--out', required=True, metavar='PNG', help='where to write the result')

    register_models(commands)
    command('doctor', _doctor, 'say what this machine has and how to get what is missing')

    sub = command('bench', _bench, 'measure, and write JSON')
    sub.add_argument('name', choices=BENCHES, metavar='NAME', help=', '.join(BENCHES))
    sub.add_argument('--frames', type=count, default=150, metavar='N', help='frames per row (150)')
    sub.add_argument('--json', default='-', metavar='FILE', help='where to write the numbers (-, the standard output)')
    return top


def seconds(text: str) -> float:
    """Take a length of time from the command line; argparse calls it by this name where it cannot."""
    value = float(text)
    if not (math.isfinite(value) and value > 0.0):
        raise argparse.ArgumentTypeError(f'{text} is no length of time; give seconds above 0')
    return value


def count(text: str) -> int:
    """Take a number of things from the command line."""
    value = int(text)
    if value < 1:
        raise argparse.ArgumentTypeError(f'{text} is too few; give at least 1')
    return value


def main(argv: Sequence[str] | None = None) -> int:
    """Run a command; errors are one line and an exit code other than 0."""
    options = parser().parse_args(argv)
    adopt_environment()
    try:
        code = int(options.act(options))
        sys.stdout.flush()
    except FacefusionError as error:
        print(f'facefusion-ros: {error}', file=sys.stderr)
        return 1
    except ModuleNotFoundError as error:
        extra = EXTRAS.get((error.name or '').partition('.')[0])
        if extra is None:
            raise
        print(f"facefusion-ros: this needs {error.name}: pip install 'facefusion_ros[{extra}]'", file=sys.stderr)
        return 1
    except BrokenPipeError:  # whoever read the output has seen enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1
    except OSError as error:
        print(f'facefusion-ros: {error.filename or ""}: {error.strerror or error}', file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        return 130
    return code


def _demo(options: argparse.Namespace) -> int:
    from facefusion_ros.app.demo import demo

    arguments = {'duration': str(options.duration), 'world': options.world, 'persona': options.persona}
    arguments['composition'] = 'false' if options.separate else 'true'
    if options.display:
        arguments['display'] = options.display
    return demo(options.out, arguments)


def _launch(options: argparse.Namespace) -> int:
    from facefusion_ros.app import launch
    from facefusion_ros.app.share import launch_file

    path = launch_file(options.file)
    if options.show_args:
        for argument in launch.arguments(path, launch.children_environment(os.environ)):
            print(argument)
        return 0
    return launch.run(path, launch.given(options.arguments), handle_signals=True)


def _record(options: argparse.Namespace) -> int:
    from facefusion_ros.app.record import record

    return record(options.out, options.topics, options.namespace, options.duration)


def _replay(options: argparse.Namespace) -> int:
    from facefusion_ros.app.replay import replay

    return replay(options.bag, options.out, options.persona, options.topic, write_frames=options.frames)


def _detect(options: argparse.Namespace) -> int:
    from facefusion_ros.app.stills import detect

    return detect(options.images, options.json, options.model)


def _swap(options: argparse.Namespace) -> int:
    from facefusion_ros.app.stills import swap

    return swap(options.image, options.persona, options.out)


def _doctor(options: argparse.Namespace) -> int:  # noqa: ARG001 - it has no options
    from facefusion_ros.app.doctor import doctor

    return doctor()


def _bench(options: argparse.Namespace) -> int:
    # Opened first, so that nobody waits for numbers that cannot be written.
    with nullcontext(sys.stdout) if options.json == '-' else Path(options.json).open('w') as out:
        bench = getattr(importlib.import_module(f'facefusion_ros.app.bench.{options.name}'), options.name)
        result = bench(options.frames)
        out.write(json.dumps(result, indent=2) + '\n')
    return 0


if __name__ == '__main__':
    sys.exit(main())
