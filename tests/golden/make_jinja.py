#!/usr/bin/env python3
"""Goldens of the template interpreter: what jinja2, set up as transformers does it, makes of small templates and of published ones.

    python tests/golden/make_jinja.py                     writes jinja/cases.json and jinja/templates.json
    python tests/golden/make_jinja.py --special-casing    prints the rows of models/jinja/special_casing.h

Needs transformers 5.23 and TRL 1.12 and 1.16 (their packages carry the templates, Apache-2.0).
"""
import datetime
import json
import os
import pathlib
import re
import sys

os.environ["TZ"] = "UTC"
HERE = pathlib.Path(__file__).parent
NOW = 1767323045  # 2026-01-02 03:04:05 UTC


def special_casing():
    for code in range(0x110000):
        if 0xD800 <= code < 0xE000:
            continue
        upper, title = chr(code).upper(), chr(code).title()
        if len(upper) > 1 or len(title) > 1:
            print(f"{code:04X} {upper.encode()} {title.encode()}")


if "--special-casing" in sys.argv:
    sys.exit(special_casing())

from transformers.utils import chat_template_utils as utils  # noqa: E402


class Fixed(datetime.datetime):
    @classmethod
    def now(cls, tz=None):
        return datetime.datetime.fromtimestamp(NOW)


utils.datetime = Fixed
ADDRESS = re.compile(r" at 0x[0-9a-f]{6,}>|<class '|<built-in function")


def render(template, variables):
    """{"text", "generated"?} or {"error"}; byte offsets."""
    try:
        compiled = utils._compile_jinja_template(template)
        blocks, spans = [], []
        with compiled.environment.activate_tracker(blocks, spans):
            for block in compiled.generate(**variables):
                blocks.append(block)
        text = "".join(blocks)
        text.encode("utf-8")
    except Exception as error:
        return {"error": f"{type(error).__name__}: {error}"[:200]}
    if ADDRESS.search(text):  # never the same twice
        return {"error": "an address"}
    result = {"text": text}
    if spans:
        result["generated"] = [[len(text[:a].encode()), len(text[:b].encode())] for a, b in spans]
    return result


VARIABLES = {
    "i": 7, "n": -3, "f": 2.5, "t": True, "no": False, "nil": None, "s": "Hello World", "e": "", "u": "Straße ΑΣ É🙂e\u0301",
    "ws": " \t a  b \x1f\u00a0\u3000 ", "lines": "one\ntwo\r\nthree\n\n four\x0bfive", "l": [3, 1, 2], "ll": [[1, 2], [3], []],
    "d": {"b": 1, "a": 2, "items": 3, "C": None, "nested": {"k": [1, {"z": "<&>'\""}]}}, "em": [], "ed": {},
    "words": ["pear", "Apple", "fig", "apple"], "mixed": [1, "a", None, 2.0, True, [1], {"x": 1}],
    "users": [{"name": "Bo", "age": 30, "tags": ["x"]}, {"name": "al", "age": 25, "tags": []}, {"name": "Cy", "age": 30}],
    "q": "it's \"quoted\" \\ \n\x00\x7f\u200b", "html": "<b>&'\"</b>", "big": 9007199254740993, "tiny": 1e-7, "huge": 1e22,
    "text": "<|im_start|>a</think>b</think>c", "_p": 5,
}

EXPRESSIONS = """
1 + 2 * 3 ; 7 // 2 ; -7 // 2 ; 7 % 3 ; -7 % 3 ; 7 % -3 ; 7.5 // 2 ; -7.5 // 2 ; 7.5 % -2 ; -0.0 % 3 ; 4 / 2 ; 1 / 3 ; 2 ** 10 ; 2 ** -1 ; 2 ** 3 ** 2 ; -2 ** 2
0 ** 0 ; 0 ** -1 ; 1 / 0 ; 1 // 0 ; 1 % 0 ; 1.0 / 0 ; 1.5 // 0 ; 1.5 % 0 ; 0.1 + 0.2 ; 1e16 ; 1e15 ; 1e-4 ; 1e-5 ; 123456789.123456789 ; 1e100 ; 2.5e-8 ; 5e-324 ; 1.7976931348623157e308
100000000000000000.0 ; 12345678901234567.0 ; 0.1 ; 1.0 ; -0.0 ; 3.14 ; 1_000 ; 1_0.0_1 ; 0x1F ; 0b101 ; 0o17 ; 00 ; 1e3 ; 1E3 ; 1.e3 ; 10 % 3.5 ; 2 ** 0.5 ; (-8) ** 0.5 ; 10 ** 400.0
true + true ; true * 3 ; true / 2 ; -true ; +true ; not true ; not none ; true == 1 ; 1 == 1.0 ; 1 is sameas 1 ; true is sameas true ; '1' == 1 ; none == false ; none is none ; missing is none
missing ; missing is defined ; missing is undefined ; missing == missing2 ; missing + 1 ; missing.x ; missing['x'] ; missing[0] ; missing[1:] ; missing() ; missing|length ; missing|list ; missing|default('d') ; missing|d
missing ~ 'x' ; missing < 1 ; not missing ; missing or 'a' ; missing and 'a' ; missing in l ; 'a' in missing ; missing|string ; missing|tojson ; missing|upper ; missing|int ; missing|float ; missing|join(',') ; missing|first
missing|last ; missing|sum ; missing|sort ; missing|items|list ; missing|map('upper')|list ; missing|trim ; missing|replace('a','b') ; -missing ; missing|abs ; missing|round ; [missing] ; {'a': missing} ; missing|reverse|list
missing|unique|list ; missing|min ; missing|string == '' ; missing is string ; missing is iterable ; missing is sequence ; missing is mapping ; missing is number ; missing is callable ; missing is none ; missing is odd
d.missing ; d.missing.x ; d['missing'] ; d.items ; d['items'] ; d.b ; d['a'] ; d.nested.k[1].z ; d.nested['k'][0] ; d.get('b') ; d.get('zz') ; d.get('zz', 5) ; d.keys() ; d.values() ; d.items() ; d.keys()|list ; d.items()|list
d|items|list ; d|list ; d|length ; d|dictsort ; d|dictsort(true) ; d|dictsort(reverse=true) ; ed|dictsort ; d|dictsort(false, 'value') ; {'x':3,'y':1}|dictsort(by='value') ; 'b' in d ; 'zz' not in d ; d == d ; d is mapping ; d is iterable ; d is sequence
d.pop('a') ; d['pop'] ; d.update({}) ; d.clear ; d.setdefault('q', 1) ; l.append(1) ; l.pop() ; l.sort() ; l['append'] ; l.count(1) ; l.index(2) ; l.index(9) ; l.copy() ; (1, 2).count(1) ; d.copy() ; d.__class__ ; d.__class__.x ; s.__class__ ; l._x ; _p
{'_k': 1}._k ; {'_k': 1}['_k'] ; s._x ; ''.__class__.__mro__ ; i.real ; i.imag ; i.foo ; f.real ; nil.foo ; s.foo ; s[0] ; s[-1] ; s[99] ; s['a'] ; s[1:3] ; s[::-1] ; s[::2] ; s[-3:] ; s[:-3] ; s[5:2] ; s[10:0:-3] ; s[::0] ; u[::-1] ; u[3] ; u[5:8] ; u|length
l[0] ; l[-1] ; l[5] ; l['a'] ; l[1:] ; l[::-1] ; l[5:] ; l[-100:100] ; l[::2] ; l[0:3:0] ; l['a':] ; (1,2,3)[::-1] ; (1,2,3)[1] ; range(10)[2:5] ; range(10)[::-1] ; range(10)[3] ; range(10)[99] ; range(3)|list ; range(1, 10, 3)|list ; range(5, 0, -2)|list ; range(0)
range(3) ; range(1,2,3) ; range(1, 5, 0) ; range(1000000) ; range('a') ; 3 in range(5) ; 3 in range(0, 10, 2) ; range(3)|length ; range(3)|sum ; range(3) == range(0,3) ; range(2.0) ; l[true] ; l[1.0] ; d[l] ; i[0] ; nil[0] ; nil[1:]
'a' in 'abc' ; '' in 'abc' ; 1 in 'abc' ; 1 in l ; 1.0 in l ; true in l ; 'x' in {'x': 1} ; [1] in mixed ; none in mixed ; l in d ; 1 in 5 ; 'a' in none ; 1 < 2 < 3 ; 1 < 3 < 2 ; 3 > 2 > 1 ; 1 < 2 > 1 ; 1 == 1 != 2 ; 1 < 'a' ; 'a' < 'b' ; 'a' < 'B' ; [1,2] < [1,3] ; [1] < [1,2] ; (1,) < (2,) ; [1] < (2,) ; none < 1
true < 2 ; 1 <= 1.0 ; 1 >= 2 ; l == [3,1,2] ; (1,2) == [1,2] ; {'a':1} == {'a':1.0} ; 'é' == 'é' ; 1 if true else 2 ; 1 if false ; 'x' if 0 else 'y' ; (1 if false) is undefined ; 1 if t if no else 3 ; 1 and 2 ; 0 and 2 ; 0 or [] ; '' or none ; not 1 == 2 ; not (1) ; 2 in [1,2] and 3 not in [1]
'a' + 'b' ; 'a' ~ 1 ~ none ~ true ~ 1.5 ; 'a' * 3 ; 3 * 'a' ; 'a' * -1 ; [1] * 2 ; (1,) * 2 ; [1] + [2] ; (1,) + (2,) ; [1] + (2,) ; 'a' + 1 ; 1 + 'a' ; [1] + 1 ; {'a':1} + {'b':1} ; 'a' - 'b' ; 'a' * 'b' ; 1 ~ 2 + 3 ; 'a' ~ 'b' * 2 ; 1 + 2 ~ 3 ; 'a' 'b' "c"
'%s and %d' % ('x', 3) ; '%5.2f|%-5d|%05d|%+d' % (3.14159, 42, 42, 42) ; '%x %X %o %#x' % (255, 255, 8, 255) ; '%s' % none ; '%r' % 'a' ; '%%' % () ; '%s' % [1,2] ; '%(a)s' % {'a': 1} ; '%s %s' % 'a' ; '%s' % ('a','b') ; '%d' % 'a' ; '%d' % 3.9 ; '%c' % 65 ; '%c' % 'x' ; '%q' % 1 ; '%' % 1
'%e' % 12345.678 ; '%g' % 0.00001 ; '%g' % 1e10 ; '%.3s' % 'abcdef' ; '%10s|' % 'ab' ; '%-10s|' % 'ab' ; '%i' % 3 ; 'abc' % [] ; 'abc' % {} ; 'abc' % () ; 'abc' % 1 ; '%.0f' % 2.5 ; '%5d' % true ; '%s' % true ; '%*d' % (5, 3) ; '% d' % 5 ; '%.5d' % 42
'{} {}'.format(1, 2) ; '{0} {1} {0}'.format('a', 'b') ; '{x}'.format(x=3) ; '{:>5}|{:<5}|{:^5}|{:*^7}'.format('a','b','c','d') ; '{:d} {:x} {:b} {:o} {:,} {:+}'.format(5, 255, 5, 8, 1234567, 3) ; '{:.2f} {:e} {:g} {:%}'.format(3.14159, 1e5, 1e-5, 0.25) ; '{:05d} {:05.1f}'.format(42, 3.14)
'{!r} {!s}'.format('a', 'b') ; '{a[x]} {a.b}'.format(a={'x': 1, 'b': 2}) ; '{0[1]}'.format([1,2]) ; '{'.format() ; '}'.format() ; '{{}}'.format() ; '{}'.format() ; '{} {0}'.format(1) ; '{:>{w}}'.format('a', w=5) ; '{}'.format(none) ; '{:5}'.format(none) ; '{:5}'.format(true) ; '{}'.format(true) ; '{:_}'.format(1234567) ; '{:.3}'.format('abcdef') ; '{:.3}'.format(3.14159) ; '{:10.3}|'.format(2.0) ; '{:s}'.format(3) ; '{:d}'.format('a') ; '{:d}'.format(1.0)
'{:.3}'.format(123456.0) ; '{:.1}'.format(5.0) ; '{:.0f}'.format(0.5) ; '{:10}|'.format(1.5) ; '{:<10}|'.format(1.5) ; '{:=+7d}'.format(42) ; '{a}'.format(b=1) ; '{1}'.format(1) ; '{.real}'.format(3) ; '{.__class__}'.format(3) ; '{:#x}'.format(255) ; '{:#010x}'.format(255) ; '{:c}'.format(65) ; '{:08.3f}'.format(-3.14159)
s.upper() ; s.lower() ; s.title() ; s.capitalize() ; s.swapcase() ; u.upper() ; u.lower() ; u.title() ; u|upper ; u|lower ; u|title ; u|capitalize ; 'ǆ'.title() ; 'ﬁn'.capitalize() ; 'İI'.lower() ; "it's a-b (c)d"|title ; "it's a-b"|capitalize ; 'x'|title ; ''|capitalize ; "they're bill's".title()
s.split() ; ws.split() ; ws|trim ; ws.strip() ; ws.lstrip() ; ws.rstrip() ; s.split('o') ; s.split('o', 1) ; s.rsplit('o', 1) ; s.split('') ; ''.split() ; ''.split(',') ; ' a  b '.split(' ') ; ' a b c '.split(none, 1) ; ' a b c '.rsplit(none, 1) ; 'a,b,c'.split(',', maxsplit=1) ; 'a,b'.split(sep=',') ; text.split('</think>') ; text.split('</think>')[-1] ; text.split('</think>')[0].split('>')[-1]
' a '.split(none, 0) ; ' a b '.rsplit(none, 0) ; 'a,b,c'.rsplit(',') ; 'aaa'.split('aa') ; 'aaa'.rsplit('aa') ; 'x'.split(5) ; 'xxabcxx'.strip('x') ; 'xxabcxx'.lstrip('x') ; 'abcxyz'.rstrip('zyx') ; 'abc'.strip('') ; s|trim('Hd') ; 'éaé'.strip('é') ; s.startswith('He') ; s.startswith(('x','H')) ; s.startswith('l', 2) ; s.startswith('l', 2, 3) ; s.endswith('ld') ; s.endswith('') ; s.startswith(1) ; s.endswith(['ld'])
s.replace('o', '0') ; s.replace('o', '0', 1) ; s.replace('', '-') ; s.replace('l', '') ; s|replace('o', '0') ; s|replace('o', '0', 1) ; s|replace('l', 'L', count=2) ; 'aaa'.replace('aa', 'b') ; ''.replace('', 'x') ; 'é'.replace('', '-') ; 5|replace(5, 6) ; s.find('o') ; s.find('o', 5) ; s.rfind('o') ; s.find('z') ; s.index('z') ; s.index('W') ; s.rindex('o') ; u.find('É') ; s.count('l') ; s.count('') ; s.count('l', 3) ; 'aaaa'.count('aa') ; s.find('', 20) ; s.find('', 11) ; s.find('o', -3)
','.join(['a','b']) ; ','.join([1]) ; ','.join('abc') ; ','.join([]) ; '-'.join({'a':1,'b':2}) ; s.partition(' ') ; s.partition('z') ; s.rpartition('o') ; s.partition('') ; lines.splitlines() ; lines.splitlines(true) ; ''.splitlines() ; '\\n'.splitlines() ; s.center(20) ; s.center(21, '*') ; 'ab'.center(5) ; 'abc'.center(6) ; s.ljust(15, '.') ; s.rjust(15) ; '42'.zfill(5) ; '-42'.zfill(5) ; '+4'.zfill(1) ; 'ab'|center(5) ; 'abc'|center(8)
s.isalpha() ; 'abc'.isalpha() ; '123'.isdigit() ; 'a1'.isalnum() ; ' '.isspace() ; ''.isspace() ; 'abc'.islower() ; 'ABC'.isupper() ; 'A1'.isupper() ; '1'.isupper() ; 'Ab Cd'.istitle() ; 'AB'.istitle() ; '٣'.isdigit() ; 'é'.isalpha() ; 'abc'.isascii() ; 'é'.isascii() ; 'a b'.isprintable() ; 'x1'.isidentifier() ; '1x'.isidentifier() ; '1.5'.isdecimal() ; s.removeprefix('Hello ') ; s.removesuffix('World') ; s.removeprefix('x') ; s.encode('utf-8') ; s.casefold() ; s.nope() ; s.upper(1)
l|sort ; l|sort(reverse=true) ; words|sort ; words|sort(case_sensitive=true) ; users|sort(attribute='age')|map(attribute='name')|list ; users|sort(attribute='age,name')|map(attribute='name')|join ; users|sort(reverse=true, attribute='age')|map(attribute='name')|list ; mixed|sort ; 'hello'|sort ; d|sort ; words|unique|list ; words|unique(true)|list ; users|unique(attribute='age')|map(attribute='name')|list ; l|min ; l|max ; words|min ; words|max ; users|max(attribute='age') ; em|min ; em|max ; [1,'a']|min
l|sum ; l|sum(start=10) ; users|sum(attribute='age') ; [1.5, 2]|sum ; ['a']|sum ; [[1],[2]]|sum(start=[]) ; em|sum ; l|join ; l|join(',') ; users|join(', ', attribute='name') ; mixed|join('-') ; 'abc'|join(',') ; d|join(',') ; 5|join ; l|first ; l|last ; em|first ; em|last ; s|first ; s|last ; d|first ; d|last ; range(3)|last ; 5|first ; l|map('string')|last ; l|length ; d|count ; s|length ; 5|length ; none|length ; l|map('string')|length
l|reverse|list ; s|reverse ; u|reverse ; d|reverse|list ; range(3)|reverse|list ; 5|reverse ; l|list ; 'abc'|list ; 5|list ; l|batch(2)|list ; l|batch(2, 'x')|list ; range(7)|batch(3)|list ; l|slice(2)|list ; range(7)|slice(3)|list ; range(7)|slice(3, 'x')|list ; l|slice(0)|list ; l|batch(0)|list ; users|groupby('age')|list ; users|groupby('name')|map('first')|list ; users|groupby('tags', default=[])|length ; words|groupby('zz')|list
l|map('string')|list ; words|map('upper')|list ; words|map('replace', 'p', 'b')|list ; users|map(attribute='name')|list ; users|map(attribute='tags', default='none')|list ; users|map(attribute='tags.0')|list ; l|map('nofilter')|list ; l|map()|list ; l|map(attribute='x', foo=1)|list ; ll|map('length')|list ; ll|map('sum')|list ; ll|map(attribute=0)|list ; l|select('odd')|list ; l|select('>', 1)|list ; l|reject('even')|list ; mixed|select|list ; mixed|reject|list ; mixed|select('string')|list ; l|select('notest')|list ; l|select('divisibleby', 2)|list
users|selectattr('age', '==', 30)|map(attribute='name')|list ; users|selectattr('tags')|list ; users|rejectattr('tags', 'defined')|list ; users|selectattr('tags', 'undefined')|list ; users|selectattr('name', 'in', ['Bo'])|list|length ; users|rejectattr('age', 'equalto', 30)|list ; users|selectattr()|list ; users|selectattr('age', 'lt', 30)|first ; 5|select|list ; 0|map('upper')|list ; d|map('upper')|list ; words|map('truncate', 3)|list ; words|map('default', 'x')|list
l|tojson ; d|tojson ; q|tojson ; u|tojson ; u|tojson(ensure_ascii=true) ; d|tojson(indent=2) ; d|tojson(indent=0) ; ed|tojson(indent=2) ; em|tojson(indent=2) ; mixed|tojson ; d|tojson(sort_keys=true) ; mixed|tojson(separators=(',', ':')) ; d|tojson(separators=(',', ':'), indent=1) ; {'a': [1, {'b': []}]}|tojson(indent='\\t') ; {1: 2, none: 3, true: 4, 1.5: 5}|tojson ; {(1,2): 3}|tojson ; (1,2)|tojson ; f|tojson ; 1e100|tojson ; 1.0|tojson ; huge|tojson ; tiny|tojson ; html|tojson ; none|tojson ; 'a'|tojson(indent=2) ; d.items()|tojson ; d.keys()|list|tojson ; range(3)|tojson ; l|tojson(-1) ; l|tojson(false, 4) ; {'b':1,'a':{'d':1,'c':2}}|tojson(sort_keys=true, indent=4) ; l|tojson(foo=1) ; l|tojson(separators=[', ', ': ']) ; {2:1,1:2}|tojson(sort_keys=true) ; {'a':1,2:1}|tojson(sort_keys=true) ; '\\u2028/'|tojson ; '\\x7f'|tojson(ensure_ascii=true)
l ; d ; mixed ; q ; [q] ; [u] ; users ; (1,) ; (1,2) ; () ; [] ; {} ; {'a': (1, [2.0, none, true])} ; ["it's"] ; ['"'] ; ["'\\""] ; [html] ; ['\\u00ad\\u2028\\U0001F600\\ue000'] ; [1e16, 1.0, -0.0] ; {1: 'a', 1.0: 'b'} ; {true: 'x', 1: 'y'} ; {'a': 1, 'a': 2} ; [big] ; big + 0.0 ; nil ; t ; [missing, none]
s|truncate(5) ; s|truncate(8) ; s|truncate(5, true) ; s|truncate(5, true, '..') ; 'foo bar baz qux'|truncate(9) ; 'foo bar baz qux'|truncate(11, false, '...', 0) ; s|truncate(2) ; s|indent ; lines|indent(2) ; lines|indent(2, true) ; lines|indent('> ', true, true) ; lines|indent(width=1, blank=true) ; ''|indent ; 5|indent ; s|wordcount ; 'a-b c_d'|wordcount ; html|e ; html|escape ; html|forceescape ; html|safe ; html|safe|e ; html|safe|forceescape ; 5|e ; none|safe ; 'a b/c?d=é'|urlencode ; {'a b': 'c/d', 'e': 1}|urlencode ; [('a','b')]|urlencode ; 5|urlencode ; {'class': 'a"b', 'x': none}|xmlattr ; {'a b': 1}|xmlattr ; {'k': 1}|xmlattr(false)
'<a>' + ('<b>'|safe) ; ('<b>'|safe) + '<a>' ; ('<b>'|safe) ~ '<a>' ; '<' ~ ('<b>'|safe) ~ '>' ; ('<b>'|safe)|string ; [('<b>'|safe)] ; ('<b>'|safe).upper() + '<' ; ('<b>'|safe)|upper + '<' ; ('<b>'|safe)|trim + '<' ; ('<b>'|safe)|tojson + '<' ; (d|tojson|safe) + '"' ; ('a'|safe).join(['<', '>']) ; ('<a>'|safe).replace('a', '<') ; ('<a>'|safe)|replace('a', '<') + '<' ; ('a<'|safe)[1] + '<' ; ('a<b'|safe).split('<')[1] + '<' ; ('<'|safe) * 2 + '<' ; ('<'|safe) == '<' ; ['<'|safe, '<']|join + '<' ; '<'|safe is string ; '<'|safe is escaped ; '<' is escaped ; ('x'|safe)|capitalize + '<' ; ('<'|safe)|default('x') + '<' ; ('<'|safe)|first + '<' ; ('<'|safe)|reverse + '<' ; ('a'|safe)|list ; ('<'|safe)|center(3) + '<'
'42'|int ; '42.9'|int ; ' 42 '|int ; 'x'|int ; 'x'|int(5) ; '0x1F'|int(base=16) ; '1F'|int(0, 16) ; '0b11'|int(0, 2) ; '0b11'|int(0, 0) ; '-5'|int ; '1_000'|int ; 42.9|int ; -42.9|int ; true|int ; none|int ; none|int(7) ; [1]|int ; '1e3'|int ; 'inf'|int ; 'nan'|int ; '010'|int(0, 0) ; '3.7'|float ; 'x'|float ; 'x'|float(1.5) ; '1e5'|float ; 'inf'|float ; ' -2.5 '|float ; 5|float ; none|float ; '1_0.5'|float ; '.5'|float ; '5.'|float ; '0x10'|float ; ''|int ; ''|float ; '--5'|int
2.5|round ; 3.5|round ; 42.55|round(1) ; 42.55|round(1, 'floor') ; 42.51|round(0, 'ceil') ; 42.55|round(1, 'nope') ; 5|round ; 15|round(-1) ; 25|round(-1) ; 1234.5|round(-2) ; 2.675|round(2) ; 'a'|round ; 2.5|round|int ; -2.5|round ; 1e300|round(2) ; 7|round(0, 'ceil') ; 1.25|round(1) ; 0.5|round ; 1.5|round ; n|abs ; -2.5|abs ; 'a'|abs ; true|abs ; 1|filesizeformat ; 1000|filesizeformat ; 1500000|filesizeformat ; 1024|filesizeformat(true) ; 0|filesizeformat ; '%.1f'|format(2.25) ; '%s-%s'|format('a', 1) ; '%(x)s'|format(x=1) ; '%s'|format ; 'a'|format(1)
i is odd ; i is even ; 2.0 is even ; 'a' is odd ; i is divisibleby(7) ; i is divisibleby 7 ; i is divisibleby(0) ; i is number ; t is number ; f is float ; i is integer ; t is integer ; t is boolean ; no is false ; t is true ; 1 is true ; s is string ; d is mapping ; l is sequence ; s is sequence ; s is iterable ; 5 is iterable ; d.items() is iterable ; d.items() is sequence ; range(2) is sequence ; none is none ; nil is not none ; s is lower ; 'abc' is lower ; 'ABC' is upper ; 5 is upper ; s is defined ; s is not defined ; 'trim' is filter ; 'nope' is filter ; 'odd' is test ; range is callable ; s is callable ; s.upper is callable
1 is eq 1 ; 1 is == 1 ; 1 is in [1,2] ; 1 is not in [1] ; 1 is lt(2) ; 3 is gt 2 ; 3 is ge 3 ; 3 is ne 4 ; 3 is sameas 3 ; l is sameas l ; l is sameas [3,1,2] ; 1 is nope ; 1 is string is defined ; s is string and i is number ; not s is string ; s is string or x ; (s is string) == true ; 1 + 1 is odd ; 'a' ~ 1 is string ; -1 is odd ; 1 is odd if true else 2
dict(a=1, b=2) ; dict({'a': 1}, b=2) ; dict([('a', 1)]) ; dict([1]) ; dict(a=1).a ; dict() ; namespace(a=1).a ; namespace(a=1) ; namespace({'x': 2}).x ; namespace(_a=1) ; namespace(a=1).b ; namespace(a=1)['a'] ; namespace() is mapping ; namespace().items ; cycler('a','b').next() ; cycler() ; cycler('a').current ; joiner(',')() ; joiner ; namespace ; raise_exception('boom') ; raise_exception() ; strftime_now('%Y-%m-%d') ; strftime_now('%d %b %Y') ; strftime_now('%H:%M:%S %A %B %j %%') ; strftime_now(5) ; lipsum(n=1)|length > 0 and 1/0 ; foo() ; s() ; i() ; d.get() ; d.get('a', 'b', 'c') ; l.index() ; range()
l|attr('count') is callable ; d|attr('b') ; d|attr('items') is callable ; d|attr('b')|default('u') ; s|attr('upper')() ; l[0:2]|length ; (l|sort)[0] ; l|sort|first + 1 ; -l[0] ; -f ; +i ; - -i ; not not t ; s|upper|lower|title ; s | upper ; s|nofilter ; s.upper()|lower ; s.split()[0].upper() ; (s ~ 1)|upper ; [x for x in l] ; {'a': 1}.a ; {'a': 1}['a'] ; [1, 2,] ; (1, 2,) ; {'a': 1,} ; [,] ; [1 2] ; {1} ; (1 ; 1) ; 'abc ; 1 + ; + ; a.b. ; a[ ; a[] ; a[1 ; s..x ; s.1 ; l.0 ; l.0.real ; @ ; $ ; 1 ! 2 ; a ? b ; a = b ; '\\x41\\u00e9\\n\\t\\\\\\'' ; '\\d' ; '\\é' ; '\\101' ; '\\xZZ' ; "a\\"b" ; 'a
b' ; '\\ud800' ; '\\N{DIGIT ONE}' ; '\\u12' ; 1.5.real ; 1 .real ; 12345678901234567890 ; 9223372036854775807 + 1 ; 9223372036854775807 * 2 ; 1.0e400 ; 0777 ; 1__0 ; é ; naïve
"""

STATEMENTS = [
    # loops
    "{% for x in l %}{{ x }},{% endfor %}", "{% for x in [] %}a{% else %}none{% endfor %}", "{% for x in l if x > 1 %}{{ x }}{{ loop.index }}{{ loop.last }} {% endfor %}",
    "{% for x in l %}{{ loop.index }}{{ loop.index0 }}{{ loop.revindex }}{{ loop.revindex0 }}{{ loop.first }}{{ loop.last }}{{ loop.length }}{{ loop.depth }}{{ loop.depth0 }};{% endfor %}",
    "{% for x in l %}{{ loop.previtem }}<{{ x }}>{{ loop.nextitem }};{% endfor %}", "{% for x in l %}{{ loop.previtem is defined }}{{ loop.nextitem is defined }}{% endfor %}",
    "{% for x in l %}{{ loop.cycle('a','b') }}{{ loop.changed(x > 1) }}{% endfor %}", "{% for k, v in d.items() %}{{ k }}={{ v }};{% endfor %}", "{% for k, v in d|items %}{{ k }}{% endfor %}",
    "{% for k in d %}{{ k }}{% endfor %}", "{% for a, b in [(1,2),(3,4)] %}{{ a }}{{ b }}{% endfor %}", "{% for a, b in [(1,2,3)] %}{{ a }}{% endfor %}", "{% for a, (b, c) in [(1,(2,3))] %}{{ a }}{{ c }}{% endfor %}",
    "{% for c in 'héy' %}{{ c }}.{% endfor %}", "{% for x in 5 %}{% endfor %}", "{% for x in missing %}a{% else %}b{% endfor %}", "{% for x in none %}{% endfor %}",
    "{% for x in l %}{% if x == 1 %}{% break %}{% endif %}{{ x }}{% endfor %}", "{% for x in l %}{% if x == 1 %}{% continue %}{% endif %}{{ x }}{% endfor %}", "{% for x in l %}{% continue %}{% else %}E{% endfor %}",
    "{% for x in l %}{% break %}{% else %}E{% endfor %}", "{% break %}", "{% for x in l %}{% for y in l %}{{ x }}{{ y }}{{ loop.index }} {% if y == 1 %}{% break %}{% endif %}{% endfor %}{% endfor %}",
    "{% for u in users recursive %}{{ u.name }}{% if u.tags %}({{ loop(u.tags) }}){% endif %}{% endfor %}", "{% for x in ll recursive %}{% if x is iterable %}[{{ loop(x) }}]{% else %}{{ x }}{{ loop.depth }}{% endif %}{% else %}e{% endfor %}",
    "{% for x in l %}{{ loop(x) }}{% endfor %}", "{% for x in l %}{{ loop }}{% endfor %}", "{{ loop }}", "{% for x in l %}{% set loop = 1 %}{% endfor %}", "{% for loop in l %}{% endfor %}",
    "{% for x in l if loop.index %}{% endfor %}", "{% for x in l|map('string') %}{{ x }}{{ loop.length }}{{ loop.last }}{% endfor %}", "{% for x in l if x is odd %}{{ x }}{% else %}no{% endfor %}",
    "{% for x in [1,2,3] if false %}{% else %}E{% endfor %}", "{% for m in users %}{{ loop.index }}{% for t in m.tags %}{{ loop.parent }}{{ loop.index }}{% endfor %}{% endfor %}", "{% for x in l %}{{ loop.foo }}{{ loop['index'] }}{{ loop._x }}{% endfor %}",
    "{% for x in range(3) %}{{ x }}{% endfor %}{{ x }}", "{% for i in [10] %}{{ i }}{% endfor %}{{ i }}", "{% for x in d.values() if x %}{{ x }}{% endfor %}", "{% for x in [1,2,3][::-1] %}{{ x }}{% endfor %}",
    "{% for x in 1, 2, 3 %}{{ x }}{% endfor %}", "{% for x in (1, 2) if x == 2 %}{{ loop.length }}{% endfor %}", "{% for x in l %}{{ loop.length }}{{ loop.revindex }}{% endfor %}{% for y in l|select %}{{ loop.revindex0 }}{% endfor %}",
    # scopes
    "{% set x = 1 %}{% for y in l %}{% set x = y %}{% endfor %}{{ x }}", "{% set x = 1 %}{% for y in l %}{{ x }}{% set x = x + y %}{{ x }} {% endfor %}", "{% set ns = namespace(x=1) %}{% for y in l %}{% set ns.x = ns.x + y %}{% endfor %}{{ ns.x }}",
    "{% if true %}{% set x = 1 %}{% endif %}{{ x }}", "{% if false %}{% set i = 1 %}{% endif %}{{ i }}", "{% for y in l %}{% if y == 1 %}{% set i = 99 %}{% endif %}{{ i }} {% endfor %}{{ i }}", "{% for y in l %}{{ i }}{% endfor %}{% set i = 5 %}{{ i }}",
    "{% set i = 5 %}{{ i }}", "{{ i }}{% set i = 5 %}{{ i }}", "{% macro m() %}{{ i }}{% endmacro %}{{ m() }}{% set i = 5 %}{{ m() }}", "{% macro m() %}{{ v }}{% endmacro %}{{ m() }}{% set v = 5 %}{{ m() }}", "{% for y in l %}{% set v = y %}{% endfor %}{{ v is defined }}",
    "{% with a = 1, b = 2 %}{{ a }}{{ b }}{% endwith %}{{ a }}", "{% with a = 1 %}{% set i = 3 %}{{ i }}{% endwith %}{{ i }}", "{% with a = 1, b = a %}{{ b }}{% endwith %}", "{% with %}{% set z = 1 %}{{ z }}{% endwith %}{{ z }}",
    "{% set a, b = 1, 2 %}{{ a }}{{ b }}", "{% set a, b = l %}", "{% set a = b = 1 %}", "{% set (a, b) = (1, 2) %}{{ b }}", "{% set d.x = 1 %}", "{% set ns = namespace() %}{% set ns.x, y = 1, 2 %}{{ ns.x }}{{ y }}", "{% set ns = namespace() %}{% set ns._x = 1 %}", "{% set missing.x = 1 %}",
    "{% set true = 1 %}", "{% set 1 = 1 %}", "{% set x %}a{{ i }}b{% endset %}[{{ x }}]", "{% set x | upper %}a{{ i }}b{% endset %}{{ x }}", "{% set x | replace('a', 'b') | upper %}aa{% endset %}{{ x }}", "{% set ns = namespace() %}{% set ns.t %}q{% endset %}{{ ns.t }}", "{% set x %}{% set y = 1 %}{% endset %}{{ y }}",
    "{% for x in l %}{% set q %}{% break %}{% endset %}{% endfor %}{{ q is string }}", "{% set x = [] %}{% for i in l %}{% set x = x + [i] %}{% endfor %}{{ x }}", "{% set ns = namespace(l=[]) %}{% for i in l %}{% set ns.l = ns.l + [i] %}{% endfor %}{{ ns.l }}",
    "{% set ns = namespace(a=1) %}{% set ns2 = ns %}{% set ns2.a = 2 %}{{ ns.a }}", "{% set f = s.upper %}{{ f() }}", "{% if x is not defined %}{% set x = 'dflt' %}{% endif %}{{ x }}", "{% if not i is defined %}{% set i = 9 %}{% endif %}{{ i }}",
    # macros
    "{% macro m(a, b=2) %}{{ a }}{{ b }}{% endmacro %}{{ m(1) }}{{ m(1, 3) }}{{ m(b=1, a=2) }}", "{% macro m(a) %}{{ a }}{% endmacro %}[{{ m() }}]", "{% macro m(a) %}{{ a is defined }}{% endmacro %}{{ m() }}", "{% macro m(a) %}{% endmacro %}{{ m(1, 2) }}", "{% macro m(a) %}{% endmacro %}{{ m(c=2) }}",
    "{% macro m(a) %}{{ varargs }}{{ kwargs }}{% endmacro %}{{ m(1, 2, 3, x=4) }}", "{% macro m() %}{{ varargs|length }}{% endmacro %}{{ m(1) }}{{ m() }}", "{% macro m(a, a2=a) %}{{ a2 }}{% endmacro %}{{ m(5) }}", "{% macro m(a=b, b=2) %}{{ a }}{% endmacro %}{{ m() }}",
    "{% macro m() %}[{{ caller() }}]{% endmacro %}{% call m() %}in{{ i }}{% endcall %}", "{% macro m() %}{% for x in l %}{{ caller(x) }}{% endfor %}{% endmacro %}{% call(y) m() %}<{{ y }}>{% endcall %}", "{% macro m() %}{{ caller }}{% endmacro %}{{ m() }}", "{% macro m() %}{{ caller is defined }}{% endmacro %}{{ m() }}",
    "{% macro f(n) %}{{ n }}{% if n > 0 %}{{ f(n - 1) }}{% endif %}{% endmacro %}{{ f(3) }}", "{% macro a() %}{{ b() }}{% endmacro %}{% macro b() %}B{% endmacro %}{{ a() }}", "{% for x in l %}{% macro m() %}{{ x }}{% endmacro %}{{ m() }}{% endfor %}", "{% macro m() %}x{% endmacro %}{{ m() ~ m() }}{{ m()|upper }}{{ m() is string }}",
    "{% macro m() %}{% set i = 100 %}{{ i }}{% endmacro %}{{ m() }}{{ i }}", "{% macro m() %}x{% endmacro %}{{ m.name }}{{ m.arguments }}{{ m.caller }}{{ m.catch_kwargs }}", "{% macro m(a, b) %}{% endmacro %}{{ m }}", "{% macro m() %}  a  {% endmacro %}[{{ m() }}]", "{% macro m(x) %}{{ x.y }}{% endmacro %}{{ m() }}",
    "{% macro m(a, b=1, c) %}{% endmacro %}", "{% macro m(caller) %}{{ caller() }}{% endmacro %}{% call m() %}x{% endcall %}", "{% call s %}{% endcall %}", "{% macro m(*args) %}{% endmacro %}", "{{ m() }}{% macro m() %}x{% endmacro %}", "{% macro m() %}{{ kwargs.x }}{% endmacro %}{{ m(x=1) }}", "{% macro m(a) %}{{ a }}{% endmacro %}{{ m(*[1]) }}{{ m(**{'a': 2}) }}{{ m(*l) }}",
    "{% macro m() %}{{ loop.index }}{% endmacro %}{% for x in l %}{{ m() }}{% endfor %}", "{% set ns = namespace(n=0) %}{% macro inc() %}{% set ns.n = ns.n + 1 %}{% endmacro %}{{ inc() }}{{ inc() }}{{ ns.n }}", "{% macro outer() %}{% macro inner(x) %}{{ x }}{{ i }}{% endmacro %}{{ inner(1) }}{% endmacro %}{{ outer() }}",
    "{% set x = 1 %}{% macro m() %}{% for q in [1] %}{% set x = x + 1 %}{{ x }}{% endfor %}{{ x }}{% endmacro %}{{ m() }}{{ x }}", "{% macro m(messages=l) %}{{ messages|length }}{% endmacro %}{{ m() }}",
    # conditions, filters, tags
    "{% if i > 5 %}a{% elif i > 3 %}b{% else %}c{% endif %}", "{% if no %}a{% elif t %}b{% else %}c{% endif %}", "{% if no %}a{% elif no %}b{% else %}c{% endif %}", "{% if missing %}a{% endif %}b", "{% if missing.x %}a{% endif %}", "{% if d.x %}a{% endif %}b", "{% if s %}{% if l %}x{% endif %}{% endif %}", "{% if %}{% endif %}", "{% if t %}", "{% endif %}", "{% if t %}{% endfor %}", "{% for x in l %}",
    "{% if no %}{{ 1|nofilter }}{% endif %}ok", "{% if t %}{{ 1|nofilter }}{% endif %}", "{% if no %}{% for x in l %}{{ 1|nofilter }}{% endfor %}{% endif %}", "{{ 1 if t else 2|nofilter }}", "{{ 1 if no else 2|nofilter }}", "{% if no %}{{ 1 is notest }}{% endif %}ok", "{% if 1 is notest %}{% endif %}", "{% for x in em %}{{ x|nofilter }}{% endfor %}", "{% macro m() %}{{ 1|nofilter }}{% endmacro %}",
    "{% filter upper %}a{{ i }}b{% endfilter %}", "{% filter replace('a', 'b')|upper %}aa{% endfilter %}", "{% filter nofilter %}{% endfilter %}", "{% filter trim %}  x  {% endfilter %}", "{% raw %}{{ x }}{% endraw %}", "{% raw -%}  a  {%- endraw %}", "a {%- raw %} b {% endraw -%} c", "{% raw %}", "{# comment #}x", "a{#- c -#} b", "{# {{ x }} #}", "{# unclosed", "{{ 1 }", "{{ }}", "{% %}", "{% foo %}", "{{", "{%", "}}", "%}", "{{ '}}' }}", "{{ {'a': {'b': 1}}}}", "{{ {'a': {'b': 1}} }}", "{% set x = {'a': 1} %}{{ x }}",
    "{% do 1 %}", "{% trans %}{% endtrans %}", "{% print 1, 2 %}", "{% print(1) %}", "{% autoescape true %}{{ '<' }}{% endautoescape %}X{{ 1/0 }}", "{% include 'x' %}", "{% extends 'x' %}", "{% import 'x' as y %}", "{% for x in l: %}{{ x }}{% endfor %}", "{% if t: %}x{% endif %}", "{% generation %}abc{{ i }}{% endgeneration %}d", "a{% generation %}é{% endgeneration %}b{% for x in l %}{% generation %}{{ x }}{% endgeneration %}{% endfor %}", "{% generation %}{% set i = 1 %}{% endgeneration %}{{ i }}", "{% for x in l %}{% generation %}{% break %}{% endgeneration %}{% endfor %}",
    "{% generation %}", "{%- generation -%} a {%- endgeneration -%} b", "{% macro m() %}{{ raise_exception('Only ' ~ i) }}{% endmacro %}{{ m() }}", "{{ raise_exception(d.nested) }}",
    # white space
    "a\n{% if t %}\nb\n{% endif %}\nc\n", "a\n  {% if t %}  \n  b\n  {% endif %}\nc", "a {% if t %} b {% endif %} c", "a {%- if t %} b {%- endif %} c", "a {% if t -%} b {% endif -%} c", "a\n  {%+ if t %}b{% endif %}", "a\n  {{- i }}\n  {{ i -}}\n  b", "a\n\n{%- if t -%}\n\nb\n\n{%- endif -%}\n\nc", "  {% if t %}x{% endif %}", "\t{% if t %}x{% endif %}\n\n", "x{# c #}\ny", "  {# c #}\ny", "  {#- c -#}\n  y", "{{ i }}\n{{ i }}\n", "\n", "\n\n", "a\r\nb\rc\n", "{% if t %}\r\nx{% endif %}", "{% for x in l %}\n{{ x }}\n{% endfor %}\n", "{% for x in l -%}\n{{ x }}\n{%- endfor %}\n", "{{+ i }}", "{{- 1}}{{-1}}", "{{ -1 }}", "a  {%+ set x = 1 +%}\n  b", "a\n {% set x = 1 %} \nb", "\u00a0{% if t %}x{% endif %}", "\u3000{%- if t %}x{% endif %}", "a{% if t %}\n\n\nb{% endif %}", "{%if t%}x{%endif%}", "{%-if t-%} x {%-endif-%}", "{{s}}", "{{s|upper}}{{ s|lower}}", "  {{ i }}  \n  {%- set x = 2 %}\n{{ x }}", "{% set x = 'a\nb' %}{{ x }}", "{{ 'a\r\nb' }}", "a{#\nb\n#}\n\nc", "  {% raw %}\n x {% endraw %}\n y", "{% raw %}a\n  {%- endraw +%}\nb", "x\n   {#+ c #}\ny", "x {#- c +#}\ny",
    "\u2028  {% if t %}x{% endif %}", "{% if t %}{# c #}\n  {{ i }}\n{% endif %}", "{% set a = 1 -%}\n   {% set b = 2 -%}\n  {{ a }}{{ b }}", "   {%- for x in l %}\n  {{ x }}\n   {%- endfor %}",
    # bounds
    "{{ 'a' * 10**9 }}", "{{ [0] * 10**9 }}", "{% macro f() %}{{ f() }}{% endmacro %}{{ f() }}", "{% for a in range(99999) %}{% for b in range(99999) %}{{ a }}{% endfor %}{% endfor %}", "{% set ns = namespace(x='a') %}{% for i in range(60) %}{% set ns.x = ns.x + ns.x %}{% endfor %}", "{% set ns = namespace(x=[]) %}{% for i in range(3000) %}{% set ns.x = [ns.x] %}{% endfor %}{{ ns.x }}", "{{ 10 ** 10 ** 10 }}", "{{ 'x'.ljust(10**12) }}", "{{ '%1000000000d' % 1 }}",
    "{{ " + "(" * 3000 + "1" + ")" * 3000 + " }}", "{{ " + "-" * 5000 + "1 }}", "{% if t %}" * 300 + "{% endif %}" * 300, "{{ x" + ".a" * 3000 + " }}", "{{ " + "[" * 3000 + "]" * 3000 + " }}", "{{ " + "not " * 3000 + "1 }}", "{{ x" + "|upper" * 3000 + " }}", "{{ 1" + " + i" * 3000 + " }}", "{{ ('a' * 100000) * 100000 }}", "{{ range(100000)|list|tojson|length * 0 + 1/0 }}",
]
# Where both agree on less than the whole: jinja2 takes minutes or gives up in another way. Ours has to be an error.
ONLY_OURS = [s for s in STATEMENTS if "10**9" in s or "99999" in s or "range(60)" in s or "range(3000)" in s or "10 ** 10 ** 10" in s or "10**12" in s or "1000000000d" in s
             or "* 100000) * 100000" in s or len(s) > 2000]
# What we refuse and jinja2 does (docs/data.md says so): integers beyond 64 bits, names and numbers in other scripts, rare tags and filters.
REFUSED = ["12345678901234567890", "9223372036854775807 + 1", "9223372036854775807 * 2", "big + 0.0 + 9223372036854775807 ** 2", "'\\N{DIGIT ONE}'", "é", "naïve", "s.casefold()", "10 ** 400.0",
           "s.encode('utf-8')", "{% autoescape true %}{{ '<' }}{% endautoescape %}X{{ 1/0 }}", "(-8) ** 0.5", "lipsum(n=1)|length > 0 and 1/0", "'٣'.isdigit()"]


def cases():
    rows = []
    for line in EXPRESSIONS.strip().replace("\nb' ;", "\\nb' ;").split("\n"):
        for expression in line.split(" ; "):
            expression = expression.strip()
            if expression:
                rows.append("{{ " + expression.rstrip(" ;") + " }}")
    return rows + STATEMENTS


TOOLS = [
    {"type": "function", "function": {"name": "get_weather", "description": "Weather of a <city> & \"more\" \u00e9", "parameters": {
        "type": "object", "properties": {"city": {"type": "string", "description": "the city's name"}, "unit": {"type": "string", "enum": ["c", "f"]},
                                         "days": {"type": "array", "items": {"type": "integer"}}}, "required": ["city"]}}},
    {"type": "function", "function": {"name": "add", "description": "Adds.", "parameters": {
        "type": "object", "properties": {"a": {"type": ["integer", "null"], "default": 1}, "b": {"type": "number"}, "o": {"type": "object", "properties": {"x": {"type": "boolean"}}}}},
        "return": {"type": "integer", "description": "sum"}}}]
CALLS = [{"type": "function", "id": "call00001", "function": {"name": "get_weather", "arguments": {"city": "Z\u00fcrich", "days": [1, 2], "unit": None}}},
         {"type": "function", "id": "call00002", "function": {"name": "add", "arguments": {"a": 1, "b": 2.5, "o": {"x": True}}}}]
TEXT_CALLS = [{"type": "function", "id": "call00001", "function": {"name": "get_weather", "arguments": "{\"city\": \"Z\"}"}}]


def user(content):
    return {"role": "user", "content": content}


def system(content):
    return {"role": "system", "content": content}


def assistant(content, **more):
    return {"role": "assistant", "content": content, **more}


def tool(content, **more):
    return {"role": "tool", "content": content, **more}


CHATS = [
    [user("Hi there")], [system("Be brief."), user("Hi")], [user("a"), assistant("b"), user("c ")], [system(" s\n"), user("a"), assistant(" b\n\n"), user("c"), assistant("d")],
    [user("q"), assistant("<think>\nhm\n</think>\n\nyes"), user("r"), assistant("<think>x</think>z")],
    [user("q"), assistant("yes", reasoning_content="because", thinking="because"), user("r"), assistant("no", reasoning_content="b2", thinking="b2")],
    [user("w?"), assistant("", tool_calls=CALLS), tool("{\"t\": 20}", name="get_weather", tool_call_id="call00001"), tool("3.5", name="add", tool_call_id="call00002"), assistant("20 and 3.5")],
    [system("s"), user("w?"), assistant(None, tool_calls=CALLS[:1]), tool("20", name="get_weather", tool_call_id="call00001"), user("thanks")],
    [user("w?"), assistant("Let me see", tool_calls=TEXT_CALLS), tool("20", name="get_weather", tool_call_id="call00001")],
    [user("w?"), {"role": "assistant", "tool_calls": CALLS[:1]}, tool([{"type": "text", "text": "20"}], name="get_weather")],
    [user([{"type": "text", "text": "see "}, {"type": "text", "text": "this"}]), assistant([{"type": "text", "text": "ok"}]), user("b")],
    [{"role": "developer", "content": "d"}, user("x")], [{"role": "narrator", "content": "d"}], [assistant("x"), assistant("y")], [user("x"), user("y")],
    [user("x"), system("s"), assistant("y")], [], [{"role": "user"}], [user(None)], [user("<|im_start|>x<|im_end|></s>[INST]"), assistant("<|eot_id|>")], [user("\u00dcn\u00ef \U0001f642 \u2028 \u00a0"), assistant("  ")],
    [user("q"), assistant("", reasoning_content="think first", thinking="think first", tool_calls=CALLS[:1]), tool("20", name="get_weather", tool_call_id="call00001"), assistant("done", reasoning_content="so")],
]
EXTRAS = [{}, {"add_generation_prompt": True}, {"enable_thinking": False, "add_generation_prompt": True}, {"tools": TOOLS}, {"tools": TOOLS[:1], "enable_thinking": True, "add_generation_prompt": True},
          {"tools": [], "reasoning_effort": "low", "preserve_thinking": True}]


def fnv(data):
    value = 0xCBF29CE484222325
    for byte in data:
        value = (value ^ byte) * 0x100000001B3 & 0xFFFFFFFFFFFFFFFF
    return f"{value:016x}"


def published():
    """The templates of TRL's package (Apache-2.0), by name; the same text once."""
    import trl  # 1.12; 1.16 by PYTHONPATH
    folder = pathlib.Path(trl.__file__).parent / "chat_templates"
    seen = {}
    for file in sorted(folder.glob("*.jinja")):
        seen.setdefault(file.read_text(), file.name)
    return {name: text for text, name in seen.items()}


def templates():
    rows = {}
    for name, text in published().items():
        results = []
        for chat in CHATS:
            for extra in EXTRAS:
                variables = {"bos_token": "<s>", "eos_token": "</s>", "messages": chat, "tools": None, "documents": None, "add_generation_prompt": False, **extra}
                result = render(text, variables)
                results.append("error" if "error" in result else fnv(result["text"].encode() + json.dumps(result.get("generated", []), separators=(",", ":")).encode()))
        rows[name] = {"template": text, "results": " ".join(results)}
    (HERE / "jinja" / "templates.json").write_text(json.dumps(
        {"source": "the package trl, chat_templates/*.jinja, Apache-2.0", "now": NOW, "chats": CHATS, "extras": EXTRAS, "templates": rows}, ensure_ascii=False, indent=0) + "\n")
    print(len(rows), "templates")


def main():
    templates()
    out = []
    for template in dict.fromkeys(cases()):
        if template in ONLY_OURS:
            out.append({"template": template, "error": "bounded"})
            continue
        out.append({"template": template, **render(template, dict(VARIABLES))})
    (HERE / "jinja" / "cases.json").write_text(
        json.dumps({"now": NOW, "variables": VARIABLES, "cases": out}, ensure_ascii=False, indent=0) + "\n")
    print(len(out), "cases,", sum("error" in row for row in out), "of them errors")


if __name__ == "__main__":
    main()
