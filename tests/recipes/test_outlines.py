"""Digests of definitions: the same for the same code, however it is written."""

from __future__ import annotations

from pathlib import Path

import pytest

from genlab.recipes import outlines


def digest(text: str, folder: Path) -> list[str]:
    (folder / "one.py").write_text(text)
    found = outlines.outline("one", folder / "one.py", hash(text), len(text))
    assert not found.whole
    imported = [str(one) for listed in found.imports.values() for one in listed]
    return [*imported, *(unit.digest for unit in found.units)]


def test_a_digest_is_the_same_in_all_versions_of_python(tmp_path: Path) -> None:
    text = (
        'class A(B, c=1):\n    """Doc."""\n    def f(self, *, a, b=2): return f"{a:{b}.3}x{b!r}"\n'
    )
    assert digest(text, tmp_path)[0][:16] == "55ecc6f402e07ece"  # of 3.11, 3.12 and 3.13


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("f(1)", "f(1.0)"), ("f(a)", "f(b)"), ("f(*a)", "f(**a)"), ("x = 'a'", "x = b'a'"),
        ("x = a + b", "x = a - b"), ("def f(a, b=1): g(0)", "def f(a=1, b=1): g(0)"),
        ("a(); b()", "b(); a()"), ("def f():\n  return", "def f():\n  pass"), ("f(2)", "f(3)"),
        ("def f(*, a, b=1): g(0)", "def f(*, a=1, b): g(0)"), ("x = f'{a}'", "x = f'{a!r}'"),
        ("x = f'{a:1}'", "x = f'{a:2}'"), ("if a: b()\nelse: c()", "if a: b()\nc()"),
        ("x = (a, b)", "x = [a, b]"), ("x = a.b", "x = a.c"), ("x = a().b", "x = a().c"),
        ("class A:\n  x: int = 1", "class A:\n  x = 1"), ("from a import b", "from c import b"),
        ("class A:\n  x: int", "class A:\n  y: int"), ("import a as b", "import c as b"),
        ("class A:\n  x: int = 1", "class A:\n  x: ClassVar[int] = 1"),
        ("print(f'{x.mul_(1.0)}')", "print(f'{x.mul_(2.0)}')"),
        ("print('{}'.format(x.mul_(1.0)))", "print('{}'.format(x.mul_(2.0)))"),
        ("print('a %s' % f(1))", "print('a %s' % f(2))"), ("print(f'{x}')", "print(f'{x()}')"),
        ("log.info(f'{x:{w.add_(1)}}')", "log.info(f'{x:{w.add_(2)}}')"),
        ("print(f'{(a := 1)}')", "print(f'{(a := 2)}')"), ("print('' if f() else '')", "print('')"),
        ("warn(f'{len(g(1))}')", "warn(f'{len(g(2))}')"),
        ("print(', '.join(f(1)))", "print(', '.join(f(2)))"),
        ("raise A(f'{x.mul_(1.0)}')", "raise A(f'{x.mul_(2.0)}')"),
        ("raise ValueError('a')", "raise KeyError('a')"), ("raise Stop(1)", "raise Stop(2)"),
        ("f('text')", "f('other')"), ("self.note('a')", "self.note('b')"),
        ("info('a')", "info('b')"), ("x = warn('a')", "x = warn('b')"),
        ("assert a, 'b'", "assert b, 'b'"), ("def f():\n  from a import b", "def f():\n  0"),
        ("@a\ndef f(): 0", "@b\ndef f(): 0"), ("x = lambda a: a", "x = lambda a: -a"),
        ("x = not a", "x = -a"), ("x = a < b", "x = a <= b"), ("global a", "global b"),
        ("def f(a, /): 0", "def f(a): 0"), ("try: a()\nexcept B: 0", "try: a()\nexcept C: 0"),
    ],
)  # fmt: skip
def test_other_code_has_another_digest(tmp_path: Path, one: str, other: str) -> None:
    assert digest(one, tmp_path) != digest(other, tmp_path)


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("f( 1 )", "f(1)"), ('x = "a"', "x = 'a'"), ("'doc'\nf(1)", "f(1)"), ("a = (1)", "a = 1"),
        ("def f():\n  'doc'\n  return 1", "def f():\n  return 1  # one"), ("f(1_000)", "f(1000)"),
        ("class A:\n  'doc'\n  b = 1", "class A:\n  b = 1"), ("a()\n\n\nb()", "a(); b()"),
        ("class A:\n  b = 1\n  'of b'", "class A:\n  b = 1"), ("x: int = 1", "x = 1"),
        ("def f(a: int) -> str: g(a)", "def f(a: float): g(a)"),
        ("class A:\n  x: int = 1", "class A:\n  x: float = 1"),
        ("raise ValueError('a')", "raise ValueError(f'b {c}' + d)"),
        ("warnings.warn('a', B, 2)", "warnings.warn('c'.format(1), B, 2)"),
        ("print('a', end='')", "print(f'{b}', end='x')"), ("assert a, 'b'", "assert a, f'{c}'"),
        ("print(f'{len(a)} {a.b!r}')", "print('n', f'{x:{y}}')"),
        ("raise A(f'{first(error)}')", "raise A('b')"),
        ("print(f\"{', '.join(a)}\")", "print('a {}'.format(b[0]))"),
        ("process.note('a')", "process.note('b')"), ("log.info('a')", "log.info('b')"),
        ("if TYPE_CHECKING:\n  import a", ""), ("if not TYPE_CHECKING:\n  import a", "import a"),
        ("if TYPE_CHECKING:\n  import a\nelse:\n  import b", "import b"),
        ("if __name__ == '__main__': a()", ""),
    ],
)  # fmt: skip
def test_the_same_code_has_the_same_digest(tmp_path: Path, one: str, other: str) -> None:
    assert digest(one, tmp_path) == digest(other, tmp_path)


@pytest.mark.parametrize(
    ("text", "acts"),
    [
        ("A.x = f", True), ("f()", True), ("x = register(1)", True), ("x[1] = 2", True),
        ("@registered\ndef f(): 0", True), ("class A(B, metaclass=C): 0", True),
        ("if a:\n  f()", True), ("for x in y:\n  f(x)", True), ("x += [1]", True),
        ("with a:\n  f()", True), ("try:\n  x = 1\nexcept A:\n  f()", True), ("del x", True),
        ("x = 1", False), ("x = frozenset([1])", False), ("def f(): g()", False),
        ("class A: x = 1", False), ("try:\n  import a\nexcept A:\n  a = None", False),
        ("@dataclass(frozen=True)\nclass A: 0", False), ("x = lambda: f()", False),
    ],
)  # fmt: skip
def test_statements_that_act_are_told_from_definitions(
    tmp_path: Path, text: str, acts: bool
) -> None:
    (tmp_path / "one.py").write_text(text)
    (unit,) = outlines.outline("one", tmp_path / "one.py", hash(text), 0).units
    assert unit.acts == acts


def test_a_file_that_is_not_python_counts_whole(tmp_path: Path) -> None:
    found = []
    for text in ("def f(:", "def g(:", "x = 'a\0'"):
        (tmp_path / "one.py").write_text(text)
        found.append(outlines.outline("one", tmp_path / "one.py", hash(text), 0).whole)
    assert all(found)
    assert len(set(found)) == 3
