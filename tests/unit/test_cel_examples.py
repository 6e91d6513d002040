"""Expressions by hand, each evaluated by Google's CEL and by ours."""

from __future__ import annotations

import pytest
from tests.cel_oracle import ERROR, EXAMPLE, REFUSED, googles, ours

ALIKE = r"""
1+2
1/0
1/0 == 1 || true
true || 1/0==1
1u+2u
1.0/0.0
1.0 / -0.0
0.0 / 0.0
-7/2
-7 % 3
5 / -2
9223372036854775807+1
-9223372036854775808 / -1
-(-9223372036854775808)
-9223372036854775808 % -1
9223372036854775807 * 2
5u - 6u
18446744073709551615u + 1u
1u / 0u
1 % 0
2.0 % 1.0
--1
- -1
1 - -1
!!true
!!x.a
!x.a
-x.s
x.a
x.a == 1 || true
has(x.zz)
has(x.a)
has(m.zz.y)
has(x.s.b)
has(x.n.y)
x.zz
x.a < 1.5
x.a + 1.5
x.s + 1
x.f > 1
x.f == 2.5
x.n == null
x.n < 1
x.t == 1
true == x.a
x == x
x.l == [1,2,3]
x.l + ['a']
[1] + ['a']
[] + [1]
x.zz && false
x.zz && true
false && x.zz
x.zz || false
x.a && false
x.a && true
x.s && x.zz
x.zz ? 1 : 2
x.a ? 1 : 2
false ? x.zz : 1
true ? 1 : 'a'
true ? x.a : 'b'
false ? 1 : null
true ? null : t
1 == 1.0
dyn(1) == 1.0
1 == 'a'
x.a == 'a'
x.s == 1
s == null
t == null
1 < 1u
dyn(1) < 1.5
dyn(-1) < 5u
dyn(-1) == 18446744073709551615u
dyn(9007199254740993) == 9007199254740992.0
dyn(9223372036854775807) < 9223372036854775808.0
null < null
true < false
b'a' < b'b'
[1] < [2]
double('nan') == double('nan')
[double('nan')] == [double('nan')]
double('nan') in [double('nan')]
1 in [1, 'a']
1 in [1.0]
x.a in [1, 2]
x.a in [dyn(1.0)]
'a' in x
1 in x
1 in x.a
'a' in {'a': 1}
dyn(1.0) in {1: 2}
dyn(1.5) in {1: 2}
{true: 1}[dyn(1)]
{1: 2}[dyn(1u)]
{1: 2}[dyn(true)]
{'a': 1}.a
{'a': 1}.b
{'a': 1}['b']
{1: 1, 1: 2}
{'a': x.zz}
{'a': 1} == {'a': dyn(1.0)}
{'a': 1} != {'b': 1}
{} == {'a': 1}
x.l[0]
x.l[5]
x.l[-1]
x.l['a']
x.l[dyn(1.0)]
x.l[dyn(1.5)]
x.l[9223372036854775807]
x[1]
[1, 2][1u]
[1, 2].exists(y, y == 2)
[0, 1].all(q, 1/q == 1)
[0, 1].exists(q, 1/q == 1)
[0, 2].exists(q, 1/q == 1)
[0, 2].all(q, 1/q == 1)
[0, 1].exists_one(q, 1/q == 1)
[1, 1].exists_one(q, q == 1)
[1, 2].filter(q, q/0 == 1)
[1, 2].filter(q, q > 1)
[1, 2].map(q, q > 1, q * 2)
[1, 2].map(q, q * 2)
[[1]].map(a, a.map(b, b + size(a)))
[1].exists(x, x == 1)
[1, 2].all(q, q)
x.l.all(q, q)
x.l.exists(q, q)
x.l.filter(q, q)
x.l.map(q, q.b)
x.a.all(q, true)
x.s.map(q, q)
s.map(q, q)
x.n.exists(q, true)
{'a': 1}.exists(k, k == 'a')
{'a': 1}.map(k, k)
[].all(q, q)
[].map(q, q + 1)
[1].map(a.b, 1)
size('é😀')
size(b'abc')
size(x)
size(x.a)
size([])
'é😀'.size()
x.s.size()
'abc'.startsWith('')
x.s.startsWith(1)
x.s.startsWith(x.a)
''.endsWith('a')
'abc'.contains('b')
b'abc'.startsWith(b'a')
string(1.23456789)
string(0.1)
string(123456789.0)
string(100.0)
string(-0.0)
string(1.0/3.0)
string(1e-7)
string(0.0001)
string(999999.0)
string(1000000.0)
string(12345678901234567.0)
string(5e-324)
string(-1.5e300)
string(double('nan'))
string(-1.0/0.0)
string(true)
string(b'abc')
string(b'\xff')
string(t)
string(d)
string(timestamp('2024-01-01T00:00:00.5Z'))
string(duration('-1.5s'))
string(5u)
string(null)
string(x.l)
int(' 3')
int('+3')
int('0x10')
int('1.0')
int('')
int('1_000')
int('--1')
int(-2.9)
int(1e19)
int(9223372036854775807.0)
int(-9223372036854775808.0)
int(double('nan'))
int(timestamp('1969-12-31T23:59:58.5Z'))
int(true)
int(18446744073709551615u)
int('-9223372036854775808')
uint('3')
uint('-0')
uint(2.9)
uint(-0.5)
uint(-0.0)
uint('-1')
uint(1e20)
uint(18446744073709549568.0)
double('1e5')
double(' 1.5 ')
double('inf')
double('1_0')
double('')
double('1e')
double('1e400')
double('.5')
double('5.')
double('１')
bool('t')
bool('True')
bool('yes')
bool('T')
bool(1)
bytes('é')
timestamp(0)
timestamp(253402300800)
timestamp(-62135596800)
timestamp('2024-01-01')
timestamp('2024-01-01T00:00:00')
timestamp('2024-01-01T00:00:00+02:00')
timestamp('2024-01-01t00:00:00z')
timestamp('2024-01-01 00:00:00Z')
timestamp('2024-02-30T00:00:00Z')
timestamp('0000-01-01T00:00:00Z')
timestamp('2024-01-01T24:00:00Z')
timestamp('2024-01-01T00:00:00+24:00')
timestamp('0001-01-01T00:00:00+01:00')
timestamp('9999-12-31T23:59:59-01:00')
timestamp('9999-12-31T23:59:59Z') + duration('1s')
timestamp('2400-01-01T00:00:00Z') - timestamp('2000-01-01T00:00:00Z')
timestamp('2290-01-01T00:00:00Z') - timestamp('2000-01-01T00:00:00Z')
timestamp('2000-01-01T00:00:00Z') + duration('20000000000s')
duration('1d')
duration('1.5h')
duration('-1h30m')
duration('1h30')
duration('')
duration('0')
duration('-0')
duration('1')
duration('-')
duration('1us')
duration('.5s')
duration('1.s')
duration('.s')
duration('1h1h')
duration('1h-1m')
duration('1e3s')
duration('315576000000s')
duration('315576000001s')
duration('20000000000s') + duration('1s')
duration('1s') - duration('2s')
duration('1s') * 2
-duration('1s')
duration('1s') + t
t - t
t > null
t.getFullYear()
t.getMonth()
t.getDayOfMonth()
t.getDate()
t.getDayOfWeek()
t.getDayOfYear()
t.getMinutes('-02:30')
t.getMilliseconds()
t.getHours('Europe/Berlin')
t.getHours('+02:00')
t.getHours('02:00')
t.getHours('Nowhere/Land')
t.getHours('+2')
t.getHours('')
duration('-90m').getHours()
duration('90m').getMinutes()
duration('-1.5s').getSeconds()
duration('-1.5s').getMilliseconds()
d.getHours('UTC')
0xFFu
0X10
007
1_0
1.
.5
1e5
1e400
9223372036854775808
-9223372036854775808
- 9223372036854775808
18446744073709551616u
1 // a comment
"\x41\101\n"
'\xe9\u00e9\U0001F600'
'\q'
'\ud800'
b'\xe9é'
b'\u00e9'
r"\d"
"a'b"
'''a'b'''
'a
1 +
(1
[1,]
[1,,2]
{'a': 1,}
f(1)
x.f(1)
size(1, 2)
size()
has(1)
has(x)
has(x['a'])
x.exists(1)
1 < 2 < 3
1 == 1 == true
1 ? 2
x..a
x.in
x.if
x = 1
x and b
!-1
x is 1
true && 'a'
[1, dyn('a')][0] + 1
[1, dyn(2.0)][1] + 1
(x.a + 1) == 2.0
[[1], ['a']][0][0] + 1
[] == [[]]
[[]] == [[1]]
[][0]
true ? [] : [1]
string(0.0/0.0)
string(-(0.0/0.0))
[].map(q, size(q) + size(q + []))
[].map(q, [q < q, q + 1])
d - (x['a'] + d)
x['l'].map(q, q)
[[1]].exists(q, q.exists(r, r == 1))
""".strip().splitlines()

OURS_ALONE_REFUSES = {
    "type(1)": "types are not values",
    "int": "types are not values",
    "s.matches('a+')": "regular expressions are left out",
    "{1: 1, 'a': 2}": "keys of one literal are of one type",
    "{1u: 1}": "uint keys",
    "x.`a`": "names in backticks",
    "[[[1]]].map(a, a.map(b, b.map(c, c)))": "three lists inside one another",
}
FAILS_ALWAYS = ("{[1]: 2}", "{1.5: 2}", "{null: 2}")
"""Google's says so when they are evaluated, ours when they are loaded."""
DIFFERENT_AT_RUN_TIME = {
    "duration('1ns')": "whole microseconds",
    "timestamp('2024-01-01T00:00:00.123456789Z')": "whole microseconds",
    "timestamp('2024-1-1T00:00:00Z')": "RFC 3339 to the letter",
    "timestamp('2024-01-01T23:59:60Z')": "no leap seconds",
    "double('0x1p3')": "no hexadecimal text",
    "t.getHours('+2:00')": "two digits for the hours",
}


@pytest.mark.parametrize("source", ALIKE)
def test_ours_is_googles(source: str) -> None:
    assert ours(source, EXAMPLE) == googles(source, EXAMPLE)


@pytest.mark.parametrize("source", OURS_ALONE_REFUSES)
def test_what_is_left_out_is_refused_when_loaded(source: str) -> None:
    assert googles(source, EXAMPLE) not in (ERROR, REFUSED)
    assert ours(source, EXAMPLE) == REFUSED


@pytest.mark.parametrize("source", DIFFERENT_AT_RUN_TIME)
def test_what_is_narrower_fails_and_is_never_something_else(source: str) -> None:
    assert googles(source, EXAMPLE) not in (ERROR, REFUSED)
    assert ours(source, EXAMPLE) == ERROR


@pytest.mark.parametrize("source", FAILS_ALWAYS)
def test_what_always_fails_is_refused_when_loaded(source: str) -> None:
    assert googles(source, EXAMPLE) == ERROR
    assert ours(source, EXAMPLE) == REFUSED
