"""``facefusion-ros``: the command line."""

from __future__ import annotations

import argparse
import math
import os
import sys
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING

from facefusion_ros import __version__
from facefusion_ros.app.bench.command import register as register_bench
from facefusion_ros.app.models import register as register_models
from facefusion_ros.app.share import adopt_environment
from facefusion_ros.errors import FacefusionError

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from facefusion_ros.faces.stored import StoredDetector
    from facefusion_ros.personas.patches import PatchSettings

# The commands import what they need when they run: `detect` should not wait for ROS, nor `doctor` fail without it.
# ruff: noqa: PLC0415

EXTRAS = {'skimage': 'demo'}
"""What is installed only with an extra of the package."""

SELECTIONS = ('one', 'many', 'identity')

EPILOG = """\
examples:
  facefusion-ros demo --out out                          the simulated robot head, 20 s
  facefusion-ros demo --display web:8080                 the same, live on http://127.0.0.1:8080
  facefusion-ros launch pipeline.launch.xml source:=/dev/video0 bus:=1
  facefusion-ros record --out drive.mcap --duration 60
  facefusion-ros replay drive.mcap --out replayed
  facefusion-ros calibrate drive.mcap
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
    sub.add_argument(
        '--display', help='none, drm, window, web:PORT, file:PATH.mp4 or compare:PATH.mp4 (compare:DIR/demo.mp4)'
    )
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
    sub.add_argument('--topic', help="the camera's pictures (the first Image, else CompressedImage)")
    sub.add_argument('--frames', action='store_true', help='also write every output frame as PNG')
    _describe_patches(sub)

    sub = command('calibrate', _calibrate, "find the gyro's time offset, rotation and bias, and the camera's read-out")
    sub.add_argument('bag', type=Path, help='an .mcap file or a rosbag2 folder')
    sub.add_argument('--topic', help="the camera's pictures (the first Image, else CompressedImage)")
    sub.add_argument('--imu', metavar='TOPIC', help='the readings of the gyro (imu/data_raw beside the pictures)')
    sub.add_argument(
        '--intrinsics', type=Path, metavar='YAML', help="the camera's calibration (camera_info of the bag)"
    )
    sub.add_argument('--json', default='', metavar='FILE', help='also write the numbers (-: on the standard output)')

    sub = command('detect', _detect, 'find the faces in pictures')
    sub.add_argument('images', nargs='+', metavar='IMAGE')
    sub.add_argument('--json', default='-', metavar='FILE', help='where to write the list (-, the standard output)')
    _describe_detector(sub, '--model')
    _accept_noncommercial(sub)

    sub = command('swap', _swap, 'replace the faces in a picture')
    sub.add_argument('image', metavar='IMAGE')
    sub.add_argument('--out', required=True, metavar='PNG', help='where to write the result')
    _describe_patches(sub)

    sub = command('identity', _identity, 'make the identity of a person from pictures: the source of a persona')
    sub.add_argument('images', nargs='+', metavar='IMAGE', help='its largest face counts; or an identity, .npy')
    sub.add_argument('--recogniser', required=True, metavar='NAME', help='a recogniser of the store, such as arcface')
    sub.add_argument('--out', required=True, type=Path, metavar='NPY', help='where to write the identity')
    _describe_detector(sub)
    _accept_noncommercial(sub)

    register_models(commands)
    command('doctor', _doctor, 'say what this machine has and how to get what is missing')
    register_bench(commands)
    return top


def _describe_patches(sub: argparse.ArgumentParser) -> None:
    """Take from the command line who is shown on which face, and with which networks."""
    network = 'NAME'
    sub.add_argument(
        '--persona',
        default='porcelain',
        metavar='NAME[,NAME...]',
        help='built-in personas or folders of personas (porcelain)',
    )
    sub.add_argument('--selection', choices=SELECTIONS, default='many', help='which faces are replaced (many)')
    sub.add_argument(
        '--reference',
        nargs='+',
        action='extend',
        default=[],
        metavar='FILE',
        help='with --selection identity: the people who are replaced, pictures or .npy, one for each persona',
    )
    sub.add_argument(
        '--model',
        default='',
        metavar=network,
        help='a swapper of the store; none: personas are warped (that of the package, for the personas that it knows)',
    )
    sub.add_argument(
        '--pixel-boost', type=int, default=1, metavar='N', help='how much finer a small swapper redraws (1)'
    )
    sub.add_argument('--recogniser', default='', metavar=network, help='a recogniser of the store, for identities')
    sub.add_argument('--enhancer', default='', metavar=network, help='an enhancer of the store (none)')
    sub.add_argument('--occlusion', default='', metavar=network, help='a mask of what hides a face, as XSeg (none)')
    sub.add_argument('--regions', default='', metavar=network, help="a mask of a face's regions, as BiSeNet (none)")
    _describe_detector(sub)
    _accept_noncommercial(sub)


def _describe_detector(sub: argparse.ArgumentParser, option: str = '--detector') -> None:
    """Take from the command line what finds the faces."""
    sub.add_argument(
        option, dest='detector', default='', metavar='NAME', help='a detector of the store (the one of the package)'
    )
    sub.add_argument(
        '--landmarks',
        default='',
        metavar='NAME',
        help='a network of landmarks of the store, which looks closely at what is found; default: that of the package; '
        "none: none (with the package's detector its own, else none)",
    )


def _detector(options: argparse.Namespace) -> StoredDetector:
    from facefusion_ros.faces.stored import load_detector

    return load_detector(options.detector, options.landmarks, accept_noncommercial=options.accept_noncommercial)


def _accept_noncommercial(sub: argparse.ArgumentParser) -> None:
    sub.add_argument(
        '--accept-noncommercial',
        action='store_true',
        help='your use is not commercial, as the licences of some networks demand',
    )


def _patch_settings(options: argparse.Namespace, patch_size: int) -> PatchSettings:
    from facefusion_ros.personas.patches import MOST_FACES, PatchSettings

    return PatchSettings(
        personas=tuple(options.persona.split(',')),
        selection=options.selection,
        max_faces=MOST_FACES,
        references=tuple(options.reference),
        patch_size=patch_size,
        model=options.model,
        pixel_boost=options.pixel_boost,
        recogniser=options.recogniser,
        enhancer=options.enhancer,
        occlusion=options.occlusion,
        regions=options.regions,
        accept_noncommercial=options.accept_noncommercial,
    )


def seconds(text: str) -> float:
    """Take a length of time from the command line; argparse calls it by this name where it cannot."""
    value = float(text)
    if not (math.isfinite(value) and value > 0.0):
        raise argparse.ArgumentTypeError(f'{text} is no length of time; give seconds above 0')
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
    from facefusion_ros.app.offline import PATCH_SIZE
    from facefusion_ros.app.replay import replay

    settings = _patch_settings(options, PATCH_SIZE)
    with closing(_detector(options)) as detector:
        return replay(options.bag, options.out, settings, options.topic, detector, write_frames=options.frames)


def _calibrate(options: argparse.Namespace) -> int:
    from facefusion_ros.app.calibrate import calibrate_bag

    return calibrate_bag(options.bag, options.json, options.topic, options.imu, options.intrinsics)


def _detect(options: argparse.Namespace) -> int:
    from facefusion_ros.app.stills import detect

    with closing(_detector(options)) as detector:
        return detect(options.images, options.json, detector)


def _swap(options: argparse.Namespace) -> int:
    from facefusion_ros.app.offline import STILL_PATCH_SIZE
    from facefusion_ros.app.stills import swap

    settings = _patch_settings(options, STILL_PATCH_SIZE)
    with closing(_detector(options)) as detector:
        return swap(options.image, settings, options.out, detector)


def _identity(options: argparse.Namespace) -> int:
    from facefusion_ros.app.stills import identity
    from facefusion_ros.personas.identities import Identities

    accepted: bool = options.accept_noncommercial
    with closing(_detector(options)) as detector:
        identities = Identities(options.recogniser, detector=detector, accept_noncommercial=accepted)
        return identity(options.images, options.out, identities)


def _doctor(options: argparse.Namespace) -> int:  # noqa: ARG001 - it has no options
    from facefusion_ros.app.doctor import doctor

    return doctor()


if __name__ == '__main__':
    sys.exit(main())
