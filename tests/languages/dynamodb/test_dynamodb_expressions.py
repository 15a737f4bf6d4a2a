"""Expressions: what they mean, and AWS's words for what is wrong with them."""

from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tule.languages.dynamodb.conditions import compile_condition
from tule.languages.dynamodb.keys import KEY_CONDITION, key_tests
from tule.languages.dynamodb.projection import compile_projection
from tule.languages.dynamodb.refusals import Refusal
from tule.languages.dynamodb.reserved import RESERVED
from tule.languages.dynamodb.updates import compile_update

CONDITION = "ConditionExpression"

ITEM = {
    "a": {"S": "hello"},
    "n": {"N": "5"},
    "flag": {"BOOL": True},
    "tags": {"SS": ["x", "y"]},
    "doc": {"M": {"deep": {"N": "7"}, "many": {"L": [{"S": "p"}, {"S": "q"}]}}},
    "many": {"L": [{"N": "0"}, {"N": "1"}, {"N": "2"}]},
    "raw": {"B": "AAEC"},
}
VALUES = {
    ":hello": {"S": "hello"},
    ":he": {"S": "he"},
    ":zzz": {"S": "zzz"},
    ":x": {"S": "x"},
    ":q": {"S": "q"},
    ":N": {"S": "N"},
    ":bad": {"S": "Q"},
    ":one": {"N": "1"},
    ":five": {"N": "5"},
    ":nine": {"N": "9"},
    ":yes": {"BOOL": True},
    ":none": {"NULL": True},
    ":set": {"SS": ["y", "x"]},
    ":list": {"L": [{"S": "new"}]},
    ":map": {"M": {}},
}
NAMES = {"#n": "n", "#odd": "od d", "#doc": "doc"}


def types(values: dict) -> tuple:
    return tuple((name, next(iter(value))) for name, value in values.items())


def holds(text: str, kind: str = CONDITION) -> bool:
    program = compile_condition(kind, text, tuple(NAMES.items()), types(VALUES))
    for check in program.checks:
        check(VALUES)
    return program.test(ITEM, VALUES)


def refusal(make, *args: object) -> str:
    with pytest.raises(Refusal) as refused:
        make(*args)
    return refused.value.message


@pytest.mark.parametrize(
    "text",
    [
        "a = :hello",
        "#n = :five",
        "n <> :one",
        "absent <> :one",
        "n < :nine",
        "n >= :five AND n <= :five",
        "n BETWEEN :one AND :nine",
        "n IN (:one, :five)",
        "attribute_exists(doc.deep)",
        "attribute_not_exists(doc.nothing.more)",
        "attribute_not_exists(many[7])",
        "attribute_type(n, :N)",
        "begins_with(a, :he)",
        "contains(tags, :x)",
        "contains(doc.many, :q)",
        "contains(a, :he)",
        "size(a) = :five",
        "size(tags) < size(a)",
        "tags = :set",
        "NOT a = :zzz",
        "not a = :zzz and n = :five",
        "a = :zzz OR n = :five AND flag = :yes",
        "(a = :zzz OR n = :five) AND (flag = :yes)",
        "(((a = :zzz) OR (n = :five)) AND flag = :yes)",
        "NOT NOT n = :five",
        "#doc.many[1] = :q",
        "\n a\t=\r:hello ",
        "(a) = :hello",
    ],
)
def test_conditions_that_hold(text: str) -> None:
    assert holds(text)


@pytest.mark.parametrize(
    "text",
    [
        "a = :five",
        "absent = :one",
        "a < :nine",
        "n > absent",
        "flag = :none",
        "a = :zzz OR n = :one AND flag = :yes",
        "size(n) > :one",
        "begins_with(n, :he)",
        "contains(absent, :x)",
        "attribute_type(absent, :N)",
        "absent BETWEEN :one AND :nine",
        "absent IN (:one)",
    ],
)
def test_conditions_that_do_not(text: str) -> None:
    assert not holds(text)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "The expression can not be empty;"),
        ("  ", "The expression can not be empty;"),
        ("!!! INVALID !!!", 'Syntax error; token: "!", near: "!!"'),
        ("a = = b", 'Syntax error; token: "=", near: "= = b"'),
        ("attribute_not_exists(", 'Syntax error; token: "<EOF>", near: "("'),
        ("a = 1", 'Syntax error; token: "1", near: "= 1"'),
        ("a..b = :x", 'Syntax error; token: ".", near: "..b"'),
        ("a[:x] = :x", 'Syntax error; token: ":x", near: "[:x]"'),
        ("a in :x", 'Syntax error; token: ":x", near: "in :x"'),
        ("((a = :x))", "The expression has redundant parentheses;"),
        ("a = :x AND ((n = :one))", "The expression has redundant parentheses;"),
        ("Size(a) = :one", "Invalid function name; function: Size"),
        ("nope(a)", "Invalid function name; function: nope"),
        ("size(a)", "The function is not allowed to be used this way in an expression; function: size"),
        (
            "attribute_exists(a) > n",
            "The function is not allowed to be used this way in an expression; function: attribute_exists",
        ),
        ("Name = :x", "Attribute name is a reserved keyword; reserved keyword: Name"),
        ("a.Order = :x", "Attribute name is a reserved keyword; reserved keyword: Order"),
        (
            "#gone = :x",
            "An expression attribute name used in the document path is not defined; attribute name: #gone",
        ),
        (
            "a = :gone",
            "An expression attribute value used in expression is not defined; attribute value: :gone",
        ),
        (
            "attribute_exists(a, n)",
            (
                "Incorrect number of operands for operator or function; operator or function: attribute_exists, "
                "number of operands: 2"
            ),
        ),
        (
            "begins_with(a, :one)",
            "Incorrect operand type for operator or function; operator or function: begins_with, operand type: N",
        ),
        (
            "n < :yes",
            "Incorrect operand type for operator or function; operator or function: <, operand type: BOOL",
        ),
        (
            "n BETWEEN :one AND :none",
            "Incorrect operand type for operator or function; operator or function: BETWEEN, operand type: NULL",
        ),
        (
            "size(:one) = n",
            "Incorrect operand type for operator or function; operator or function: size, operand type: N",
        ),
        (
            "size(size(a)) = n",
            "Incorrect operand type for operator or function; operator or function: size, operand type: N",
        ),
        (
            "attribute_type(a, :one)",
            "Incorrect operand type for operator or function; operator or function: attribute_type, operand type: N",
        ),
        (
            "attribute_type(a, :bad)",
            "Invalid attribute type name found; type: Q, valid types: {B,NULL,SS,BOOL,L,BS,N,NS,S,M}",
        ),
        (
            "attribute_exists(:x)",
            "Operator or function requires a document path; operator or function: attribute_exists",
        ),
        (
            "doc.many[1] = #doc.many[1]",
            (
                "The first operand must be distinct from the remaining operands for this operator or function; "
                "operator: =, first operand: [doc, many, [1]]"
            ),
        ),
        (
            "n BETWEEN :one AND :x",
            (
                "The BETWEEN operator requires same data type for lower and upper bounds; lower bound operand: "
                "AttributeValue: {N:1}, upper bound operand: AttributeValue: {S:x}"
            ),
        ),
        (
            "n BETWEEN :nine AND :one",
            (
                "The BETWEEN operator requires upper bound to be greater than or equal to lower bound; lower bound "
                "operand: AttributeValue: {N:9}, upper bound operand: AttributeValue: {N:1}"
            ),
        ),
        (
            "if_not_exists(a, :x) = :x",
            "The function is not allowed in a condition expression; function: if_not_exists",
        ),
        (
            "a = :x" + " " * 4091,
            "Expression size has exceeded the maximum allowed size; expression size: 4097",
        ),
    ],
)
def test_conditions_that_are_refused(text: str, message: str) -> None:
    assert refusal(holds, text) == f"Invalid ConditionExpression: {message}"


def test_deep_expressions_are_refused_and_not_a_crash() -> None:
    text = "NOT (" * 700 + "a = :x" + ")" * 500
    assert "too many operators" in refusal(holds, text[:4000])


def test_all_reserved_words_are_known() -> None:
    assert len(RESERVED) == 573


@pytest.mark.parametrize(
    ("text", "changed"),
    [
        ("SET a = :x", {"a": {"S": "x"}}),
        ("SET n = n + :one", {"n": {"N": "6"}}),
        ("SET n = :one - n", {"n": {"N": "-4"}}),
        ("SET fresh = if_not_exists(fresh, :one) + :one", {"fresh": {"N": "2"}}),
        ("SET fresh = if_not_exists(n, :one)", {"fresh": {"N": "5"}}),
        ("SET #odd = a", {"od d": {"S": "hello"}}),
        ("SET many[1] = :x", {"many": {"L": [{"N": "0"}, {"S": "x"}, {"N": "2"}]}}),
        ("SET many[9] = :x", {"many": {"L": [{"N": "0"}, {"N": "1"}, {"N": "2"}, {"S": "x"}]}}),
        (
            "SET doc.many = list_append(doc.many, :list)",
            {"doc": {"M": {"deep": {"N": "7"}, "many": {"L": [{"S": "p"}, {"S": "q"}, {"S": "new"}]}}}},
        ),
        ("SET a = n, n = a", {"a": {"N": "5"}, "n": {"S": "hello"}}),
        ("REMOVE many[0], many[2]", {"many": {"L": [{"N": "1"}]}}),
        ("REMOVE flag, nothing", {"flag": None}),
        ("REMOVE doc.nothing", {}),
        ("ADD n :nine", {"n": {"N": "14"}}),
        ("ADD fresh :nine", {"fresh": {"N": "9"}}),
        ("ADD tags :set", {}),
        ("DELETE tags :set", {"tags": None}),
        ("DELETE absent :set", {}),
        ("set a = :x remove n add fresh :one delete tags :set", {"a": {"S": "x"}, "n": None, "fresh": {"N": "1"},
                                                                "tags": None}),
        ("SET a = (n + :one)", {"a": {"N": "6"}}),
    ],
)  # fmt: skip
def test_updates(text: str, changed: dict) -> None:
    update = compile_update(text, tuple(NAMES.items()), types(VALUES))
    before = repr(ITEM)
    after = update.apply(ITEM, VALUES)
    assert repr(ITEM) == before
    expected = {name: value for name, value in (ITEM | changed).items() if value is not None}
    assert after == expected


UPDATE = "Invalid UpdateExpression: "


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("INVALID SYNTAX HERE", f'{UPDATE}Syntax error; token: "INVALID", near: "INVALID SYNTAX"'),
        ("SET a = n + n + n", f'{UPDATE}Syntax error; token: "+", near: "n + n"'),
        ("SET a = n * n", f'{UPDATE}Syntax error; token: "*", near: "n * n"'),
        ("SET a = :x SET n = :x", f'{UPDATE}The "SET" section can only be used once in an update expression;'),
        ("SET a = size(n)", f"{UPDATE}The function is not allowed in an update expression; function: size"),
        (
            "ADD a :x",
            f"{UPDATE}Incorrect operand type for operator or function; operator: ADD, operand type: STRING",
        ),
        (
            "DELETE a :one",
            f"{UPDATE}Incorrect operand type for operator or function; operator: DELETE, operand type: NUMBER",
        ),
        (
            "SET a = n + :x",
            f"{UPDATE}Incorrect operand type for operator or function; operator or function: +, operand type: S",
        ),
        (
            "SET a = list_append(many, :x)",
            (
                f"{UPDATE}Incorrect operand type for operator or function; operator or function: list_append, "
                "operand type: S"
            ),
        ),
        (
            "SET a = if_not_exists(:x, :x)",
            f"{UPDATE}Operator or function requires a document path; operator or function: if_not_exists",
        ),
        (
            "SET doc = :x, doc.deep = :x",
            (
                f"{UPDATE}Two document paths overlap with each other; must remove or rewrite one of these paths; "
                "path one: [doc], path two: [doc, deep]"
            ),
        ),
        (
            "SET doc.deep = :x REMOVE doc[1]",
            (
                f"{UPDATE}Two document paths conflict with each other; must remove or rewrite one of these paths; "
                "path one: [doc, deep], path two: [doc, [1]]"
            ),
        ),
        ("SET a = absent", "The provided expression refers to an attribute that does not exist in the item"),
        ("SET n.deep = :x", "The document path provided in the update expression is invalid for update"),
        ("SET absent.deep = :x", "The document path provided in the update expression is invalid for update"),
        ("REMOVE absent.deep", "The document path provided in the update expression is invalid for update"),
        ("SET n = a + :one", "An operand in the update expression has an incorrect data type"),
        ("ADD a :one", "An operand in the update expression has an incorrect data type"),
        ("SET a = list_append(n, :list)", "An operand in the update expression has an incorrect data type"),
    ],
)
def test_updates_that_are_refused(text: str, message: str) -> None:
    def run() -> None:
        compile_update(text, tuple(NAMES.items()), types(VALUES)).apply(ITEM, VALUES)

    assert refusal(run) == message


@pytest.mark.parametrize(
    ("text", "part"),
    [
        ("a, nothing", {"a": {"S": "hello"}}),
        ("#doc.deep, n", {"doc": {"M": {"deep": {"N": "7"}}}, "n": {"N": "5"}}),
        ("doc.many[1]", {"doc": {"M": {"many": {"L": [{"S": "q"}]}}}}),
        ("many[2], many[0]", {"many": {"L": [{"N": "0"}, {"N": "2"}]}}),
        ("a.deep, many[9], n[0]", {}),
    ],
)
def test_projections(text: str, part: dict) -> None:
    assert compile_projection(text, tuple(NAMES.items())).of(ITEM) == part


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("a,,b", 'Syntax error; token: ",", near: ",,b"'),
        ("a,", 'Syntax error; token: "<EOF>", near: ","'),
        ("name", "Attribute name is a reserved keyword; reserved keyword: name"),
        (
            "n, a, n",
            (
                "Two document paths overlap with each other; must remove or rewrite one of these paths; "
                "path one: [n], path two: [n]"
            ),
        ),
    ],
)
def test_projections_that_are_refused(text: str, message: str) -> None:
    assert refusal(compile_projection, text, ()) == f"Invalid ProjectionExpression: {message}"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("a = :x OR n = :x", "Invalid operator used in KeyConditionExpression: OR"),
        ("NOT a = :x", "Invalid operator used in KeyConditionExpression: NOT"),
        ("a IN (:x)", "Invalid operator used in KeyConditionExpression: IN"),
        ("a <> :x", "Invalid operator used in KeyConditionExpression: <>"),
        ("contains(a, :x)", "Invalid operator used in KeyConditionExpression: contains"),
        ("size(a) = :one", "KeyConditionExpressions cannot contain nested operations"),
        (
            "doc.deep = :x",
            "Invalid KeyConditionExpression: KeyConditionExpressions cannot have conditions on nested attributes",
        ),
        (
            "begins_with(:x, a)",
            (
                "Invalid condition in KeyConditionExpression: begins_with operator must have the key attribute as its "
                "first operand"
            ),
        ),
        ("a = n", "Invalid condition in KeyConditionExpression: Multiple attribute names used in one condition"),
        (":x = :he", "Invalid condition in KeyConditionExpression: No key attribute specified"),
        (
            "a = :x AND a > :he",
            "Invalid KeyConditionExpression: KeyConditionExpressions must only contain one condition per key",
        ),
    ],
)
def test_key_conditions_that_are_refused(text: str, message: str) -> None:
    compile_condition(KEY_CONDITION, text, (), types(VALUES))
    assert refusal(key_tests, text, ()) == message


def test_a_key_condition_may_have_its_value_first() -> None:
    (test,) = key_tests(":one <= #n", tuple(NAMES.items()))
    assert (test.attribute, test.operator, test.values) == ("n", ">=", (":one",))


_words = st.sampled_from(
    ["a", "n", "#n", ":one", ":x", "=", "<>", "<", "AND", "OR", "NOT", "BETWEEN", "IN", "(", ")", ",", "[", "1", "]",
     ".", "size", "contains", "attribute_exists", "SET", "REMOVE", "ADD", "+", "if_not_exists", "$", "é"]
)  # fmt: skip


@given(st.lists(_words, max_size=14).map(" ".join))
def test_any_text_is_compiled_or_refused(text: str) -> None:
    names, kinds = tuple(NAMES.items()), types(VALUES)
    for make in (
        lambda: compile_condition(CONDITION, text, names, kinds).test(ITEM, VALUES),
        lambda: compile_update(text, names, kinds).apply(ITEM, VALUES),
        lambda: compile_projection(text, names).of(ITEM),
    ):
        with suppress(Refusal):
            make()
