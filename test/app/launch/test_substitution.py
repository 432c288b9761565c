"""The grammar of substitutions and what they stand for; the expected texts are those of ROS 2's own launch."""

from __future__ import annotations

import re
from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from facefusion_ros.app.launch.refusal import RefusalError
from facefusion_ros.app.launch.substitution import Scope, parse, perform

SCOPE = Scope({'x': '5', 'n': 'x', 's': 'a b', 'e': ''}, {'HERE': 'home'}, '/launch/folder')


@pytest.mark.parametrize(
    ('text', 'value'),
    [
        ('', ''),
        ('plain text', 'plain text'),
        ('$(var x)', '5'),
        ('a$(var x)b$(var s)c', 'a5ba bc'),
        ('$(var $(var n))', '5'),
        ('$(var nope 7)', '7'),
        ('$(var nope $(var x)$(var x))', '55'),
        ('$(var x $(var nope))', '5'),
        ('$(env HERE)', 'home'),
        ('$(env NOPE else)', 'else'),
        ("$(env NOPE 'a b')", 'a b'),
        ('$(env NOPE "a b")', 'a b'),
        ("$(env NOPE '')", ''),
        ("$(env NOPE 'it $(var x) is')", 'it 5 is'),
        ("$(env NOPE 'a(b)c')", 'a(b)c'),
        (r"$(env NOPE '\'a')", "'a"),
        (r'$(env NOPE a\(b\))', 'a(b)'),
        (r'$(env NOPE \'a)', "'a"),
        ("$(env NOPE '$(env NOPE2 a\"b)')", 'a"b'),
        ('$(env NOPE a$b)', 'a$b'),
        ('$(env NOPE [1,2])', '[1,2]'),
        ('$(dirname)/x.yaml', '/launch/folder/x.yaml'),
        (r'\$(var x)', '$(var x)'),
        (r'\\$(var x)', r'\$(var x)'),
        ('$', '$'),
        ('a$b $$', 'a$b $$'),
        ('$$(var x)', '$5'),
        ('a)b(c', 'a)b(c'),
        (r'it\'s', "it's"),
        (r'a\\b', r'a\b'),
        ('a\\', 'a\\'),
    ],
)
def test_values(text: str, value: str) -> None:
    assert perform(parse(text), SCOPE) == value


@pytest.mark.parametrize(
    ('text', 'said'),
    [
        ('$(', 'malformed substitution'),
        ('$()', 'malformed substitution'),
        ('$(var', 'malformed substitution $(var'),
        ('$(var x', 'malformed substitution $(var'),
        ('$(var  x)', 'an argument of a substitution is empty'),
        ('$(var x )', 'an argument of a substitution is empty'),
        ('$( var x)', 'malformed substitution'),
        ("$(env NOPE 'a)", 'a quote is not closed'),
        ("$(env NOPE 'a'b)", 'malformed substitution $(env'),
        ('$(var)', '$(var) takes 1 or 2 argument(s), 0 given'),
        ('$(var a b c)', '$(var) takes 1 or 2 argument(s), 3 given'),
        ('$(dirname x)', '$(dirname) takes 0 argument(s), 1 given'),
        ('$(find-pkg-share)', '$(find-pkg-share) takes 1 argument(s), 0 given'),
        ('$(eval 1)', 'unknown substitution $(eval); known are $(var), $(env), $(find-pkg-share)'),
        ('$(command ls)', 'unknown substitution $(command)'),
        ("$(var 'x $(eval 1)')", 'unknown substitution $(eval)'),
    ],
)
def test_what_cannot_be_parsed(text: str, said: str) -> None:
    with pytest.raises(RefusalError, match=re.escape(said)):
        parse(text)


@pytest.mark.parametrize(
    ('text', 'said'),
    [
        ('$(var nope)', "no <arg> or <let> named 'nope' so far; known are e, n, s, x"),
        ('$(env NOPE)', "the environment variable 'NOPE' is not set; set it or write $(env NOPE DEFAULT)"),
        ('$(env HERE $(var nope))', "no <arg> or <let> named 'nope'"),
        ('$(find-pkg-share nopkg)', "package 'nopkg' not found"),
    ],
)
def test_what_cannot_be_performed(text: str, said: str) -> None:
    with pytest.raises(RefusalError, match=re.escape(said)):
        perform(parse(text), SCOPE)


@given(st.text())
def test_escaped_text_stands_for_itself(text: str) -> None:
    escaped = text.replace('\\', '\\\\').replace('$', '\\$')
    assert perform(parse(escaped), SCOPE) == text


@given(st.text(), st.text(alphabet='ab$()\\\'" '))
def test_parsing_ends_in_a_template_or_a_refusal(text: str, brackets: str) -> None:
    for each in (text, brackets, f'$(var {brackets})', f"$(env A '{brackets}')"):
        with suppress(RefusalError):
            perform(parse(each), SCOPE)
