"""Wrong formulas: every small change of an expression in a source file that `mutation.py` may try.

An operator becomes another, a sign is lost, a number changes, two arguments change places, a function becomes its
sibling. What is no formula is left alone: annotations, decorators, what is raised, text, and checks of input, which are
an `if` that only raises.
"""

import ast
import collections
import copy
import dataclasses
from collections.abc import Iterator
from types import CodeType

_OPERATORS: dict[type, type] = {
    ast.Add: ast.Sub,
    ast.Sub: ast.Add,
    ast.Mult: ast.Div,
    ast.Div: ast.Mult,
    ast.Pow: ast.Mult,
    ast.FloorDiv: ast.Div,
    ast.Mod: ast.Mult,
}
_COMPARISONS: dict[type, tuple[type, ...]] = {
    ast.Lt: (ast.LtE, ast.GtE),
    ast.LtE: (ast.Lt, ast.Gt),
    ast.Gt: (ast.GtE, ast.LtE),
    ast.GtE: (ast.Gt, ast.Lt),
    ast.Eq: (ast.NotEq,),
    ast.NotEq: (ast.Eq,),
}
_PAIRS = (
    ("sin", "cos"),
    ("minimum", "maximum"),
    ("min", "max"),
    ("mean", "sum"),
    ("exp", "expm1"),
    ("log", "log1p"),
    ("sqrt", "square"),
    ("cumsum", "cumprod"),
    ("floor", "ceil"),
    ("any", "all"),
    ("zeros_like", "ones_like"),
    ("zeros", "ones"),
    ("argmin", "argmax"),
)
_SIBLINGS = {name: other for pair in _PAIRS for name, other in (pair, pair[::-1])}
_ALONE = {"sum", "square", "any", "all"}
"""Python's own, or missing in `math`: they have a sibling as methods and functions of arrays alone."""
_SYMMETRIC = {"maximum", "minimum", "max", "min", "isinstance", "getattr", "hasattr", "broadcast_right"}
"""Whose arguments may change places, or are of two kinds that the shapes in annotations tell apart."""
_SETTINGS = {"rtol", "atol", "max_steps", "seed", "batch_size", "xatol"}
"""Keywords and defaults that say how something is computed, not what."""


@dataclasses.dataclass(frozen=True)
class Mutant:
    """One changed expression.

    Attributes:
      file: path in the repository.
      line: number of the line where the expression begins.
      content: of that line, without indentation.
      change: "before -> after"; with "(2)" behind it for the second such of the same line.
      source: the whole changed file.
    """

    file: str
    line: int
    content: str
    change: str
    source: str = dataclasses.field(repr=False)

    @property
    def key(self) -> tuple[str, str, str]:
        """What names it while lines move."""
        return self.file, self.content, self.change


def _only_raises(node: ast.AST) -> bool:
    return isinstance(node, ast.If) and all(isinstance(statement, ast.Raise) for statement in node.body)


def _children(node: ast.AST) -> Iterator[ast.AST]:
    """The parts of a node that may hold a formula."""
    if isinstance(node, ast.Raise | ast.Assert | ast.JoinedStr) or _only_raises(node):
        return
    if isinstance(node, ast.FunctionDef):
        named = node.args.posonlyargs + node.args.args
        defaults = list(zip(named[len(named) - len(node.args.defaults) :], node.args.defaults, strict=True))
        defaults += [pair for pair in zip(node.args.kwonlyargs, node.args.kw_defaults, strict=True) if pair[1]]
        yield from (default for argument, default in defaults if argument.arg not in _SETTINGS)
        yield from node.body
    elif isinstance(node, ast.ClassDef):
        yield from node.body
    elif isinstance(node, ast.AnnAssign):
        if node.value is not None and getattr(node.target, "id", "") not in _SETTINGS:
            yield node.value
    elif isinstance(node, ast.keyword):
        if node.arg not in _SETTINGS:
            yield node.value
    else:
        yield from ast.iter_child_nodes(node)


def _numbers(value: int | float) -> tuple[int | float, ...]:
    """What a number may become."""
    if isinstance(value, float):
        return (2 * value, value / 2) if value else (1.0,)
    return (value + 1, value - 1) if value > 0 else (value + 1,)


def _is_text(node: ast.AST) -> bool:
    return isinstance(node, ast.JoinedStr) or (isinstance(node, ast.Constant) and isinstance(node.value, str))


def _replaced(node: ast.AST, **fields) -> ast.AST:
    changed = copy.copy(node)
    for name, value in fields.items():
        setattr(changed, name, value)
    return changed


def _of_call(node: ast.Call) -> Iterator[ast.AST]:
    """Another function, or neighbouring arguments in each other's place, if both are names: t and s, x and y."""
    function = node.func
    name = getattr(function, "attr", getattr(function, "id", ""))
    owner = getattr(getattr(function, "value", None), "id", "")
    plain = isinstance(function, ast.Name)
    if name in _SIBLINGS and not (name in _ALONE and plain) and not (owner == "math" and name == "sqrt"):
        yield _replaced(node, func=_replaced(function, **{"id" if plain else "attr": _SIBLINGS[name]}))
    if name in _SYMMETRIC:
        return
    for i in range(len(node.args) - 1):
        one, other = node.args[i : i + 2]
        if isinstance(one, ast.Name) and isinstance(other, ast.Name) and one.id != other.id:
            yield _replaced(node, args=[*node.args[:i], other, one, *node.args[i + 2 :]])


def _changes(node: ast.AST) -> Iterator[ast.AST]:
    """What a node may become."""
    if (
        isinstance(node, ast.BinOp)
        and type(node.op) in _OPERATORS
        and not (_is_text(node.left) or _is_text(node.right))
    ):
        yield _replaced(node, op=_OPERATORS[type(node.op)]())
    elif isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.USub):
        yield node.operand
    elif isinstance(node, ast.Constant) and type(node.value) in (int, float):
        yield from (ast.Constant(value) for value in _numbers(node.value))
    elif isinstance(node, ast.Compare):
        for i, operator in enumerate(node.ops):
            for other in _COMPARISONS.get(type(operator), ()):
                yield _replaced(node, ops=[*node.ops[:i], other(), *node.ops[i + 1 :]])
    elif isinstance(node, ast.Call):
        yield from _of_call(node)


def _nodes(tree: ast.AST) -> Iterator[ast.AST]:
    for child in _children(tree):
        yield child
        yield from _nodes(child)


def _meaning(code: CodeType) -> tuple:
    """Bytecode and constants, without the places in the source."""
    constants = tuple(_meaning(c) if isinstance(c, CodeType) else (type(c), repr(c)) for c in code.co_consts)
    return code.co_code, constants, code.co_names, code.co_varnames


def _spliced(source: str, node: ast.AST, text: str) -> str:
    """The source with `text` in the node's place; columns of `ast` count bytes."""
    lines = source.encode().splitlines(keepends=True)
    before, after = lines[node.lineno - 1][: node.col_offset], lines[node.end_lineno - 1][node.end_col_offset :]
    return b"".join([*lines[: node.lineno - 1], before, text.encode(), after, *lines[node.end_lineno :]]).decode()


def mutants(file: str, source: str) -> list[Mutant]:
    """All of a file, in the order of the source, without those that compile to what is there already."""
    original, found = _meaning(compile(source, file, "exec")), []
    seen: collections.Counter[tuple[str, str]] = collections.Counter()
    for node in _nodes(ast.parse(source)):
        for changed in _changes(node):
            text = ast.unparse(changed)
            changed_source = _spliced(source, node, text if isinstance(changed, ast.Call) else f"({text})")
            if _meaning(compile(changed_source, file, "exec")) == original:
                continue
            content, change = source.splitlines()[node.lineno - 1].strip(), f"{ast.unparse(node)} -> {text}"
            seen[content, change] += 1
            change += f" ({seen[content, change]})" if seen[content, change] > 1 else ""
            found.append(Mutant(file, node.lineno, content, change, changed_source))
    return found
