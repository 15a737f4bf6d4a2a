"""Template text: YAML with short tags, JSON, lines, and what is refused before it can grow."""

import json
from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tule.languages.cloudformation.errors import TemplateError
from tule.languages.cloudformation.parsing import MAX_DEPTH, MAX_TEMPLATE_BYTES, parse

VALUES = st.recursive(
    st.booleans()
    | st.integers(-(2**53), 2**53)
    | st.text(max_size=20)
    | st.floats(allow_nan=False, allow_infinity=False),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=10), inner, max_size=4),
    max_leaves=20,
)


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("A: !Ref B", {"A": {"Ref": "B"}}),
        ("A: !GetAtt B.C.D", {"A": {"Fn::GetAtt": ["B", "C.D"]}}),
        ("A: !GetAtt [B, C]", {"A": {"Fn::GetAtt": ["B", "C"]}}),
        ("A: !Sub '${B}'", {"A": {"Fn::Sub": "${B}"}}),
        ("A: !Sub ['${B}', {B: !Ref C}]", {"A": {"Fn::Sub": ["${B}", {"B": {"Ref": "C"}}]}}),
        ("A: !Join [',', [a, b]]", {"A": {"Fn::Join": [",", ["a", "b"]]}}),
        ("A: !If [X, !Ref Y, z]", {"A": {"Fn::If": ["X", {"Ref": "Y"}, "z"]}}),
        ("A: !Equals [a, b]", {"A": {"Fn::Equals": ["a", "b"]}}),
        ("A: !Condition B", {"A": {"Condition": "B"}}),
        ("A: 2012-10-17", {"A": "2012-10-17"}),
        ("A: [1, 1.5, true, no, '1']", {"A": [1, 1.5, True, False, "1"]}),
        ("A: |\n  line\n  two\n", {"A": "line\ntwo\n"}),
        ("1: a", {"1": "a"}),
        ('{"A": {"Ref": "B"}}', {"A": {"Ref": "B"}}),
        ('\ufeff{"A": "tab\\t"}', {"A": "tab\t"}),
    ],
)
def test_values(text, value):
    assert parse(text).value == value


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("a: [", "Template format error: YAML not well-formed. (line 2, column 1)"),
        ('{"a" 1}', "Template format error: JSON not well-formed. (line 1, column 6)"),
        ("a: 1\na: 2", "(line 2, column 1) Duplicate key 'a'"),
        ('{"a": 1, "a": 2}', "Duplicate key 'a'"),
        ("a: &x [1]\nb: *x", "YAML aliases are not allowed in CloudFormation templates"),
        ("a: {<<: {b: 1}}", "does not merge"),
        ("a: !Foo b", "'!Foo' is no CloudFormation function"),
        ("a: !!python/object:os.system b", "CloudFormation does not read"),
        ("a: !!binary aGk=", "CloudFormation does not read"),
        ("- a", "unsupported structure"),
        ("just words", "unsupported structure"),
        ("", "unsupported structure"),
        ("a: 1\n---\nb: 2", "one YAML document"),
        ("? [a]\n: b", "A key is text"),
        ('{"a": NaN}', "NaN is no JSON value"),
        ("[" * 100_000, f"more than {MAX_DEPTH} levels"),
        ('{"a":' * 100_000, f"more than {MAX_DEPTH} levels"),
        ('{"a":' * 500 + "1" + "}" * 500, f"more than {MAX_DEPTH} levels"),
        ("a: " + "x" * MAX_TEMPLATE_BYTES, "may not exceed"),
    ],
)
def test_refusals(text, words):
    with pytest.raises(TemplateError) as caught:
        parse(text)
    assert words in caught.value.message


def test_an_alias_bomb_is_refused_where_aliases_are_allowed():
    text = "a0: &a0 [x, x, x, x, x, x, x, x, x, x]\n" + "".join(
        f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 10)}]\n" for n in range(1, 9)
    )
    with pytest.raises(TemplateError, match="expand to too much"):
        parse(text, aliases=True)


def test_aliases_and_merges_are_written_out_for_whoever_asks():
    found = parse("a: &x {b: 1}\nc: *x\nd: {<<: *x, e: 2}", aliases=True).value
    assert found == {"a": {"b": 1}, "c": {"b": 1}, "d": {"b": 1, "e": 2}}


@pytest.mark.parametrize("form", ["yaml", "json"])
def test_lines(form):
    value = {"Resources": {"Queue": {"Type": "T", "Properties": {"Delay": 1}}}}
    text = "Resources:\n  Queue:\n    Type: T\n    Properties:\n      Delay: 1\n"
    document = parse(text if form == "yaml" else json.dumps(value, indent=1))
    line = {"yaml": 5, "json": 6}[form]
    assert document.line("Resources", "Queue", "Properties", "Delay") == line
    assert document.line("Resources", "Queue", "Properties", "Delay", "Deeper") == line
    assert document.where("Resources", "Queue") == f" (line {line - 3})"
    assert document.where("Outputs") == ""


@given(VALUES)
def test_json_comes_back_as_it_was(value):
    assert parse(json.dumps({"a": value})).value == {"a": value}


@given(st.text(max_size=200))
def test_any_text_is_read_or_refused(text):
    with suppress(TemplateError):
        assert parse(text).value is not None
