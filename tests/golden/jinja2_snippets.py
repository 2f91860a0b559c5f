"""Snippets of Jinja2 for differential tests: a systematic grid of operations over values, and a
random generator of templates."""

import itertools
import random

# One document for all: names that templates use, and values of each type.
DOCUMENT = {
    "messages": [
        {"role": "system", "content": "Be <brief>."},
        {"role": "user", "content": " Hi <|im_end|> there\n"},
        {"role": "assistant", "content": "héllo 'x' \"y\"", "n": 3, "tags": ["a", "b"]},
        {"role": "user", "content": "two\n\nlines\r\nand \u2028 more"},
    ],
    "tools": [{"type": "function", "function": {"name": "f<1>", "parameters": {"b": 1, "a": [1.5]}}}],
    "chat_template_kwargs": {
        "s": "Hello World",
        "e": "",
        "u": "Straße ǅ İ x",
        "n": 7,
        "z": 0,
        "neg": -3,
        "x": 2.5,
        "tiny": 1e-7,
        "big": 1e16,
        "whole": 3.0,
        "t": True,
        "f": False,
        "no": None,
        "l": [3, 1, 2],
        "ls": ["b", "A", "c", "a"],
        "lm": [1, "a", None],
        "el": [],
        "d": {"b": 1, "a": "x", "items": "own", "c": {"k": [1, 2]}},
        "ed": {},
        "recs": [{"n": "x", "v": 2, "g": "A"}, {"n": "y", "v": 1, "g": "b"}, {"n": "z", "g": "a"}],
        "num": " 42 ",
        "fl": "3.7e1",
        "multi": "a\nb\n\nc\n",
    },
}

VALUES = [
    "s", "e", "u", "n", "z", "neg", "x", "tiny", "big", "whole", "t", "f", "no", "l", "ls", "lm",
    "el", "d", "ed", "recs", "num", "multi", "missing", "d.missing", "'a'", "(1, 'b')", "(1,)",
    "range(3)", "d.items()", "d.keys()", "namespace(a=1)", "'%'",
]
FILTERS = [
    "abs", "batch(2)|list", "batch(2, 'x')|list", "capitalize", "center(14)", "count", "default('q')",
    "default('q', true)", "dictsort", "dictsort(by='value')", "escape", "first", "float", "float(1)",
    "groupby('g')", "indent", "indent(2, true)", "indent(2, blank=true)", "indent('>')", "int",
    "int(5)", "int(base=16)", "items|list", "join", "join(', ')", "join('-', attribute='n')", "last",
    "length", "list", "lower", "map('upper')|list", "map(attribute='n')|list",
    "map(attribute='v', default=9)|list", "max", "min", "max(attribute='n')", "reject|list",
    "select|list", "select('string')|list", "reject('in', [1, 'a'])|list", "rejectattr('v')|list",
    "selectattr('v', 'defined')|list", "selectattr('n', 'equalto', 'y')|map(attribute='g')|list",
    "replace('l', '<L>')", "replace('', '-')", "replace('l', 'L', 1)", "reverse|list", "reverse",
    "round", "round(1)", "round(-1)", "round(1, 'ceil')", "round(method='floor')", "safe", "slice(2)|list",
    "slice(3, 0)|list", "sort", "sort(reverse=true)", "sort(attribute='n')", "sort(case_sensitive=true)",
    "string", "striptags", "sum", "sum(start=10)", "sum(attribute='v')", "title", "tojson",
    "tojson(indent=2)", "tojson(true)", "tojson(separators=(',', ':'))", "tojson(sort_keys=true)",
    "tojson(indent=0)", "trim", "trim('Hd')", "truncate(5)", "truncate(9, true, '!')", "unique|list",
    "upper", "urlencode", "wordcount", "attr('upper')", "attr('a')", "format(1)", "format(1, 'x')",
]
TESTS = [
    "defined", "undefined", "none", "true", "false", "boolean", "integer", "float", "number", "string",
    "mapping", "iterable", "sequence", "callable", "lower", "upper", "odd", "even", "divisibleby 2",
    "divisibleby(0)", "sameas none", "sameas true", "in [1, 'a', none]", "in 'Hello World'", "eq 7",
    "equalto(2.5)", "ne none", "lt 3", "gt(2)", "le 7", "ge 7.0", "escaped", "nonesuch",
]
METHODS = [
    "upper()", "lower()", "capitalize()", "title()", "swapcase()", "strip()", "strip('Ho')", "lstrip()",
    "rstrip('d\\n')", "split()", "split('l')", "split('l', 1)", "split(none, 1)", "split('')",
    "split(sep='o', maxsplit=1)", "rsplit('l', 1)", "rsplit(none, 1)", "rsplit()", "splitlines()",
    "splitlines(true)", "startswith('H')", "startswith(('x', 'H'))", "startswith('l', 2)", "endswith('d')",
    "endswith('o', 0, 5)", "find('o')", "find('o', 5)", "find('zz')", "rfind('o')", "index('W')",
    "index('q')", "count('l')", "count('')", "replace('l', 'L')", "replace('l', 'L', 1)",
    "replace('', '.')", "partition(' ')", "rpartition('o')", "partition('q')", "rpartition('q')",
    "removeprefix('He')", "removesuffix('ld')", "join(ls)", "join('abc')", "join(l)", "center(20, '*')",
    "ljust(14)", "rjust(14, '.')", "zfill(14)", "isalpha()", "isdigit()", "isalnum()", "isspace()",
    "islower()", "isupper()", "istitle()", "isascii()", "isdecimal()", "isnumeric()", "isidentifier()",
    "isprintable()", "expandtabs(4)", "casefold()", "format(1)", "items()|list", "keys()|list",
    "values()|list", "get('a')", "get('q')", "get('q', 5)", "append(1)", "update({})", "pop()", "items",
    "copy()", "count(1)", "index(2)", "nonesuch()", "nonesuch", "a", "0", "is_integer()",
]
SUBSCRIPTS = [
    "[0]", "[-1]", "[7]", "['a']", "['upper']", "[1:]", "[:2]", "[-3:]", "[::-1]", "[::2]", "[5:1:-2]",
    "[:-1]", "[none:2]", "[1:1]", "['q']", "[true]", "[1.0]", "[::0]", "[:99]", "[-99:2]", "[2:0]",
    "[0,1]", "[l]",
]
BINARY = ["+", "-", "*", "/", "//", "%", "**", "~", "==", "!=", "<", "<=", ">", ">=", "in", "not in",
          "and", "or"]
OPERANDS = [
    "s", "e", "n", "z", "neg", "x", "tiny", "big", "whole", "t", "no", "l", "el", "d", "missing",
    "'%s'", "'%d|%5.1f'", "(1, 2.5)", "range(3)", "'o'", "[3]", "{'b': 1}", "-1", "2",
]
LITERALS = [
    "1e-7", "1e5", "1.5e300", "1_000", "0x1f", "0b101", "0o17", "1e16", "123456789012345678", "1.0",
    "0.1 + 0.2", "1/3", "1e22", "-0.0", "100000000000000000000.0", "2**0.5", "2**-1", "-2**2", "2**3**2",
    "7 // -2", "-7 % 3", "7.5 // 2", "-7.5 % 2", "7 % -3", "1 < 2 < 3", "3 > 2 > 2", "1 == 1.0",
    "true + 1", "true == 1", "'a' 'b'", "'a\\n\\t\\\\\\x41\\u00e9'", "\"it's\"", "['it\\'s', '\"', '\\n', 'é', '\\x00']",
    "{1: 'a', 'b': none}", "{'a': 1}.a", "[1, [2, (3,)]]", "()", "[]", "{}", "(1)", "1,2", "none", "None",
    "true", "True", "not none", "not 1 == 2", "1 if true", "1 if false", "(1 if false) is defined",
    "'x' if none else 'y'", "1 if 0 else 2 if 0 else 3", "loop", "caller", "range(10)[2:4]",
    "range(0, 10, 3)|list", "range(5, 0, -2)|list", "range(2, 2)", "range(100001)", "dict(a=1, b=2)",
    "dict([('a', 1)])", "namespace()", "'%s and %r' % ('a', 'b')", "'%(a)s' % {'a': 1}", "'%5d|%-5d|%05d' % (1, 2, 3)",
    "'%.2f' % 3.14159", "'%x %X %o' % (255, 255, 8)", "'%e' % 12345.678", "'%g' % 0.0001", "'%g' % 1e10",
    "'%%' % ()", "'%s' % none", "'%s' % [1]", "'%d' % 3.9", "'%d' % 'a'", "'%s'", "'%s %s' % ('a',)",
    "'a' % 'b'", "'%+d % d' % (1, 2)", "'%c%c' % ('a', 98)", "'%10s|%-10s|' % ('a', 'b')", "'%.2s' % 'abc'",
    "'{} {}'.format(1, 'a')", "'{0}{1}{0}'.format('a', 'b')", "'{a}'.format(a=1)", "'{:>5}|{:<5}|{:^5}'.format('a', 'b', 'c')",
    "'{:05.1f}'.format(3.14159)", "'{:,}'.format(1234567)", "'{!r}'.format('a')", "'{{}}'.format()", "'{'.format()",
    "'{0[a]}'.format({'a': 1})", "'{:x}'.format(255)", "'{:d}'.format(3)", "'{}'.format()", "s.upper",
    "'abc'|upper ~ 'd'", "-1|abs", "(-1)|abs", "2 * 3|string", "'a' + 1|string", "[1,2,3]|sum / 2", "x is not none and x > 1",
    "n is odd and not n is even", "'a' in 'abc' and 'd' not in 'abc'", "none in [none]", "1 in {1: 2}", "'x' in d", "d.items is defined",
    "d['items']", "d.items", "missing.foo", "d.missing.foo", "d['c']['k'][0]", "d.c.k.1", "messages[0].role", "messages[-1]['content']|trim",
    "messages|map(attribute='role')|join(',')", "messages|selectattr('role', 'equalto', 'user')|list|length",
    "messages|length", "(messages|first).role", "messages[1:]|length", "messages is sequence", "tools|tojson", "tools[0].function.parameters|tojson(indent=4)",
    "messages[2]|tojson", "messages[2]", "documents", "add_generation_prompt", "undefined", "true is boolean", "1 is number", "true is number",
    "true is integer", "[1,2]|map('string')|join", "['a','b']|map('default')|list", "[[1,2],[3,4]]|map('first')|list", "[1,2]|map", "l|map('nonesuch')",
    "s|nonesuch", "cycler('a','b')", "cycler('a', 'b').next()", "joiner(',')()", "strftime_now('%Y')", "raise_exception('no')",
    "[3,1,2]|sort|first", "d|length", "d|list", "d|first", "'abc'|list", "'abc'|last", "'a,b'.split(',')|last", "5|string|length", "s[n]", "s[-n:]",
    "1.5|int", "'0x1F'|int(base=16)", "'abc'|int(-1)", "none|int", "'1_0'|int", "'1e3'|int", "'nan'|float", "'inf'|float", "2.5|round", "3.5|round|int", "2.675|round(2)", "1234.5|round(-2)",
    "15|round(-1)", "[1, 1.0, true]|unique|list", "['A', 'a', 'b']|unique|list", "1e308 * 10", "-1e308 * 10", "(1e308 * 10)|tojson", "[1,2] == (1,2)", "[1,2] < [1,3]", "'a' < 'B'", "{} == {}",
    "'ß'|upper", "'ΑΣ'|lower", "'hello world-foo (bar'|title", "\"it's o'clock\".title()", "'ÀB'|lower", "'\\u2028a\\x85b'.splitlines()", "'a\\x1cb'.split()", "'\\xa0a\\xa0'|trim",
    "1/123456789012345678", "0/-5", "170141183460469231731687303715884105727/-3", "9459258421841182928093142605732/-6019605779879191",
    "13623935696628620402964/11695496", "9007199254740993 > 9007199254740992.0", "9007199254740992.0 < 9007199254740993", "9007199254740993 == 9007199254740992.0",
    "1164887380289696.25", "5e-324", "1.7976931348623157e308", "9999999999999998.0", "0.0001", "0.00001", "-123.0",
]
STATEMENTS = [
    "{% for m in messages %}{{ loop.index }}{{ loop.first }}{{ loop.last }}{{ m.role }}{{ ',' if not loop.last }}{% endfor %}",
    "{% for a in l %}{{ loop.index0 }}/{{ loop.revindex }}/{{ loop.revindex0 }}/{{ loop.length }}/{{ loop.depth }} {% endfor %}",
    "{% for a in l %}[{{ loop.previtem }}|{{ a }}|{{ loop.nextitem }}]{% endfor %}",
    "{% for a in l %}{{ loop.cycle('x', 'y') }}{{ loop.changed(a > 1) }}{% endfor %}",
    "{% for a in el %}x{% else %}none{% endfor %}", "{% for a in missing %}x{% else %}none{% endfor %}",
    "{% for a in no %}x{% endfor %}", "{% for a in n %}x{% endfor %}", "{% for c in 'héy' %}{{ c }}.{% endfor %}",
    "{% for k in d %}{{ k }}{% endfor %}", "{% for k, v in d.items() %}{{ k }}={{ v }};{% endfor %}",
    "{% for k, v in d|items %}{{ k }}{% endfor %}", "{% for a, b in [(1, 2), (3, 4)] %}{{ a + b }}{% endfor %}",
    "{% for a, b in [(1, 2, 3)] %}x{% endfor %}", "{% for a in l if a > 1 %}{{ a }}{{ loop.length }}{% endfor %}",
    "{% for a in l %}{% if a == 1 %}{% continue %}{% endif %}{{ a }}{% endfor %}",
    "{% for a in l %}{% if a == 1 %}{% break %}{% endif %}{{ a }}{% else %}e{% endfor %}",
    "{% for a in range(3) %}{% for b in range(a) %}{{ a }}{{ b }}{{ loop.index }}{% endfor %}{{ loop.index }}{% endfor %}",
    "{% set x = 1 %}{% for a in l %}{% set x = x + a %}{{ x }}{% endfor %}{{ x }}",
    "{% set ns = namespace(x=1) %}{% for a in l %}{% set ns.x = ns.x + a %}{% endfor %}{{ ns.x }}{{ ns.y is defined }}{{ ns }}",
    "{% set d.x = 1 %}", "{% set a, b = 1, 2 %}{{ a }}{{ b }}", "{% set a, b = 1 %}", "{% set a %}x{{ 1 }}y{% endset %}[{{ a }}]",
    "{% set a | upper | trim %} x {% endset %}[{{ a }}]", "{% if missing %}a{% elif n > 5 %}b{% else %}c{% endif %}",
    "{% if false %}{% set q = 1 %}{% endif %}{{ q is defined }}", "{% if true %}{% set q = 1 %}{% endif %}{{ q }}",
    "{% set s = s ~ '!' %}{{ s }}", "{% with a = 1, b = n %}{{ a }}{{ b }}{% endwith %}{{ a is defined }}",
    "{% with %}{% set a = 3 %}{{ a }}{% endwith %}{{ a }}", "{% filter upper %}a{{ 'b' }}{% endfilter %}",
    "{% filter replace('a', 'x')|upper %}banana{% endfilter %}", "{% macro f(a, b=2) %}{{ a }}-{{ b }};{% endmacro %}{{ f(1) }}{{ f(1, 3) }}{{ f(b=1, a=2) }}",
    "{% macro f(a, b=a) %}{{ a }}{{ b }}{% endmacro %}{{ f(1) }}", "{% macro f() %}x{% endmacro %}{{ f(1) }}", "{% macro f() %}x{% endmacro %}{{ f(a=1) }}",
    "{% macro f(a) %}[{{ a }}]{% endmacro %}{{ f() }}", "{% macro f() %}{{ varargs }}{{ kwargs }}{% endmacro %}{{ f(1, 2, a=3) }}",
    "{% macro f() %}<{{ caller() }}>{% endmacro %}{% call f() %}in{{ n }}{% endcall %}",
    "{% macro f() %}<{{ caller(1) }}>{% endmacro %}{% call(a) f() %}{{ a }}{% endcall %}", "{% macro f(a) %}{{ a }}{% endmacro %}{% call f(1) %}x{% endcall %}",
    "{% macro f(n) %}{{ n }}{% if n > 0 %}{{ f(n - 1) }}{% endif %}{% endmacro %}{{ f(3) }}", "{% macro f(n) %}{{ f(n) }}{% endmacro %}{{ f(3) }}",
    "{% macro f() %}{{ q }}{% endmacro %}{% set q = 1 %}{{ f() }}", "{% for q in l %}{{ g is defined }}{% macro g() %}{{ q }}{% endmacro %}{{ g() }}{% endfor %}",
    "{% macro f() %}{% set s = 1 %}{{ s }}{% endmacro %}{{ f() }}{{ s }}", "{{ f is defined }}{% macro f() %}{% endmacro %}{{ f is defined }}{{ f is callable }}",
    "{% macro f(a, b=1) %}{% endmacro %}{{ f.name }}{{ f.arguments }}{{ f.catch_kwargs }}{{ f.caller }}", "{% macro f(a=1, b) %}{% endmacro %}",
    "{% macro f(x) %}{{ x|tojson }}{% endmacro %}{{ f({'a': [1]}) }}{{ f(x=none) }}", "{{ f(1) }}{% macro f(a) %}{{ a }}{% endmacro %}",
    "{% macro outer() %}{% macro inner() %}i{% endmacro %}{{ inner() }}{% endmacro %}{{ outer() }}{{ inner is defined }}",
    "{% block a %}x{{ s }}{% endblock %}", "{% set q = 5 %}{% block a %}{{ q }}{% set q = 6 %}{{ q }}{% endblock %}{{ q }}", "{% for q in l %}{% block a scoped %}{{ q }}{% endblock %}{% endfor %}",
    "{% for q in l %}{% block a %}{{ q }}{% endblock %}{% endfor %}", "{% generation %}a{{ s }}{% endgeneration %}b", "{% generation %}{% set q = 1 %}{% endgeneration %}{{ q }}",
    "{% for a in l %}{% generation %}{% break %}{% endgeneration %}{% endfor %}", "{% break %}", "{% raw %}{{ a }}{% endraw %}", "{% raw -%} {{ a }} {%- endraw %}.", "{% raw %}\nx\n{% endraw %}\ny",
    "{# c #}x", "a {#- c -#} b", "{# unclosed", "{{ unclosed", "{% if x %}", "{% endif %}", "{% for %}", "{{ }}", "{{ 'a }}", "{{ a b }}", "{% nonesuch %}", "{{ (1 }}", "{{ 1) }}", "{{ [1 }}",
    "{% include 'x' %}", "{% import 'x' as y %}", "{% extends 'x' %}", "{% do 1 %}", "{% print 1, 'a' %}", "{% autoescape false %}<{{ '<' }}{% endautoescape %}",
    "a\n{% if true %}\n  b\n{% endif %}\nc\n", "a\r\n{% if true %}\r\n  b\r\n{% endif %}\r\nc\r\n", "a\n  {% if true %}\n  b\n  {% endif %}\n  c\n\n", "  {%+ if true %}a{% endif +%}\n b",
    "x {%- if true -%} \n a \n {%- endif -%} \n y", "x\n {{- 'a' -}} \n y", "{{ 'a' }}\n\n", "\n\n{{ 'a' }}\n", "  {# c #}  \n x", "  {{ 'a' }}\n  {% set b = 1 %}\n  c", "{% if true %} \n x{% endif %}", "{%if true%}a{%endif%}",
    "{% for a in l -%}\n  {{ a }}\n{%- endfor %}", "{% for a in l %}\n  {{ a }}\n{% endfor %}", "\t{% if true %}\n\ta\t{% endif %}\t\nb", "a{{ '\n' }}b", "{{ '{{' }}{{ '%}' }}{{ '}}' }}", "{{ {'a': {'b': 1}}['a'] }}", "{{ {'a': {}}}}", "{ {x} }{%", "{{ 1 -}}  x", "a  {{- 1 }}", "{{+1}}", "{{ 1 +}}", "{%- set a = 1 -%}  x", "{%-set a=1-%}{{a}}",
    "{% set c = cycler('a', 'b') %}{{ c.next() }}{{ c.current }}{{ c.next() }}{{ c.next() }}{{ c.reset() }}{{ c.current }}", "{% set j = joiner('|') %}{% for a in l %}{{ j() }}{{ a }}{% endfor %}",
    "{% for x in [{'v': 1, 'c': [{'v': 2}, {'v': 3, 'c': [{'v': 4}]}]}] recursive %}{{ loop.depth }}{{ x.v }}{% if x.c %}({{ loop(x.c) }}){% endif %}{% endfor %}", "{% for x in l %}{{ loop(x) }}{% endfor %}",
    "{% for g in recs|groupby('g') %}{{ g.grouper }}:{{ g.list|length }};{% endfor %}", "{% for g, items in recs|groupby('g') %}{{ g }}{{ items|map(attribute='n')|join }}{% endfor %}",
    "{% set it = l|map('string') %}{{ it|join }}|{{ it|join }}", "{{ l|map('string') is iterable }}{{ l|select is sequence }}", "{{ l|select|length }}", "{{ (l|reverse)[0] is defined }}", "{% set x = d.get('a') %}{{ x }}",
    "{% for m in messages[::-1] %}{{ loop.index0 }}{{ m.role[0] }}{% endfor %}", "{%- for m in messages if m.role == 'user' %}{{ m.content|trim }}{% if not loop.last %}\n{% endif %}{% endfor %}",
    "{% if messages[0]['role'] == 'system' %}{% set loop_messages = messages[1:] %}{% else %}{% set loop_messages = messages %}{% endif %}{{ loop_messages|length }}",
    "{% if tools is iterable and tools | length > 0 %}T{% endif %}{% if no is iterable %}X{% endif %}", "{{ raise_exception('Roles must alternate: ' + messages[0].role) }}", "{% set role = messages[0].role %}{{ '<|' ~ role ~ '|>' }}{{ '<|' + role + '|>' }}",
    "{% for m in messages %}{% set c = m.content.split('</think>')[-1].lstrip('\\n') if '</think>' in m.content else m.content %}{{ c }}{% endfor %}", "{{ messages[1].content.strip().split(' ')[0] }}",
    "{% set a = [1] + [2] %}{{ a }}{% set a = a + [3] %}{{ a|length }}", "{% set _ = l.append(1) %}", "{{ l.append }}", "{{ l.append is defined }}", "{{ d.update is defined }}", "{{ s.__class__ }}", "{{ s['__class__'] }}", "{{ ''.join(ls) }}", "{{ '-'.join(ls|map('upper')) }}",
    "{{ loop is defined }}{% for i in [1] %}{{ loop is defined }}{% endfor %}", "{% for i in [1, 2] %}{{ loop }}{% endfor %}", "{% for loop in [1] %}{{ loop }}{% endfor %}", "{{ dict(d, z=1) }}", "{{ [1, 2, 3][1:][0] }}", "{{ {'a': 1, 'a': 2} }}", "{{ {1: 'a', 1.0: 'b', true: 'c'} }}", "{{ {[1]: 1} }}", "{{ [d, l, s, none, 1.0, missing] }}",
    "{% if s is string and s is not mapping %}y{% endif %}", "{{ 'a' is string is true }}", "{{ s is filter }}{{ 'upper' is filter }}{{ 'odd' is test }}", "{{ not s is defined }}", "{{ s is defined if true }}",
]


# Results that are complex numbers, and a quirk of Jinja2's constant folding (-1 ** z is -(1 ** z)).
NOT_COMPARED = {("neg", "**"), ("-1", "**")}


def expressions():
    yield from LITERALS
    for value, filter in itertools.product(VALUES, FILTERS):
        yield f"{value}|{filter}"
    for value, test in itertools.product(VALUES, TESTS):
        yield f"{value} is {test}"
    for value, method in itertools.product(VALUES, METHODS):
        yield f"({value}).{method}"
    for value, subscript in itertools.product(VALUES, SUBSCRIPTS):
        yield f"({value}){subscript}"
    for left, op, right in itertools.product(OPERANDS, BINARY, OPERANDS):
        if (left, op) not in NOT_COMPARED:
            yield f"{left} {op} {right}"
    for value in VALUES:
        yield from (value, f"-({value})", f"not ({value})", f"[{value}]", f"({value}).0")


def grid():
    """Every snippet of the systematic part."""
    yield from STATEMENTS
    for expression in expressions():
        yield "{{ " + expression + " }}"


class Random:
    """Templates that parse most of the time. No filter or test in them is unknown: that is an error here
    where it is met, but Jinja2 looks for some of them beforehand."""

    def __init__(self, seed):
        self.random = random.Random(seed)

    def expression(self, depth=0):
        r = self.random
        kind = r.randrange(9) if depth < 4 else 0
        if kind <= 1:
            return r.choice(VALUES + LITERALS[:40] + ["i", "m", "m.content", "messages", "i"])
        inner = self.expression(depth + 1)
        if kind == 2:
            return f"({inner})|{r.choice(FILTERS)}"
        if kind == 3:
            return f"({inner}).{r.choice(METHODS)}"
        if kind == 4:
            return f"({inner}){r.choice(SUBSCRIPTS)}"
        if kind == 5:
            return f"({inner}) is {r.choice(['not ', ''])}{r.choice(TESTS[:-1])}"
        other = self.expression(depth + 1)
        if kind == 6:
            return f"({inner}) {r.choice(BINARY)} ({other})"
        if kind == 7:
            return f"{inner} if {other} else {self.expression(depth + 1)}"
        return r.choice([f"[{inner}, {other}]", f"({inner}, {other})", f"{{'k': {inner}, 'j': {other}}}"])

    def statement(self, depth=0):
        r = self.random
        kind = r.randrange(10) if depth < 3 else r.randrange(3)
        space = r.choice(["", "", " ", "\n", "\n  ", "  \n"])
        open, close = r.choice([("{%", "%}"), ("{%-", "%}"), ("{%", "-%}"), ("{%-", "-%}")])
        if kind == 0:
            return r.choice(["text", " a\n", "\n\n", "<|im_start|>", "é", "  "])
        if kind <= 2:
            return r.choice(["{{ ", "{{- "]) + self.expression() + r.choice([" }}", " -}}"])
        body = lambda: space + self.body(depth + 1) + space
        if kind <= 4:
            over = r.choice(["l", "messages", "range(3)", "ls", "d", self.expression()])
            name = "m" if over == "messages" else "i"
            test = f" if {self.expression()}" if r.random() < 0.2 else ""
            other = open + " else " + close + body() if r.random() < 0.2 else ""
            return f"{open} for {name} in {over}{test} {close}{body()}{other}{open} endfor {close}"
        if kind <= 6:
            other = open + " else " + close + body() if r.random() < 0.5 else ""
            return f"{open} if {self.expression()} {close}{body()}{other}{open} endif {close}"
        if kind == 7:
            return f"{open} set {r.choice(['i', 's', 'q'])} = {self.expression()} {close}"
        if kind == 8:
            return f"{open} set q {close}{body()}{open} endset {close}{{{{ q }}}}"
        return f"{open} macro f(i, q=1) {close}{body()}{open} endmacro {close}{{{{ f({self.expression()}) }}}}"

    def body(self, depth=0):
        return "".join(self.statement(depth) for _ in range(self.random.randrange(1, 4)))


if __name__ == "__main__":
    print(sum(1 for _ in grid()))
