"""Where templates run. A dot reaches keys, never an attribute of Python's; and a meter runs: loops and filters
pay for what they touch, and a template that has spent its means fails instead of holding up a night's alerts."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, Final, NamedTuple

import jinja2
from jinja2 import nodes, pass_context
from jinja2.runtime import Context, LoopContext, Undefined
from jinja2.sandbox import ImmutableSandboxedEnvironment

from gateway.model import Millis
from gateway.rules.phrases import Language, ago, instant
from gateway.rules.syntax import FILTERS, LOOP_NAMES, TESTS, Wrong, check

FAULTS: Final = (
    jinja2.TemplateError,
    ArithmeticError,
    AttributeError,
    LookupError,
    MemoryError,
    RecursionError,
    TypeError,
    ValueError,
)
"""What a template can fail with when it meets an incident that it was not written for."""

# Two names that no template can write: `syntax` has refused them before they are put in.
RUN: Final = "_run"
_EACH: Final = "_each"
_SOURCE_MOST: Final = 8_192
_ROUND: Final = 4
"""What a round of a loop costs beside its body."""
_MEANS: Final = 10_000
"""What one rendering may spend: each round of a loop by the size of its body, a filter by what it reads."""


@dataclass(slots=True)
class Run:
    """One rendering: how its channel makes text harmless, moment and tongue for `ago`, what it may spend."""

    escape: Callable[[str], str]
    now: Millis
    language: Language = "en"
    means: int = _MEANS

    def spend(self, cost: int) -> None:
        self.means -= cost
        if self.means < 0:
            raise TooMuch("the template does too much")


class TooMuch(jinja2.TemplateRuntimeError):
    """The template has spent its means."""


class Fact(NamedTuple):
    """One line of the built-in words: `fact.label` and `fact.value`, or both by `for label, value in facts`."""

    label: str
    value: str


def template(source: str, names: frozenset[str]) -> jinja2.Template:
    """The template, ready to run. Raises Wrong with the first thing in it that is not allowed."""
    if len(source) > _SOURCE_MOST:
        raise Wrong(1, f"the template is longer than {_SOURCE_MOST:,} characters")
    try:
        tree = _SANDBOX.parse(source)
        check(tree, names)
        for loop in list(tree.find_all(nodes.For)):
            size = sum(1 for _ in loop.find_all(nodes.Node))
            metered = nodes.Filter(loop.iter, _EACH, [nodes.Const(size)], [], None, None, lineno=loop.lineno)
            loop.iter = metered.set_environment(_SANDBOX)
        return _SANDBOX.from_string(tree)
    except jinja2.TemplateSyntaxError as error:
        raise Wrong(error.lineno, str(error.message)[:200]) from None
    except (RecursionError, MemoryError, ValueError, OverflowError, SyntaxError) as error:
        raise Wrong(1, f"the template is too involved ({type(error).__name__})") from None


class _Sandbox(ImmutableSandboxedEnvironment):
    """Jinja where a dot and brackets look up keys only, and + - * / are for numbers (+ also joins texts)."""

    intercepted_binops = frozenset("+-*/")

    def getattr(self, obj: Any, attribute: str) -> Any:
        if isinstance(obj, LoopContext):
            return getattr(obj, attribute) if attribute in LOOP_NAMES else self.undefined(obj=obj, name=attribute)
        if isinstance(obj, Fact) and attribute in Fact._fields:
            return getattr(obj, attribute)
        return self.getitem(obj, attribute)

    def getitem(self, obj: Any, argument: Any) -> Any:
        if isinstance(obj, Undefined):
            return obj
        try:
            return obj[argument] if isinstance(obj, dict | list | tuple | str) else self.undefined(obj=obj)
        except (LookupError, TypeError):
            return self.undefined(obj=obj, name=argument)

    def call_binop(self, context: Context, operator: str, left: Any, right: Any) -> Any:
        if operator == "+" and isinstance(left, str) and isinstance(right, str):
            context[RUN].spend(1 + (len(left) + len(right)) // 20)
        elif not (isinstance(left, int | float) and isinstance(right, int | float)):
            raise TypeError(f"{operator} is for numbers")
        return super().call_binop(context, operator, left, right)


@pass_context
def _printed(context: Context, value: object) -> str:
    """Everything that a template prints goes through its channel's `escape`."""
    return str(context[RUN].escape(_text(value)))


def _text(value: object) -> str:
    match value:
        case None | Undefined():
            return ""
        case bool():
            return "true" if value else "false"
        case float():
            return f"{value:.15g}"
        case dict():
            return ", ".join(f"{name}={_text(inner)}" for name, inner in value.items())
        case Fact():
            return f"{value.label}: {value.value}"
        case list() | tuple():
            return ", ".join(_text(inner) for inner in value)
        case _:
            return str(value)


@pass_context
def _each(context: Context, items: object, size: int) -> Iterator[object]:
    """A loop's items, each paid for. A text is no list: going over its characters is nobody's wish."""
    if not isinstance(items, dict | list | tuple | Undefined):
        raise TypeError("this cannot be looped over")
    for item in items:
        context[RUN].spend(_ROUND + size)
        yield item


def _metered(name: str) -> Callable[..., object]:
    """One of Jinja's own filters, paid for by the size of what it reads."""

    @pass_context
    def call(context: Context, value: Any, *args: Any, **kwargs: Any) -> object:
        # An item is sorted or joined in about the time that 20 characters are read in.
        size = len(value) if hasattr(value, "__len__") else 0
        context[RUN].spend(1 + (size // 20 if isinstance(value, str) else size))
        return _PLAIN.call_filter(name, value, args, kwargs, context, context.eval_ctx)

    return call


def _items(value: object) -> list[tuple[object, object]]:
    return list(value.items()) if isinstance(value, dict) else []


def _time(value: object) -> str:
    return instant(value) if isinstance(value, int) else ""


@pass_context
def _ago(context: Context, value: object) -> str:
    run: Run = context[RUN]
    return ago(run.now - value, run.language) if isinstance(value, int) else ""


_PLAIN: Final = jinja2.Environment(autoescape=False)  # noqa: S701  # a channel escapes by its own rules, in `_printed`
_PLAIN.filters.update(items=_items, time=_time, ago=_ago)
_SANDBOX: Final = _Sandbox(
    trim_blocks=True,
    lstrip_blocks=True,
    autoescape=False,
    undefined=jinja2.ChainableUndefined,
    finalize=_printed,
    optimized=False,
    cache_size=0,
)
_SANDBOX.globals.clear()
_SANDBOX.filters = {_EACH: _each, **{name: _metered(name) for name in FILTERS}}
_SANDBOX.tests = {name: test for name, test in _SANDBOX.tests.items() if name in TESTS}
