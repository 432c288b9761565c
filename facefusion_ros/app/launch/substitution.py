"""The ``$(...)`` substitutions of launch files: parsing, and replacing them by their values.

Grammar and meaning follow the ROS 2 package launch (share/launch/frontend/grammar.lark): arguments are separated by
one space, an argument may be quoted, a backslash takes the special meaning from the character after it.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeAlias

from facefusion_ros.app.launch import packages
from facefusion_ros.app.launch.refusal import RefusalError

if TYPE_CHECKING:
    from collections.abc import Iterable


@dataclass(frozen=True, slots=True)
class Call:
    """One ``$(name argument ...)``."""

    name: str
    arguments: tuple[Template, ...]


Template: TypeAlias = 'tuple[str | Call, ...]'
"""Text and substitutions in their order."""


@dataclass(slots=True)
class Scope:
    """What substitutions look things up in."""

    configurations: dict[str, str]
    """Values of arguments and <let>, by name."""
    environment: dict[str, str]
    directory: str
    """Absolute path of the folder of the launch file at hand."""


_ARGUMENTS = {
    'var': (1, 2),
    'env': (1, 2),
    'find-pkg-share': (1, 1),
    'find-pkg-prefix': (1, 1),
    'exec-in-pkg': (2, 2),
    'dirname': (0, 0),
}
"""Least and greatest number of arguments of each substitution known here."""

_TEXT = {
    '': re.compile(r'(?:[^$]|(?<=\\)\$|\$(?!\())+'),
    "'": re.compile(r"(?:\\'|[^$']|(?<=\\)\$|\$(?!\())+"),
    '"': re.compile(r'(?:\\"|[^$"]|(?<=\\)\$|\$(?!\())+'),
}
"""Text between substitutions, by the quote it stands in; a $ right after a backslash never begins a substitution."""
_WORD = {
    '': re.compile(r"""(?:\\['"]|[^ '"$()]|(?<=\\)[$()]|\$(?!\())+"""),
    "'": re.compile(r"(?:\\'|[^ '$()]|(?<=\\)[$()]|\$(?!\())+"),
    '"': re.compile(r'(?:\\"|[^ "$()]|(?<=\\)[$()]|\$(?!\())+'),
}
"""A piece of an argument that is not quoted itself, by the quote around its substitution."""
_IDENTIFIER = re.compile(r'[A-Za-z][A-Za-z0-9_-]*')


def unescape(text: str) -> str:
    """Return the text without its escaping backslashes."""
    return re.sub(r'\\(.)', r'\1', text)


def parse(text: str) -> Template:
    """Parse an attribute's text; raises RefusalError with one line that says what is wrong with it."""
    return _Reader(text).template('') or ('',)


class _Reader:
    """A recursive-descent parser over one text."""

    def __init__(self, text: str) -> None:
        self.text = text
        self.at = 0

    def template(self, quote: str) -> Template:
        fragments: list[str | Call] = []
        while self.at < len(self.text):
            if self.text.startswith('$(', self.at):
                fragments.append(self.call(quote))
            elif piece := _TEXT[quote].match(self.text, self.at):
                fragments.append(unescape(piece[0]))
                self.at = piece.end()
            else:
                break
        return tuple(fragments)

    def call(self, quote: str) -> Call:
        self.at += 2
        name = _IDENTIFIER.match(self.text, self.at)
        if not name:
            raise RefusalError(f'malformed substitution in {self.text!r}')
        self.at = name.end()
        if name[0] not in _ARGUMENTS:
            known = ', '.join(f'$({each})' for each in _ARGUMENTS)
            raise RefusalError(f'unknown substitution $({name[0]}); known are {known}')
        arguments: list[Template] = []
        while self.take(' '):
            arguments.append(self.argument(quote))
        if not self.take(')'):
            raise RefusalError(f'malformed substitution $({name[0]} in {self.text!r}')
        least, most = _ARGUMENTS[name[0]]
        if not least <= len(arguments) <= most:
            wanted = f'{least}' if least == most else f'{least} or {most}'
            raise RefusalError(f'$({name[0]}) takes {wanted} argument(s), {len(arguments)} given in {self.text!r}')
        return Call(name[0], tuple(arguments))

    def argument(self, quote: str) -> Template:
        if not quote:
            for mark in ('"', "'"):
                if self.take(mark):
                    quoted = self.template(mark)
                    if not self.take(mark):
                        raise RefusalError(f'a quote is not closed in {self.text!r}')
                    return quoted
        parts: list[str | Call] = []
        while True:
            if self.text.startswith('$(', self.at):
                parts.append(self.call(quote))
            elif piece := _WORD[quote].match(self.text, self.at):
                parts.append(unescape(piece[0]))
                self.at = piece.end()
            else:
                break
        if not parts:
            raise RefusalError(f'an argument of a substitution is empty in {self.text!r}; one space separates them')
        return tuple(parts)

    def take(self, character: str) -> bool:
        found = self.text.startswith(character, self.at)
        self.at += found
        return found


def perform(template: Template, scope: Scope) -> str:
    """Return the text with every substitution replaced; raises RefusalError with one line that says what is missing."""
    return ''.join(part if isinstance(part, str) else _value(part, scope) for part in template)


def _value(call: Call, scope: Scope) -> str:
    if call.name == 'dirname':
        return scope.directory
    first = perform(call.arguments[0], scope)
    if call.name == 'find-pkg-share':
        return str(packages.share(first, scope.environment))
    if call.name == 'find-pkg-prefix':
        return str(packages.prefix(first, scope.environment))
    if call.name == 'exec-in-pkg':
        return str(packages.executable(perform(call.arguments[1], scope), first, scope.environment))
    if call.name == 'env':
        # The default is worked out even where it is not needed, as ROS does it.
        default = perform(call.arguments[1], scope) if len(call.arguments) > 1 else None
        found = scope.environment.get(first, default)
        if found is None:
            raise RefusalError(f"the environment variable '{first}' is not set; set it or write $(env {first} DEFAULT)")
        return found
    if first in scope.configurations:
        return scope.configurations[first]
    if len(call.arguments) > 1:
        return perform(call.arguments[1], scope)
    raise RefusalError(f"no <arg> or <let> named '{first}' so far; known are {listed(scope.configurations)}")


def listed(names: Iterable[str]) -> str:
    """Return names in a row for a message."""
    return ', '.join(sorted(names)) or 'none'
