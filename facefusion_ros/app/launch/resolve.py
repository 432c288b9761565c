"""From a launch file and its arguments to the plan of processes; nothing is started or written here.

The meaning of the tags is that of the ROS 2 packages launch, launch_xml and launch_ros (``parse`` and ``execute`` of
their actions): elements are worked through in the file's order, an ``<include>`` shares its variables with the file
around it, a ``<group>`` keeps its own.
"""

from __future__ import annotations

import re
import shlex
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

import yaml

from facefusion_ros.app.launch import packages, parameters
from facefusion_ros.app.launch.document import Element, read
from facefusion_ros.app.launch.plan import Argument, ParameterFile, Plan, Process
from facefusion_ros.app.launch.refusal import LaunchFileError, RefusalError
from facefusion_ros.app.launch.substitution import Scope, listed, parse, perform, unescape

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

_DEEPEST_INCLUDE = 50
_OUTPUTS = ('screen', 'log', 'both', 'own_log', 'full')
_NAMESPACE = 'ros_namespace'
"""The variable in which launch_ros keeps the namespace that <push-ros-namespace> made."""
_NODE_NAME = re.compile(r'[A-Za-z_][A-Za-z0-9_]{0,254}')
_ABSOLUTE_NAMESPACE = re.compile(r'/|(/[A-Za-z_][A-Za-z0-9_]*)+')


def given(words: Iterable[str]) -> dict[str, str]:
    """Return arguments written as ``name:=value``, the last of each name; raises LaunchFileError."""
    pairs = {}
    for word in words:
        name, sign, text = word.partition(':=')
        if not name or not sign:
            raise LaunchFileError(f"'{word}' is no launch argument; write name:=value")
        pairs[name] = text
    return pairs


def arguments(path: Path, environ: Mapping[str, str]) -> list[Argument]:
    """Return the arguments a launch file takes, with those of the files that it includes and does not set itself.

    An include whose file depends on an argument is passed over. Raises LaunchFileError.
    """
    found: dict[str, Argument] = {}
    for argument in _arguments(path, environ, 0):
        found.setdefault(argument.name, argument)
    return list(found.values())


def _arguments(path: Path, environ: Mapping[str, str], depth: int) -> Iterator[Argument]:
    scope = Scope({}, dict(environ), _folder(path))
    for element, _ in _ungrouped(read(path)):
        if element.tag == 'arg':
            yield _declared(element)
        elif element.tag == 'include' and depth < _DEEPEST_INCLUDE:
            try:
                file = Path(perform(element.templates['file'], scope))
                fixed = {perform(child.templates['name'], scope) for child in element.children}
            except RefusalError:
                continue
            if file.is_file():
                yield from (each for each in _arguments(file, environ, depth + 1) if each.name not in fixed)


def _ungrouped(parent: Element, *, conditional: bool = False) -> Iterator[tuple[Element, bool]]:
    """Return the elements inside and outside of groups, and whether they depend on a condition."""
    for element in parent.children:
        depends = conditional or bool({'if', 'unless'} & element.attributes.keys())
        if element.tag == 'group':
            yield from _ungrouped(element, conditional=depends)
        else:
            yield element, depends


def _declared(element: Element) -> Argument:
    return Argument(
        unescape(element.attributes['name']),
        element.attributes.get('default'),
        unescape(element.attributes.get('description', '')),
        tuple(unescape(choice.attributes['value']) for choice in element.children),
        element.place,
    )


def _folder(path: Path) -> str:
    return str(path.absolute().parent)


def resolve(path: Path, arguments: Mapping[str, str], environ: Mapping[str, str]) -> Plan:
    """Return what a launch file starts, given its arguments and the environment it is launched in.

    Raises LaunchFileError: one line, with file and line, for whatever cannot be run; also for an argument that neither
    the file nor one it includes declares, which ``ros2 launch`` passes over in silence.
    """
    root = read(path)
    missing = [argument.name for argument in _required(root) if argument.name not in arguments]
    if missing:
        raise LaunchFileError(
            f'{path}: required argument {_written(missing)} is not given; given are {_written(arguments)}'
        )
    resolver = _Resolver(Scope(dict(arguments), dict(environ), _folder(path)))
    resolver.file(root)
    if arguments.keys() - resolver.settable:
        # Those of files that are included under other conditions are known as well.
        known = resolver.settable | {argument.name for argument in _arguments(path, environ, 0)}
        if unknown := arguments.keys() - known:
            raise LaunchFileError(f'{path}: unknown argument {_written(unknown)}; known are {_written(known)}')
    return Plan(tuple(resolver.processes))


def _written(names: Iterable[str]) -> str:
    return listed(f'{name}:=' for name in names)


def _required(root: Element) -> list[Argument]:
    """Return the arguments without default that are declared whatever the conditions; a name's first <arg> counts."""
    first: dict[str, tuple[Argument, bool]] = {}
    for element, conditional in _ungrouped(root):
        if element.tag == 'arg':
            argument = _declared(element)
            first.setdefault(argument.name, (argument, conditional))
    return [argument for argument, conditional in first.values() if argument.default is None and not conditional]


class _Resolver:
    """Works through elements in order and holds what they change."""

    def __init__(self, scope: Scope) -> None:
        self.scope = scope
        self.processes: list[Process] = []
        self.settable: set[str] = set()
        """Names that arguments on the command line can set."""
        self.fixed: frozenset[str] = frozenset()
        """Names that the includes around the present element set."""
        self.depth = 0
        self.actions = {
            'arg': self.arg,
            'let': self.let,
            'group': self.group,
            'push-ros-namespace': self.push_ros_namespace,
            'push_ros_namespace': self.push_ros_namespace,
            'node': self.node,
            'executable': self.executable,
            'include': self.include,
            'set_env': self.set_env,
            'unset_env': self.unset_env,
        }

    def file(self, root: Element) -> None:
        declared = {_declared(element).name for element, _ in _ungrouped(root) if element.tag == 'arg'}
        self.settable |= declared - self.fixed
        self.elements(root)

    def elements(self, parent: Element) -> None:
        for element in parent.children:
            with _at(element):
                if self.wanted(element):
                    self.actions[element.tag](element)

    def text(self, element: Element, attribute: str, default: str = '') -> str:
        template = element.templates.get(attribute)
        return default if template is None else perform(template, self.scope)

    def wanted(self, element: Element) -> bool:
        for attribute, sense in (('if', True), ('unless', False)):
            if attribute in element.attributes:
                condition = self.text(element, attribute).strip().lower()
                if condition not in {'true', '1', 'false', '0'}:
                    raise RefusalError(f"{attribute}='{condition}' is no condition; write true, false, 1 or 0")
                return (condition in {'true', '1'}) == sense
        return True

    def arg(self, element: Element) -> None:
        argument = _declared(element)
        known = self.scope.configurations
        if argument.name not in known:
            if argument.default is None:
                raise RefusalError(f"required argument '{argument.name}' is not given; add {argument.name}:=VALUE")
            known[argument.name] = self.text(element, 'default')
        if argument.choices and known[argument.name] not in argument.choices:
            choices = ', '.join(argument.choices)
            raise RefusalError(f'{argument.name}:={known[argument.name]} is not among the choices: {choices}')

    def let(self, element: Element) -> None:
        self.scope.configurations[self.text(element, 'name')] = self.text(element, 'value')

    def set_env(self, element: Element) -> None:
        self.scope.environment[self.text(element, 'name')] = self.text(element, 'value')

    def unset_env(self, element: Element) -> None:
        self.scope.environment.pop(self.text(element, 'name'), None)

    def push_ros_namespace(self, element: Element) -> None:
        self.scope.configurations[_NAMESPACE] = self.namespace(self.text(element, 'namespace'))

    def group(self, element: Element) -> None:
        outside = self.scope
        if parameters.boolean(element.attributes.get('scoped', 'true')):
            self.scope = Scope(dict(outside.configurations), dict(outside.environment), outside.directory)
        self.elements(element)
        self.scope = outside

    def include(self, element: Element) -> None:
        path = Path(self.text(element, 'file'))
        if self.depth == _DEEPEST_INCLUDE:
            raise RefusalError(f'includes are nested deeper than {_DEEPEST_INCLUDE}; does {path} include itself?')
        if not path.is_file():
            raise RefusalError(f'included launch file not found: {path}')
        root = read(path)
        names = [self.text(child, 'name') for child in element.children]
        for argument in _required(root):
            # Even where the including file has a variable of that name, as ROS does it.
            if argument.name not in names:
                raise RefusalError(f'<include> lacks <arg name="{argument.name}" .../>, required by {argument.place}')
        before = self.scope.directory, self.fixed
        # The values are worked out as if they stood in the included file: $(dirname) is its folder.
        self.scope.directory = _folder(path)
        for child in (*element.named('arg'), *element.named('let')):
            self.let(child)
        self.fixed |= set(names)
        self.depth += 1
        self.file(root)
        self.depth -= 1
        self.scope.directory, self.fixed = before

    def node(self, element: Element) -> None:
        exec_name = self.text(element, 'exec')
        file = exec_name
        if 'pkg' in element.attributes:
            file = str(packages.executable(self.text(element, 'pkg'), exec_name, self.scope.environment))
        argv: list[str | ParameterFile] = [*packages.command(file), *self.words(element, 'args')]
        if 'ros_args' in element.attributes:
            argv += ['--ros-args', *self.words(element, 'ros_args')]
        argv.append('--ros-args')
        node_name = self.text(element, 'name')
        if 'name' in element.attributes:
            if not _NODE_NAME.fullmatch(node_name):
                raise RefusalError(f"'{node_name}' is no node name; letters, digits and _ only, no digit first")
            argv += ['-r', f'__node:={node_name}']
        namespace = self.scope.configurations.get(_NAMESPACE)
        if 'namespace' in element.attributes:
            namespace = self.namespace(self.text(element, 'namespace'))
        if namespace is not None:
            argv += ['-r', f'__ns:={namespace}']
        full_name = f'{namespace.rstrip("/")}/{node_name}' if node_name and namespace else '/**'
        for param in element.named('param'):
            with _at(param):
                argv += ['--params-file', self.parameter_file(param, full_name)]
        for remap in element.named('remap'):
            argv += ['-r', f'{self.text(remap, "from")}:={self.text(remap, "to")}']
        self.start(element, self.text(element, 'exec_name', Path(file).name), argv)

    def executable(self, element: Element) -> None:
        words = self.words(element, 'cmd')
        if not words[0]:
            raise RefusalError('cmd is empty; give the command to run')
        name = self.text(element, 'name', Path(words[0]).name)
        self.start(element, name, [*packages.command(words[0]), *words[1:]])

    def start(self, element: Element, name: str, argv: list[str | ParameterFile]) -> None:
        output = self.text(element, 'output', 'log')
        if output not in _OUTPUTS:
            raise RefusalError(f"output='{output}' is unknown; known are {', '.join(_OUTPUTS)}")
        on_exit = element.attributes.get('on_exit')
        if on_exit not in {None, 'shutdown'}:
            raise RefusalError(f"on_exit='{on_exit}' is unknown; known is shutdown")
        env = dict(self.scope.environment)
        env.update((self.text(each, 'name'), self.text(each, 'value')) for each in element.named('env'))
        self.processes.append(
            Process(
                label=f'{name}-{len(self.processes) + 1}',
                argv=(*_split(self.text(element, 'launch-prefix')), *argv),
                env=env,
                cwd=self.text(element, 'cwd') or None,
                respawn=parameters.boolean(self.text(element, 'respawn', 'false')),
                respawn_delay_s=_number(element, 'respawn_delay', 0.0),
                respawn_limit=_number(element, 'respawn_max_retries', -1),
                ends_launch=on_exit == 'shutdown',
                place=element.place,
            )
        )

    def namespace(self, pushed: str) -> str:
        """Return a namespace in the present one, absolute."""
        base = self.scope.configurations.get(_NAMESPACE, '')
        joined = pushed if not base or pushed.startswith('/') else f'{base.rstrip("/")}/{pushed}'
        absolute = joined.rstrip('/') if joined.startswith('/') else f'/{joined.rstrip("/")}'
        absolute = absolute or '/'
        if not _ABSOLUTE_NAMESPACE.fullmatch(absolute):
            raise RefusalError(f"'{absolute}' is no namespace; names of letters, digits and _ joined by single /")
        return absolute

    def words(self, element: Element, attribute: str) -> list[str]:
        """Return a command line's words: written text is split as a shell splits it, what is substituted never is."""
        words: list[str] = []
        word: str | None = None
        for part in element.templates.get(attribute, ()):
            if not isinstance(part, str):
                word = (word or '') + perform((part,), self.scope)
                continue
            pieces = _split(part)
            if not pieces or (part[0].isspace() and word is not None):
                words.append(word or '')
                word = None
            for number, piece in enumerate(pieces):
                if number:
                    words.append(word or '')
                    word = None
                word = (word or '') + piece
            if pieces and part[-1].isspace():
                words.append(word or '')
                word = None
        return words if word is None else [*words, word]

    def parameter_file(self, param: Element, node: str) -> str | ParameterFile:
        if 'from' not in param.attributes:
            if 'name' not in param.attributes or 'allow_substs' in param.attributes:
                raise RefusalError("<param> takes either 'name' and 'value', or 'from'")
            return ParameterFile(parameters.file_text(node, dict(self.values(param, ''))))
        if len(param.attributes.keys() - {'allow_substs'}) > 1 or param.children:
            raise RefusalError("<param> with 'from' takes no 'name', 'value', 'type' or nested <param>")
        path = Path(self.text(param, 'from'))
        if not path.is_file():
            raise RefusalError(f'parameter file not found: {path}')
        if not parameters.boolean(param.attributes.get('allow_substs', 'false')):
            return str(path)
        content = perform(parse(path.read_text()), self.scope)
        try:
            yaml.safe_load(content)
        except yaml.YAMLError:
            raise RefusalError(f'parameter file {path} is no YAML once its substitutions are made') from None
        return ParameterFile(content)

    def values(self, param: Element, prefix: str) -> Iterator[tuple[str, parameters.Value]]:
        with _at(param):
            name = prefix + self.text(param, 'name')
            if ('value' in param.attributes) == bool(param.children) or (param.children and 'type' in param.attributes):
                raise RefusalError(f"parameter '{name}' takes either a 'value' or nested <param>")
            if 'value' in param.attributes:
                type_name = param.attributes.get('type', 'yaml')
                yield name, parameters.value(param.attributes['value'], type_name, self.scope)
        for child in param.children:
            yield from self.values(child, f'{name}.')


_Number = TypeVar('_Number', int, float)


def _number(element: Element, attribute: str, default: _Number) -> _Number:
    """Return an attribute as a number of the default's type and not below it."""
    text = element.attributes.get(attribute)
    if text is None:
        return default
    try:
        number = type(default)(text)
    except ValueError:
        number = default - 1
    if not default <= number:
        raise RefusalError(f"{attribute}='{text}' is no number from {default}")
    return number


@contextmanager
def _at(element: Element) -> Iterator[None]:
    """Give a refusal the file and line of the element it is about."""
    try:
        yield
    except RefusalError as refusal:
        raise LaunchFileError(f'{element.place}: {refusal}') from None


def _split(text: str) -> list[str]:
    try:
        return shlex.split(text)
    except ValueError as error:
        raise RefusalError(f'{text!r} cannot be split into words: {error}') from None
