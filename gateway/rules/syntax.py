"""What a template may be made of: an allow-list of Jinja's syntax. What is not named here is refused at load."""

from __future__ import annotations

import difflib
import math
from collections.abc import Iterable, Mapping
from typing import Final, NamedTuple

from jinja2 import nodes

FILTERS: Final[Mapping[str, int]] = {
    **dict.fromkeys(("upper", "lower", "title", "length", "first", "last", "items", "time", "ago"), 0),
    **dict.fromkeys(("trim", "join", "round", "int", "float", "sort"), 1),
    "default": 2,
    "truncate": 4,
}
"""The filters there are, and how many arguments each takes: none that makes a text longer than what it was given."""
TESTS: Final = frozenset(
    (
        *("defined", "undefined", "none", "string", "number", "mapping", "sequence", "true", "false"),
        *("in", "eq", "ne", "lt", "le", "gt", "ge", "==", "!=", "<", "<=", ">", ">="),
    )
)
LOOP_NAMES: Final = frozenset(("index", "index0", "revindex", "revindex0", "first", "last", "length"))
_NUMBER_MOST: Final = 10**15
_DIGITS_MOST: Final = 15
"""What `round` may be told: with -100000000 Python makes a number of so many digits, and the loop stands still."""
_DEEPEST: Final = 40
"""Python itself reads 200 parentheses in each other, and a tree has several for each node."""
_DEEPEST_LOOP: Final = 2
_ALLOWED: Final = (
    *(nodes.Template, nodes.Output, nodes.TemplateData, nodes.If, nodes.For, nodes.Name, nodes.Const),
    *(nodes.Getattr, nodes.Getitem, nodes.Slice, nodes.Filter, nodes.Test, nodes.Keyword, nodes.CondExpr),
    *(nodes.Compare, nodes.Operand, nodes.And, nodes.Or, nodes.Not, nodes.Neg, nodes.Pos, nodes.Concat),
    *(nodes.Add, nodes.Sub, nodes.Mul, nodes.Div, nodes.Tuple, nodes.List),
)
_INSTEAD: Final[Mapping[type[nodes.Node], str]] = {
    nodes.Call: "nothing can be called; use a filter: {{ title|upper }}, {% for name, value in labels|items %}",
    nodes.Assign: "{% set %} is not supported",
    nodes.Pow: "** is not supported",
    nodes.Mod: "% is not supported",
    nodes.FloorDiv: "// is not supported",
    nodes.Dict: "a {…} literal is not supported",
}


class Wrong(Exception):
    """One thing in a template that is not allowed: its line, counted from 1, and what it is."""

    def __init__(self, line: int, what: str) -> None:
        super().__init__(what)
        self.line = line
        self.what = what


def check(tree: nodes.Template, names: frozenset[str]) -> None:
    """Raises Wrong at the first thing in reading order that is not allowed. `names`: the variables there are."""
    _check(tree, names, _Depth())


class _Depth(NamedTuple):
    """How deep in the tree a node stands, and in how many loops; `line` is that of the node above it."""

    levels: int = 0
    loops: int = 0
    line: int = 1

    def below(self, node: nodes.Node) -> _Depth:
        # Some of Jinja's nodes have no line of their own.
        return _Depth(self.levels + 1, self.loops + isinstance(node, nodes.For), node.lineno or self.line)


def _check(node: nodes.Node, names: frozenset[str], above: _Depth) -> None:
    depth = above.below(node)
    if not isinstance(node, _ALLOWED):
        raise Wrong(depth.line, _INSTEAD.get(type(node), f"{type(node).__name__.lower()} is not supported"))
    if depth.levels > _DEEPEST:
        raise Wrong(depth.line, f"this is nested more than {_DEEPEST} deep")
    match node:
        case nodes.Name():
            _check_name(node, names)
        case nodes.Const():
            _check_constant(node)
        case nodes.Getattr():
            if node.attr.startswith("_"):
                raise Wrong(node.lineno, f"{node.attr!r} begins with an underscore")
        case nodes.Filter():
            _check_filter(node)
        case nodes.Test():
            if node.name not in TESTS:
                raise Wrong(node.lineno, f"there is no test {node.name!r}{_meant(node.name, TESTS)}")
        case nodes.For():
            _check_loop(node, names, depth)
            return
        case _:
            pass
    for child in node.iter_child_nodes():
        _check(child, names, depth)


def _check_name(node: nodes.Name, names: frozenset[str]) -> None:
    if node.name not in names:
        raise Wrong(node.lineno, f"{node.name!r} is not known here{_meant(node.name, names)}")


def _check_constant(node: nodes.Const) -> None:
    number = node.value
    if isinstance(number, int | float) and not (math.isfinite(number) and abs(number) <= _NUMBER_MOST):
        raise Wrong(node.lineno, "a number is too large")


def _check_filter(node: nodes.Filter) -> None:
    most = FILTERS.get(node.name)
    if most is None or node.node is None:
        raise Wrong(node.lineno, f"there is no filter {node.name!r}{_meant(node.name, FILTERS)}")
    named = {argument.key for argument in node.kwargs}
    known = {"boolean"} if node.name == "default" else set()
    if len(node.args) > most or named - known or node.dyn_args is not None or node.dyn_kwargs is not None:
        raise Wrong(node.lineno, f"the filter {node.name!r} takes {most or 'no'} plain arguments at most")
    # What a payload could choose, it could choose to be large. A default only takes the place of a value.
    if node.name != "default" and not all(_is_constant(argument) for argument in node.args):
        raise Wrong(node.lineno, f"the arguments of {node.name!r} must be written out")
    if node.name == "round" and node.args and not _is_whole(node.args[0], 0, _DIGITS_MOST):
        raise Wrong(node.lineno, f"the argument of 'round' must be a whole number from 0 to {_DIGITS_MOST}")
    if node.name == "truncate":
        _check_truncate(node)


def _check_truncate(node: nodes.Filter) -> None:
    """Jinja asserts these when a message is said: that would be a fault of ours, not of the template."""
    given = dict(zip(("length", "whole words", "ending", "leeway"), node.args, strict=False))
    end = given.get("ending")
    ending = len(str(end.value)) if isinstance(end, nodes.Const) else 3
    if "length" in given and not _is_whole(given["length"], ending, _NUMBER_MOST):
        raise Wrong(node.lineno, "the length of 'truncate' must be a whole number, not less than its ending is long")
    if "leeway" in given and not _is_whole(given["leeway"], 0, _NUMBER_MOST):
        raise Wrong(node.lineno, "the leeway of 'truncate' must be a whole number, not less than 0")


def _check_loop(node: nodes.For, names: frozenset[str], depth: _Depth) -> None:
    if node.recursive:
        raise Wrong(node.lineno, "a recursive loop is not supported")
    if depth.loops > _DEEPEST_LOOP:
        raise Wrong(node.lineno, f"loops stand in each other more than {_DEEPEST_LOOP} deep")
    source = node.iter
    while isinstance(source, nodes.Filter) and source.name in ("items", "sort") and source.node is not None:
        source = source.node
    if not isinstance(source, nodes.Name | nodes.Getattr | nodes.Getitem):
        raise Wrong(node.lineno, "a loop goes over a variable, such as fields|items, labels or since")
    targets = frozenset(name.name for name in _every_name(node.target))
    if any(name.startswith("_") for name in targets):
        raise Wrong(node.lineno, "a loop's variable must not begin with an underscore")
    _check(node.iter, names, depth._replace(loops=depth.loops - 1))
    inside = names | targets | {"loop"}
    for child in (*node.body, *([node.test] if node.test is not None else [])):
        _check(child, inside, depth)
    for child in node.else_:
        _check(child, names, depth)


def _every_name(target: nodes.Node) -> Iterable[nodes.Name]:
    return (target,) if isinstance(target, nodes.Name) else target.find_all(nodes.Name)


def _is_constant(node: nodes.Node) -> bool:
    return isinstance(node.node if isinstance(node, nodes.Neg | nodes.Pos) else node, nodes.Const)


def _is_whole(node: nodes.Node, least: int, most: int) -> bool:
    return isinstance(node, nodes.Const) and type(node.value) is int and least <= node.value <= most


def _meant(name: str, known: Iterable[str]) -> str:
    near = difflib.get_close_matches(name, known, n=1)
    return f"; did you mean {near[0]!r}?" if near else ""
