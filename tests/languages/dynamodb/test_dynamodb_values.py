"""Attribute values: what is one, what it weighs, and how values compare."""

import copy

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tule.languages.dynamodb import comparison
from tule.languages.dynamodb.refusals import Refusal, WrongShape
from tule.languages.dynamodb.values import weigh, weigh_item

PREFIX = "One or more parameter values were invalid: "
EMPTY = "Supplied AttributeValue is empty, must contain exactly one of the supported datatypes"
SEVERAL = "Supplied AttributeValue has more than one datatypes set, must contain exactly one of the supported datatypes"
TOO_DEEP = (
    "Nesting Levels have exceeded supported limits: Attributes in the item have nested levels beyond supported limit"
)


def nested(levels: int) -> dict:
    """A value of so many levels."""
    value = {"S": "x"}
    for _ in range(levels - 1):
        value = {"L": [value]}
    return value


@pytest.mark.parametrize(
    ("value", "message", "older"),
    [
        ({}, EMPTY, EMPTY),
        ({"X": "y"}, EMPTY, EMPTY),
        ({"L": [{}]}, EMPTY, EMPTY),
        ({"S": "a", "N": "1"}, SEVERAL, SEVERAL),
        ({"S": "a", "N": "b"}, "The parameter cannot be converted to a numeric value: b", None),
        ({"NULL": False}, f"{PREFIX}Null attribute value types must have the value of true", None),
        ({"SS": []}, f"{PREFIX}An string set  may not be empty", None),
        ({"NS": []}, f"{PREFIX}An number set  may not be empty", None),
        ({"BS": []}, f"{PREFIX}Binary sets should not be empty", None),
        (
            {"SS": ["b", "a", "b"]},
            f'{PREFIX}Input collection ["a", "b", "b"] contains duplicates.',
            f"{PREFIX}Input collection [b, a, b] contains duplicates.",
        ),
        (
            {"BS": ["/w==", "AA==", "AA=="]},
            f'{PREFIX}Input collection ["AA==","/w==","AA=="]of type BS contains duplicates.',
            f"{PREFIX}Input collection [/w==, AA==, AA==]of type BS contains duplicates.",
        ),
        (
            {"NS": ["1", "2", "1.0"]},
            f"{PREFIX}Input collection contains duplicates.",
            "Input collection contains duplicates",
        ),
        ({"N": ""}, "The parameter cannot be converted to a numeric value: ",
         "The parameter cannot be converted to a numeric value"),
        (nested(33), TOO_DEEP, TOO_DEEP),
    ],
)  # fmt: skip
def test_what_is_no_value_is_refused(value: dict, message: str, older: str | None) -> None:
    with pytest.raises(Refusal) as refusal:
        weigh(value)
    assert refusal.value.message == message
    assert refusal.value.older == (message if older is None else older)


@pytest.mark.parametrize(
    ("value", "message"),
    [
        ({"S": 1}, "NUMBER_VALUE cannot be converted to String"),
        ({"S": 1.5}, "DECIMAL_VALUE cannot be converted to String"),
        ({"N": True}, "TRUE_VALUE cannot be converted to String"),
        ({"S": []}, "Unrecognized collection type class java.lang.String"),
        ({"S": {}}, "Start of structure or map found where not expected"),
        ({"BOOL": "23"}, "Unexpected token received from parser"),
        ({"BOOL": 1}, "NUMBER_VALUE cannot be converted to Boolean"),
        ({"B": True}, "only base-64-encoded strings are convertible to bytes"),
        ({"B": "abc"}, "Base64 encoded length is expected a multiple of 4 bytes but found: 3"),
        ({"SS": "a"}, "Unexpected field type"),
        ({"L": "a"}, "Unexpected field type"),
        ({"M": {"a": "b"}}, "Unexpected value type in payload"),
        ("a", "Unexpected value type in payload"),
    ],
)
def test_json_of_other_types_is_refused(value: object, message: str) -> None:
    with pytest.raises(WrongShape) as refusal:
        weigh(value)
    assert str(refusal.value) == message


@pytest.mark.parametrize(
    ("item", "size"),
    [
        ({"a": {"S": ""}}, 1),
        ({"a": {"S": "ü"}}, 3),
        ({"ab": {"N": "123"}}, 5),
        ({"a": {"B": "AAAA"}}, 4),
        ({"a": {"BOOL": True}}, 2),
        ({"a": {"NULL": True}}, 2),
        ({"a": {"SS": ["a", "bc"]}}, 4),
        ({"a": {"NS": ["1", "22"]}}, 5),
        ({"a": {"L": []}}, 4),
        ({"a": {"L": [{"S": "x"}, {"N": "1"}]}}, 9),
        ({"a": {"M": {"bc": {"S": "def"}}}}, 10),
        ({"a": nested(32)}, 1 + 31 * 4 + 1),
    ],
)
def test_sizes(item: dict, size: int) -> None:
    assert weigh_item(item) == size


def test_values_become_canonical() -> None:
    item = {
        "n": {"N": "+1.50"},
        "s": {"NS": ["1e1", "0.0"]},
        "b": {"BOOL": "yes"},
        "o": {"N": "1", "S": None},
        "x": {"B": "AB=="},
    }
    weigh_item(item)
    assert item == {
        "n": {"N": "1.5"},
        "s": {"NS": ["10", "0"]},
        "b": {"BOOL": True},
        "o": {"N": "1"},
        "x": {"B": "AA=="},
    }


def test_attributes_need_names() -> None:
    with pytest.raises(Refusal, match="Empty attribute name"):
        weigh_item({"": {"S": "x"}})


scalars = st.one_of(
    st.builds(lambda text: {"S": text}, st.text(max_size=5)),
    st.builds(lambda number: {"N": str(number)}, st.integers(-1000, 1000)),
    st.builds(lambda flag: {"BOOL": flag}, st.booleans()),
    st.builds(lambda texts: {"SS": sorted(texts)}, st.sets(st.text(max_size=3), min_size=1, max_size=4)),
)
values = st.recursive(
    scalars,
    lambda inner: st.one_of(
        st.builds(lambda members: {"L": members}, st.lists(inner, max_size=3)),
        st.builds(lambda members: {"M": members}, st.dictionaries(st.text(max_size=3), inner, max_size=3)),
    ),
    max_leaves=8,
)


@given(values)
def test_weighing_again_changes_nothing(value: dict) -> None:
    size = weigh(value)
    again = copy.deepcopy(value)
    assert weigh(again) == size
    assert again == value


def shuffled(value: dict) -> dict:
    """The same value, its sets and maps in another order."""
    ((tag, content),) = value.items()
    if tag == "SS":
        return {tag: content[::-1]}
    if tag == "L":
        return {tag: [shuffled(member) for member in content]}
    if tag == "M":
        return {tag: {name: shuffled(member) for name, member in reversed(content.items())}}
    return {tag: content}


@given(values)
def test_the_order_in_sets_and_maps_does_not_matter(value: dict) -> None:
    assert comparison.equal(value, shuffled(value))


@given(values, values)
def test_values_of_different_content_differ(left: dict, right: dict) -> None:
    assert comparison.equal(left, right) == (repr(_frozen(left)) == repr(_frozen(right)))


def _frozen(value: dict) -> object:
    ((tag, content),) = value.items()
    if tag == "L":
        return (tag, [_frozen(member) for member in content])
    if tag == "M":
        return (tag, sorted((name, _frozen(member)) for name, member in content.items()))
    return (tag, content)


@pytest.mark.parametrize(
    ("container", "member", "found"),
    [
        ({"S": "abc"}, {"S": "bc"}, True),
        ({"S": "abc"}, {"N": "1"}, False),
        ({"SS": ["a"]}, {"S": "a"}, True),
        ({"NS": ["1"]}, {"N": "1"}, True),
        ({"NS": ["1"]}, {"S": "1"}, False),
        ({"L": [{"N": "1"}]}, {"N": "1"}, True),
        ({"L": [{"SS": ["a", "b"]}]}, {"SS": ["b", "a"]}, True),
        ({"B": "AAEC"}, {"B": "AQI="}, True),
        ({"BOOL": True}, {"BOOL": True}, False),
    ],
)
def test_contains(container, member, found) -> None:
    assert comparison.contains(container, member) is found
