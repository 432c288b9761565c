import os
import subprocess
import sys

import pytest

from facefusion_ros import __version__
from facefusion_ros.app.main import parser

COMMANDS = {
    'demo': ('simulated robot head', '--out', '--duration', '--world', '--persona', '--display', '--separate'),
    'launch': ('ROS 2 launch file', 'arg:=value', '--show-args'),
    'record': ('MCAP bag', 'TOPIC', '--out', '--namespace', '--duration'),
    'replay': ('deterministically', 'bag', '--out', '--persona', '--topic', '--frames'),
    'detect': ('find the faces', 'IMAGE', '--json', '--model'),
    'swap': ('replace', 'IMAGE', '--persona', '--out', '--model', '--enhancer', '--selection', '--reference'),
    'identity': ('source of a persona', 'IMAGE', '--recogniser', '--out', '--accept-noncommercial'),
    'doctor': ('how to get what is missing',),
    'models': ('list', 'inspect', 'add', 'verify'),
    'calibrate': ('gyro', 'bag', '--imu', '--intrinsics', '--json'),
    'bench': ('measure', 'transport', 'stages', 'inference', 'precision', 'roofline'),
}


def test_help_names_every_command(facefusion):
    done = facefusion('--help')
    assert (done.code, done.err) == (0, '')
    for command in COMMANDS:
        assert f'\n    {command}' in done.out
    assert 'examples:' in done.out


def test_the_examples_of_the_help_are_right():
    """Each is a line of command and comment; the parser must take it as it stands."""
    lines = [line.split('   ')[0].split() for line in parser().epilog.splitlines()[1:]]
    assert len(lines) >= 5
    for program, *words in lines:
        assert program == 'facefusion-ros'
        parser().parse_args(words)


@pytest.mark.parametrize('command', COMMANDS)
def test_help_of_a_command_says_what_it_does(command, facefusion):
    done = facefusion(command, '--help')
    assert (done.code, done.err) == (0, '')
    text = ' '.join(done.out.split())
    for part in COMMANDS[command]:
        assert part.lower() in text.lower()


def test_version(facefusion_process):
    assert facefusion_process('--version').out == f'facefusion-ros {__version__}\n'


@pytest.mark.parametrize(
    'words',
    [
        (),
        ('nosuch',),
        ('demo', '--nosuch'),
        ('demo', '--duration', 'long'),
        ('demo', '--duration', '-1'),
        ('demo', '--duration', 'nan'),
        ('record', '--duration', '0'),
        ('replay', 'drive.mcap'),
        ('detect',),
        ('swap', 'portrait.png'),
        ('swap', 'portrait.png', '--out', 'out.png', '--selection', 'all'),
        ('identity', 'portrait.png', '--out', 'who.npy'),
        ('bench',),
        ('bench', 'nosuch'),
        ('bench', 'stages', '--frames', '0'),
        ('bench', 'stages', '--frames', 'x'),
        ('bench', 'inference', '--runs', '0'),
        ('bench', 'roofline', '--frames', '1'),
        ('doctor', 'nosuch'),
    ],
    ids=' '.join,
)
def test_what_the_command_line_does_not_know(words, facefusion, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    done = facefusion(*words)
    assert done.code == 2
    assert done.out == ''
    usage, error = done.err.split('\n', 1)[0], done.err.splitlines()[-1]
    assert usage.startswith('usage: facefusion-ros')
    assert error.startswith('facefusion-ros')
    assert ': error: ' in error
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ('words', 'why'),
    [
        (('demo', '--out', '{file}'), 'file'),
        (('demo', '--out', '{file}/out'), 'file'),
        (('launch', 'nosuch.launch.xml'), 'no launch file nosuch.launch.xml'),
        (('launch', '{file}'), 'file'),
        (('launch', 'demo.launch.xml', 'nosuch:=1'), 'unknown argument nosuch'),
        (('launch', 'demo.launch.xml', 'nosuch'), 'nosuch'),
        (('launch', 'demo.launch.xml', 'composition:=perhaps'), 'perhaps'),
        (('record', '--out', '{folder}/missing/a.mcap'), 'missing/a.mcap'),
        (('record', '--out', '{folder}/a.mcap', '--namespace', 'not a name'), 'not a name'),
        (('record', 'not a topic', '--out', '{folder}/a.mcap'), 'not a topic'),
        (('replay', '{folder}/missing.mcap', '--out', '{folder}/out'), 'missing.mcap'),
        (('replay', '{file}', '--out', '{folder}/out'), 'is not a bag'),
        (('detect', '{file}', '--json', '{folder}/missing/faces.json'), 'faces.json'),
        (('swap', '{file}', '--out', '{folder}/out.png'), 'cannot read'),
        (('swap', '{folder}', '--out', '{folder}/out.png'), 'cannot read'),
        (('bench', 'stages', '--frames', '1', '--json', '{folder}'), 'folder'),
    ],
    ids=lambda value: ' '.join(value) if isinstance(value, tuple) else '',
)
def test_errors_are_one_line_and_no_traceback(words, why, tmp_path, facefusion_process):
    (tmp_path / 'folder').mkdir()
    (tmp_path / 'file').write_text('hello\n')
    places = {'folder': tmp_path / 'folder', 'file': tmp_path / 'file'}
    done = facefusion_process(*(word.format(**places) for word in words))
    assert done.code == 1
    if words[0] == 'detect':  # tells of the picture too
        done = type(done)(done.code, done.out, done.err.splitlines(keepends=True)[-1])
    assert why in done.refusal


def test_a_reader_that_goes_away_is_no_defect(executable):
    """As in `facefusion-ros doctor | head -1`."""
    reader, writer = os.pipe()
    os.close(reader)
    with os.fdopen(writer, 'wb') as gone:
        done = subprocess.run([executable, 'doctor'], stdout=gone, stderr=subprocess.PIPE, timeout=100)
    assert (done.returncode, done.stderr) == (1, b'')


def test_a_missing_extra_is_named(facefusion, monkeypatch):
    for name in ('skimage', 'skimage.data'):
        monkeypatch.setitem(sys.modules, name, None)  # as where it is not installed
    result = facefusion('bench', 'faces')
    assert result.code == 1
    assert 'facefusion_ros[demo]' in result.refusal
