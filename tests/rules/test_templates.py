"""A channel's own words: what they may say, and what no template can do."""

from __future__ import annotations

import html
import time
from dataclasses import replace

import jinja2
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.model import Change, Incident, Severity
from gateway.rules import templates
from gateway.rules.phrases import Language
from gateway.rules.sandbox import Run
from gateway.rules.templates import NAMES, CompiledTemplates, Failed

OPENED = 1_795_168_800_000  # 2026-11-20 10:00 UTC
INCIDENT = Incident(
    id="0192",
    source="hetrixtools",
    adapter="hetrixtools",
    fingerprint="disk:db-1",
    title="Disk <94%>\nfull",
    severity=Severity.CRITICAL,
    opened_at=OPENED,
    updated_at=OPENED,
    number=12,
    service="db-1",
    environment="production",
    labels={"team": "data", "zone": "b"},
    fields={"used": "94 %"},
    value=94.0,
    body="first\nsecond",
)
WORSENED = Change("c2", "0192", 2, OPENED + 1_500, "worsened", "open", Severity.CRITICAL, "kim", note="again")


def said(source: str, incident: Incident = INCIDENT, language: Language = "en") -> str | Failed:
    compiled = templates.compile(source, None).title
    assert compiled is not None
    shown = templates.variables(
        incident, [WORSENED], [("Severity", "critical")], "https://x.example/1", "https://alerts.example.com"
    )
    return templates.render(compiled, shown, Run(html.escape, OPENED + 720_000, language))


def refusal(source: str) -> str:
    with pytest.raises(ValueError, match=r"^title: line \d+: ") as refused:
        templates.compile(source, None)
    return str(refused.value)


class TestWhatTheyMaySay:
    @pytest.mark.parametrize(
        ("source", "expected"),
        [
            ("{{ severity|upper }} #{{ number }} {{ service }}", "CRITICAL #12 db-1"),
            ("{{ incident.state }} {{ alert.status }} {{ worst }}", "open firing critical"),
            ("{{ labels.team }} {{ labels['zone'] }} {{ fields.used }}", "data b 94 %"),
            ("{{ labels }}", "team=data, zone=b"),
            ("{{ opened_at }}", "2026-11-20T10:00:00Z"),
            ("{{ change.at }}", "2026-11-20T10:00:01.500Z"),
            ("{{ opened_at|time }}, {{ opened_at|ago }}", "2026-11-20 10:00 UTC, 12 min ago"),
            ("{{ title|time }}{{ title|ago }}", ""),
            ("{{ (value / 7)|round(0) }} {{ (value / 7)|round(15) }} {{ 1.6|round }}", "13 13.4285714285714 2"),
            (
                "{{ severity|truncate(4, true, '', 0) }} {{ severity|truncate(3) }} {{ severity|truncate }}",
                "crit critical critical",
            ),
            ("{{ value }} {{ value * 2 + 1 }} {{ -value / 4 }} {{ (value - 1)|round(1) }}", "94 189 -23.5 93"),
            ("{{ service + '/' + environment }} {{ service ~ '#' ~ number }}", "db-1/production db-1#12"),
            ("{{ change.what }} by {{ change.by }}: {{ since[0].note }}", "worsened by kim: again"),
            ("{{ since|length }} {{ (since|first).severity }}", "1 critical"),
            ("{% for f in facts %}{{ f.label }}={{ f.value }}{{ f.count }}{% endfor %}", "Severity=critical"),
            ("{% for label, value in facts %}{{ label }}={{ value }}{% endfor %}", "Severity=critical"),
            ("{{ facts }}", "Severity: critical"),
            (
                "{% for k, v in labels|items|sort %}{{ loop.index }}.{{ k }}={{ v }} {% endfor %}",
                "1.team=data 2.zone=b",
            ),
            ("{% for name in labels if name != 'zone' %}{{ name }}{% else %}none{% endfor %}", "team"),
            ("{% for x in acknowledged_at.nothing %}{{ x }}{% else %}none{% endfor %}", "none"),
            ("{% if severity in ['critical', 'emergency'] and not unrouted %}!{% endif %}", "!"),
            ("{{ muted_by is defined }} {{ labels.no is defined }} {{ value is number }}", "true false true"),
            ("{{ labels.no.such.thing }}{{ title.upper }}{{ acknowledged_at }}{{ number.real }}", ""),
            ("{{ acknowledged_by|default('nobody', true) }} {{ labels.x|default(service) }}", "nobody db-1"),
            ("{{ acknowledged_by|default('nobody', boolean=true) }}", "nobody"),
            ("{{ body|truncate(8, true, '…', 0) }} {{ title[:4] }} {{ title|length }}", "first\ns… Disk 15"),
            ("{{ url }} {{ public_url }}", "https://x.example/1 https://alerts.example.com"),
            ("{{ labels|join('+') }} {{ number|float }} {{ '7'|int }} {{ ' a '|trim|title }}", "team+zone 12 7 A"),
            ("{{ number|items }}", ""),
            ("{# a remark #}{% raw %}{{ as it is }}{% endraw %}", "{{ as it is }}"),
            ("{% for x in labels %}{{ loop.changed }}{% endfor %}ok", "ok"),
        ],
    )
    def test_a_template_says_what_is_expected(self, source: str, expected: str) -> None:
        assert said(source) == expected

    def test_every_name_of_the_contract_is_there(self) -> None:
        shown = templates.variables(INCIDENT, [], [], "", "")
        assert set(shown) == NAMES
        assert {"acknowledged_by", "previous", "assigned_to", "unrouted", "muted_by", "worst", "occurred_at"} <= NAMES
        assert shown["change"] == {}

    def test_a_title_is_one_line_and_long_texts_and_lists_are_cut(self) -> None:
        huge = replace(INCIDENT, body="x" * 1_000_000, labels={f"label{n}": "v" for n in range(5_000)})
        shown = templates.variables(huge, [], [], "", "")
        assert shown["title"] == "Disk <94%> full"
        assert len(str(shown["body"])) == 4_000
        assert said("{{ labels|length }}", huge) == "1000"

    def test_ago_speaks_the_channels_language(self) -> None:
        assert said("{{ opened_at|ago }}", language="ko") == "12분 전"

    def test_lines_that_hold_only_a_tag_leave_no_empty_line(self) -> None:
        assert said("a\n  {% if number %}\nb\n  {% endif %}\nc") == "a\nb\nc"

    def test_none_at_all_is_our_own_words(self) -> None:
        assert templates.compile(None, None) == CompiledTemplates(None, None)


class TestEscaping:
    def test_what_is_printed_is_made_harmless_and_what_is_written_stays(self) -> None:
        assert said("<b>{{ title }}</b>") == "<b>Disk &lt;94%&gt; full</b>"

    @pytest.mark.parametrize(
        "source",
        [
            "{{ labels }}",
            "{{ labels|join }}",
            "{{ labels|items|first }}",
            "{{ labels|items|first|last|default('<') }}",
            "{% for name, value in labels|items %}{{ value }}{% endfor %}",
            "{{ labels.a ~ labels.a }}",
            "{{ labels.a + labels.a }}",
            "{{ labels['a'][0:1] }}",
            "{{ labels.none|default(labels.a) }}",
            "{{ labels.a if number else '' }}",
        ],
    )
    def test_no_way_of_printing_goes_round_it(self, source: str) -> None:
        hostile = replace(INCIDENT, labels={"a": "<script>"})
        text = said(source, hostile)
        assert isinstance(text, str)
        assert "<" not in text

    @given(st.text(max_size=200))
    def test_any_payload_comes_out_escaped(self, text: str) -> None:
        hostile = replace(INCIDENT, service=text)
        assert said("[{{ service }}]", hostile) == f"[{html.escape(text)}]"


class TestMistakesAreToldAtLoad:
    @pytest.mark.parametrize(
        ("source", "sentence"),
        [
            ("{{ tite }}", "title: line 1: 'tite' is not known here; did you mean 'title'?"),
            ("{{ qqqqqq }}", "title: line 1: 'qqqqqq' is not known here"),
            ("a\nb {{ title|uper }}", "title: line 2: there is no filter 'uper'; did you mean 'upper'?"),
            ("{{ title is strange }}", "title: line 1: there is no test 'strange'; did you mean 'string'?"),
            ("{{ title.upper() }}", "title: line 1: nothing can be called; use a filter: "),
            ("{{ title", "title: line 1: unexpected end of template"),
            ("{% set a = 1 %}", "title: line 1: {% set %} is not supported"),
            ("{{ loop.index }}", "title: line 1: 'loop' is not known here"),
            ("{% for a in labels %}{% else %}{{ a }}{% endfor %}", "title: line 1: 'a' is not known here"),
            ("{{ title|truncate(number) }}", "title: line 1: the arguments of 'truncate' must be written out"),
            ("{{ title|upper(1) }}", "title: line 1: the filter 'upper' takes no plain arguments at most"),
            *(
                (
                    f"{{{{ count|round({digits}) }}}}",
                    "title: line 1: the argument of 'round' must be a whole number from",
                )
                for digits in ("-100000000", "-1", "16", "1.5", "true", "'1'", "none")
            ),
            *(
                (
                    f"{{{{ title|truncate({args}) }}}}",
                    f"title: line 1: the {what} of 'truncate' must be a whole number,",
                )
                for args, what in (
                    *(("2", "length"), ("-5", "length"), ("'9'", "length"), ("true", "length")),
                    *(("4, true, 'xxxxx'", "length"), ("9, true, 'x', -1", "leeway")),
                )
            ),
            ("", "title: line 1: it is empty"),
            ("x" * 9_000, "title: line 1: the template is longer than 8,192 characters"),
        ],
    )
    def test_with_the_line_and_what_to_do(self, source: str, sentence: str) -> None:
        assert refusal(source).startswith(sentence)

    def test_both_templates_are_told_at_once(self) -> None:
        with pytest.raises(ValueError, match=r"title: line 1: .*; body: line 2: 'x' is not known here"):
            templates.compile("{{ range }}", "\n{{ x }}")

    def test_an_empty_body_is_a_wish(self) -> None:
        assert templates.compile(None, "").body is not None


REFUSED = [
    "{% for i in range(10**9) %}x{% endfor %}",
    "{% for i in range(99999) %}{% for j in range(99999) %}x{% endfor %}{% endfor %}",
    "{{ title.__class__.__mro__[1].__subclasses__() }}",
    "{{ ''.__class__ }}",
    "{{ title|attr('__class__') }}",
    "{{ title|center(10**9) }}",
    "{{ title.center(1000000000) }}",
    "{{ title|replace('a', body)|replace('b', body)|replace('c', body) }}",
    "{{ 'a' * 10**9 }}",
    "{{ 10**10**10 }}",
    "{{ 2 ** number }}",
    "{{ lipsum(10000) }}",
    "{{ cycler(1, 2).next() }}",
    "{{ namespace(a=1) }}",
    "{{ joiner(',') }}",
    "{{ dict(a=1) }}",
    "{{ '%0999999999d'|format(1) }}",
    "{{ '{0.__class__}'.format(title) }}",
    "{{ '%s' % title }}",
    "{{ self }}",
    "{{ self._TemplateReference__context }}",
    "{{ _run }}",
    "{{ _run.escape }}",
    "{% for _run in labels %}{{ title }}{% endfor %}",
    "{% for a, _b in facts %}{{ a }}{% endfor %}",
    "{{ labels|_each(0) }}",
    "{{ config }}",
    "{% import 'x' as y %}",
    "{% from 'x' import y %}",
    "{% include '/etc/passwd' %}",
    "{% extends 'x' %}",
    "{% block a %}{% endblock %}",
    "{% macro m() %}{{ m() }}{% endmacro %}{{ m() }}",
    "{% call title() %}{% endcall %}",
    "{% filter upper %}x{% endfilter %}",
    "{% with a = 1 %}{% endwith %}",
    "{% set a %}x{% endset %}",
    "{% autoescape false %}{% endautoescape %}",
    "{% for a in labels recursive %}{{ loop(labels) }}{% endfor %}",
    "{% for a in facts %}{% for b in facts %}{% for c in facts %}x{% endfor %}{% endfor %}{% endfor %}",
    "{% for a in [1, 2, 3] %}x{% endfor %}",
    "{% for a in (labels|upper) %}x{% endfor %}",
    "{% for a in labels ~ labels %}x{% endfor %}",
    "{% for a in labels %}{{ loop.cycle('a', 'b') }}{% endfor %}",
    "{{ 99999999999999999999 }}",
    "{{ 1e999 }}",
    "{{ " + "9" * 5_000 + " }}",
    "{{ value // 0 }}",
    "{{ {'a': title} }}",
    "{{ labels|join(body) }}",
    "{{ since|join(',', '__class__') }}",
    "{{ since|join(attribute='__class__') }}",
    "{{ labels|sort(attribute='__class__') }}",
    "{{ facts|map('attr', '__class__') }}",
    "{{ value|round(1, 'ceil') }}",
    "{{ title|default(*facts) }}",
    "{{ title|default(**labels) }}",
    "{{ labels|tojson }}",
    "{{ title|safe }}",
    "{{ title|random }}",
    "{{ title|wordwrap(1) }}",
    "{{ title is filter }}",
    "{{ " + "(" * 2_000 + "1" + ")" * 2_000 + " }}",
    "{{ " + "not " * 2_000 + "1 }}",
    "{{ " + "+".join(["body"] * 41) + " }}",
    "{{ " + "~".join(["labels[title"] * 45) + "]" * 45 + " }}",
    "{% if number %}" * 45 + "{% endif %}" * 45,
]

HARMLESS = [
    "{{ title['__class__'] }}{{ title['upper'] }}{{ labels['items'] }}",
    "{% for c in body %}{% for d in body %}x{% endfor %}{% endfor %}",
    "{% for a in labels %}{% for b in labels %}{{ b }}{{ a }}{% endfor %}{% endfor %}",
    "{% for a in labels %}{% for b in labels %}{% endfor %}{% endfor %}",
    "{% for a in labels|items|sort %}{{ (labels|sort|join)[:1] }}{% endfor %}",
    "{{ body * 1000000000 }}",
    "{{ 1000000000 * body }}",
    "{{ labels * 1000000000 }}",
    "{{ title|truncate(1000000000) }}{{ value|round(15) }}",
    "{{ 1 / 0 }}",
    "{{ labels < title }}",
    "{{ labels[:3] }}",
    "{{ " + " * ".join(["999999999999"] * 35) + " }}",
    "{{ " + "~".join(["body"] * 1_300) + " }}",
    "{{ " + "+".join(["body"] * 35) + " }}",
    "{{ body }}" * 700,
    "{{ body|" + "|".join(["title"] * 35) + " }}",
    "{{ (" + "~".join(["body"] * 1_000) + ")|title|title|title }}",
    "{% if " + " or ".join(["body == title"] * 35) + " %}x{% endif %}",
]


class TestHostileTemplates:
    @pytest.mark.parametrize("source", REFUSED, ids=lambda source: source[:60])
    def test_what_could_reach_out_or_grow_is_refused_at_load(self, source: str) -> None:
        started = time.perf_counter()
        assert refusal(source)
        assert time.perf_counter() - started < 0.5

    @pytest.mark.parametrize("source", HARMLESS, ids=lambda source: source[:60])
    def test_what_is_left_ends_soon_and_is_short(self, source: str) -> None:
        large = replace(
            INCIDENT, body="the quick brown fox " * 10_000, labels={f"label{n}": "value" * 50 for n in range(5_000)}
        )
        compiled = templates.compile(source, None).title
        assert compiled is not None
        shown = templates.variables(large, [WORSENED], [], "", "")
        times = []
        for _ in range(3):
            started = time.process_time()
            text = templates.render(compiled, shown, Run(html.escape, OPENED))
            times.append(time.process_time() - started)
            assert isinstance(text, Failed) or (len(text) <= 8_192 and "object at 0x" not in text)
        assert min(times) < 0.2

    def test_a_loop_over_a_text_is_no_wish_of_anybody(self) -> None:
        assert said("{% for c in title %}{{ c }}{% endfor %}") == Failed("TypeError")

    def test_too_much_work_and_too_much_text_have_names(self) -> None:
        many = replace(INCIDENT, labels={str(n): "" for n in range(1_000)})
        assert said("{% for a in labels %}{% for b in labels %}{% endfor %}{% endfor %}", many) == Failed("TooMuch")
        assert said("x" * 4_500 + "{{ labels|join(' ') }}" * 2, many) == Failed("TooLong")

    def test_joining_text_with_plus_is_paid_for(self) -> None:
        long = replace(INCIDENT, body="x" * 4_000)
        assert said("{{ (" + "+".join(["body"] * 8) + ")|length }}", long) == "32000"
        assert said("{{ (" + "+".join(["body"] * 30) + ")|length }}", long) == Failed("TooMuch")

    @given(st.text(alphabet="{}%|.()[]'\" _abtile0123456789*+-~,\n", max_size=60))
    def test_no_text_at_all_does_anything_but_compile_or_be_refused(self, source: str) -> None:
        try:
            compiled = templates.compile(None, "{{ " + source + " }}").body
        except ValueError:
            return
        assert isinstance(compiled, jinja2.Template)
        shown = templates.variables(INCIDENT, [], [], "", "")
        assert isinstance(templates.render(compiled, shown, Run(str, OPENED)), str | Failed)
