"""Structure, references, conditions, functions and order of templates."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tule.languages.cloudformation.checking import check
from tule.languages.cloudformation.errors import TemplateError
from tule.languages.cloudformation.functions import Evaluator, Scope, evaluate_conditions
from tule.languages.cloudformation.graph import circle, dependencies, in_order
from tule.languages.cloudformation.parameters import patterns, settle, values_of
from tule.languages.cloudformation.parsing import Document
from tule.languages.cloudformation.template import read_template

PSEUDO = {
    "AWS::AccountId": "123456789012",
    "AWS::NotificationARNs": [],
    "AWS::Partition": "aws",
    "AWS::Region": "eu-west-1",
    "AWS::StackId": "arn:aws:cloudformation:eu-west-1:123456789012:stack/s/u",
    "AWS::StackName": "s",
    "AWS::URLSuffix": "amazonaws.com",
}


class Made:
    """Resources that exist under their own names."""

    def ref(self, logical_id):
        return f"id-{logical_id}"

    def attribute(self, logical_id, name):
        return f"{logical_id}/{name}"

    def imported(self, export):
        return f"from {export}"


def template_of(resources=None, **sections):
    resources = resources if resources is not None else {"A": {"Type": "T"}, "B": {"Type": "T"}}
    template = read_template(Document({"Resources": resources, **sections}))
    check(template)
    return template


def value_of(expression, **sections):
    template = template_of(**sections)
    parameters = values_of(template.parameters, settle(template.parameters, {}))
    conditions = evaluate_conditions(template, parameters, PSEUDO)
    scope = Scope(template, parameters, PSEUDO, conditions)
    return Evaluator(scope, Made()).value(expression)


@pytest.mark.parametrize(
    ("expression", "value"),
    [
        ({"Ref": "A"}, "id-A"),
        ({"Ref": "AWS::Region"}, "eu-west-1"),
        ({"Fn::GetAtt": ["A", "Arn"]}, "A/Arn"),
        ({"Fn::GetAtt": "A.Endpoint.Port"}, "A/Endpoint.Port"),
        ({"Fn::Sub": "${A}-${B.Arn}-${!Kept}-${AWS::StackName}"}, "id-A-B/Arn-${Kept}-s"),
        ({"Fn::Sub": ["${X}${A}", {"X": {"Fn::Join": ["-", ["a", 1, True]]}}]}, "a-1-trueid-A"),
        ({"Fn::Join": ["", ["a", {"Ref": "A"}]]}, "aid-A"),
        ({"Fn::Join": [",", {"Fn::Split": ["-", "a-b-c"]}]}, "a,b,c"),
        ({"Fn::Select": [1, ["a", "b"]]}, "b"),
        ({"Fn::Select": ["0", {"Fn::GetAZs": ""}]}, "eu-west-1a"),
        ({"Fn::Split": [",", "a,,b"]}, ["a", "", "b"]),
        ({"Fn::Base64": "hi"}, "aGk="),
        ({"Fn::ImportValue": {"Fn::Sub": "${AWS::StackName}-x"}}, "from s-x"),
        ({"Fn::Cidr": ["10.0.0.0/16", 3, 8]}, ["10.0.0.0/24", "10.0.1.0/24", "10.0.2.0/24"]),
        ({"a": {"Ref": "AWS::NoValue"}, "b": [1, {"Ref": "AWS::NoValue"}]}, {"b": [1]}),
        ({"Ref": "A", "Other": 1}, {"Ref": "A", "Other": 1}),
        ({"a": 1.0, "b": False}, {"a": 1.0, "b": False}),
    ],
)
def test_functions(expression, value):
    assert value_of(expression) == value


@pytest.mark.parametrize(
    ("condition", "holds"),
    [
        ({"Fn::Equals": [{"Ref": "P"}, "yes"]}, True),
        ({"Fn::Equals": ["1", 1]}, True),
        ({"Fn::Not": [{"Fn::Equals": ["a", "b"]}]}, True),
        ({"Fn::And": [{"Condition": "Yes"}, {"Condition": "No"}]}, False),
        ({"Fn::Or": [{"Condition": "Yes"}, {"Condition": "No"}]}, True),
        ({"Fn::Equals": [{"Fn::FindInMap": ["M", "a", "b"]}, "c"]}, True),
    ],
)
def test_conditions(condition, holds):
    sections = {
        "Parameters": {"P": {"Type": "String", "Default": "yes"}},
        "Mappings": {"M": {"a": {"b": "c"}}},
        "Conditions": {"X": condition, "Yes": {"Fn::Equals": [1, 1]}, "No": {"Fn::Equals": [1, 2]}},
    }
    assert value_of({"Fn::If": ["X", "yes", "no"]}, **sections) == ("yes" if holds else "no")


@pytest.mark.parametrize(
    ("expression", "words"),
    [
        (
            {"Fn::Select": ["3", ["a"]]},
            "Fn::Select requires a list argument with two elements: an integer",
        ),
        ({"Fn::Select": ["x", ["a"]]}, "Fn::Select requires a list argument"),
        ({"Fn::Split": ["", "a"]}, "every Fn::Split object requires two parameters"),
        ({"Fn::Join": ["a"]}, "every Fn::Join object requires two parameters"),
        ({"Fn::FindInMap": ["M", "C", "Suffix"]}, "Unable to get mapping for M::C::Suffix"),
        ({"Fn::Base64": ["a"]}, "every Fn::Base64 object must have a String-typed value"),
        ({"Fn::Cidr": ["10.0.0.0/30", 9, 1]}, "can not fit 9 blocks"),
    ],
)
def test_wrong_arguments(expression, words):
    with pytest.raises(TemplateError) as caught:
        value_of(expression, Mappings={"M": {"A": {"Suffix": "x"}}})
    assert words in caught.value.message


T = {"Type": "T"}


@pytest.mark.parametrize(
    ("document", "message"),
    [
        ({}, "Template format error: At least one Resources member must be defined."),
        ({"Resources": {"A": {}}}, "[/Resources/A] Every Resources object must contain a Type member."),
        ({"Resources": {"A": "x"}}, "Template format error: Any Resources member must be an object."),
        ({"Resources": {"A": {"Type": "T", "Invalid": 1}}}, "Invalid template resource property 'Invalid'"),
        ({"Resources": {"A-b": T}}, "Template format error: Resource name A-b is non alphanumeric."),
        ({"Resources": {"A": T}, "Foo": 1}, "Invalid template property or properties [Foo]"),
        ({"Resources": {"A": T}, "AWSTemplateFormatVersion": "2011-01-01"}, "2011-01-01 is not a supported value"),
        ({"Resources": {"A": T}, "Outputs": {"O": {}}}, "Every Outputs member must contain a Value object"),
        ({"Resources": {"A": T}, "Outputs": {"O": {"Value": None}}}, "[/Outputs/O/Value] 'null' values are not"),
        ({"Resources": {"A": T}, "Mappings": {"M": {"A": "x"}}}, "Every Mappings member A must be a map"),
        ({"Resources": {"A": T}, "Mappings": {"M": {"A": {"b": {"c": 1}}}}}, "must be a String or a List."),
        ({"Resources": {"A": T}, "Rules": {"R": {}}}, "does not honour the Rules section"),
        ({"Resources": {"A": {"Type": "T", "DeletionPolicy": "Snapshot"}}}, "not support deletion policy Snapshot"),
        ({"Resources": {"A": {"Type": "T", "DeletionPolicy": "Keep"}}}, "Unrecognized DeletionPolicy Keep"),
        ({"Resources": {"A": {"Type": "T", "DependsOn": "B"}}},
         "Template format error: Unresolved resource dependencies [B] in the Resources block of the template"),
        ({"Resources": {"A": {"Type": "T", "Properties": {"x": {"Ref": "B"}}}}},
         "Template format error: Unresolved resource dependencies [B] in the Resources block of the template"),
        ({"Resources": {"A": {"Type": "T", "Properties": {"x": {"Fn::Sub": "${B.Arn}"}}}}},
         "Unresolved resource dependencies [B.Arn] in the Resources block"),
        ({"Resources": {"A": {"Type": "T", "Properties": {"x": {"Fn::GetAtt": ["B", "Arn"]}}}}},
         "Template error: instance of Fn::GetAtt references undefined resource B"),
        ({"Resources": {"A": {"Type": "T", "Properties": {"x": {"Fn::GetAtt": ["A"]}}}}},
         "every Fn::GetAtt object requires two non-empty parameters"),
        ({"Resources": {"A": {"Type": "T", "Properties": {"x": {"Fn::Foo": "y"}}}}},
         "Encountered unsupported function: Fn::Foo Supported functions are: [Fn::And"),
        ({"Resources": {"A": {"Type": "T", "Properties": {"x": {"Fn::ToJsonString": "y"}}}}}, "Fn::ToJsonString yet"),
        ({"Resources": {"A": {"Type": "T", "Properties": {"x": {"Fn::If": ["No", 1, 2]}}}}},
         "Template error: unresolved condition dependency No in Fn::If"),
        ({"Resources": {"A": {"Type": "T", "Condition": "No"}}}, "Unresolved condition dependency No"),
        ({"Resources": {"A": T}, "Conditions": {"C": {"Fn::Equals": [{"Ref": "A"}, 1]}}}, "Unresolved dependencies ["),
        ({"Resources": {"A": T}, "Conditions": {"C": {"Fn::Not": [{"Condition": "D"}]}, "D": {"Condition": "C"}}},
         "Circular dependency between conditions: [C, D]"),
        ({"Resources": {"A": {"Type": "T", "Properties": {"x": "{{resolve:ssm:/a}}"}}}}, "dynamic references to ssm"),
        ({"Resources": {"A": T}, "Parameters": {"P": {"Type": "Foo"}}}, "Unrecognized parameter type: Foo"),
        ({"Resources": {"A": T}, "Parameters": {"P": {"Type": "AWS::SSM::Parameter::Value<String>"}}}, "Tule does not"),
        ({"Resources": {"A": T}, "Parameters": {"P-1": {"Type": "String"}}}, "Parameter name P-1 is non alphanumeric."),
        ({"Resources": {f"R{n}": T for n in range(501)}}, "Number of resources, 501, is greater than"),
    ],
)  # fmt: skip
def test_refused_templates(document, message):
    with pytest.raises(TemplateError) as caught:
        check(read_template(Document(document)))
    assert message in caught.value.message


def test_a_circle_is_told_by_its_members():
    resources = {
        "A": {"Type": "T", "Properties": {"x": {"Ref": "B"}}},
        "B": {"Type": "T", "DependsOn": ["C"]},
        "C": {"Type": "T", "Properties": {"x": {"Fn::Sub": "${A.Arn}"}}},
        "Before": {"Type": "T"},
        "After": {"Type": "T", "DependsOn": "A"},
    }
    with pytest.raises(TemplateError) as caught:
        dependencies(template_of(resources), {})
    assert caught.value.message == "Circular dependency between resources: [A, B, C]"


def test_what_a_condition_leaves_out_is_needed_by_nobody():
    resources = {
        "A": {"Type": "T", "Condition": "No"},
        "B": {"Type": "T", "DependsOn": "A", "Properties": {"x": {"Fn::If": ["No", {"Ref": "A"}, 1]}}},
    }
    template = template_of(resources, Conditions={"No": {"Fn::Equals": [1, 2]}})
    assert dependencies(template, evaluate_conditions(template, {}, PSEUDO)) == {"B": set()}


def test_an_output_of_what_is_left_out_is_refused():
    template = template_of(
        {"A": {"Type": "T", "Condition": "No"}, "B": {"Type": "T"}},
        Conditions={"No": {"Fn::Equals": [1, 2]}},
        Outputs={"O": {"Value": {"Ref": "A"}}},
    )
    with pytest.raises(TemplateError) as caught:
        dependencies(template, {"No": False})
    assert caught.value.message == "Unresolved resource dependencies [A] in the Outputs block of the template"


@pytest.mark.parametrize(
    ("declaration", "given", "message"),
    [
        ({"Type": "String"}, {}, "Parameters: [P] must have values"),
        ({"Type": "String", "Default": ""}, {"Q": "x"}, "Parameters: [Q] do not exist in the template"),
        ({"Type": "Number"}, {"P": "x"}, "Parameter 'P' must be a number."),
        ({"Type": "Number"}, {"P": "nan"}, "Parameter 'P' must be a number."),
        ({"Type": "Number", "MinValue": 3}, {"P": "2"}, "Parameter 'P' must be a number not less than 3"),
        ({"Type": "Number", "MaxValue": 3}, {"P": "4"}, "Parameter 'P' must be a number not greater than 3"),
        ({"Type": "String", "MinLength": 2}, {"P": "x"}, "Parameter 'P' must contain at least 2 characters"),
        ({"Type": "String", "MaxLength": 2}, {"P": "xyz"}, "Parameter 'P' must contain at most 2 characters"),
        (
            {"Type": "String", "AllowedValues": ["a", 1]},
            {"P": "b"},
            "Parameter 'P' must be one of AllowedValues [a, 1]",
        ),
        (
            {"Type": "String", "MinLength": 2, "ConstraintDescription": "be long"},
            {"P": "x"},
            "Parameter 'P' failed to satisfy constraint: be long",
        ),
    ],
)
def test_refused_parameters(declaration, given, message):
    with pytest.raises(TemplateError) as caught:
        settle({"P": declaration}, given)
    assert caught.value.message == message


def test_values_of_parameters():
    declared = {
        "List": {"Type": "CommaDelimitedList", "Default": "a, b"},
        "Number": {"Type": "Number", "Default": 5},
        "Flag": {"Type": "String", "Default": True},
    }
    assert values_of(declared, settle(declared, {})) == {"List": ["a", "b"], "Number": "5", "Flag": "true"}


def test_patterns_are_left_to_be_matched_elsewhere():
    declared = {"P": {"Type": "String", "AllowedPattern": "[a-z]+"}}
    (found,) = patterns(declared, {"P": "x1"})
    assert (found.pattern, found.value, found.message) == ("[a-z]+", "x1", "Parameter 'P' must match pattern [a-z]+")


GRAPHS = st.integers(1, 8).flatmap(
    lambda size: st.fixed_dictionaries(
        {str(n): st.sets(st.integers(0, size - 1).map(str), max_size=3) for n in range(size)}
    )
)


@given(GRAPHS)
def test_an_order_or_a_circle(needs):
    circular = circle(needs)
    if circular:
        assert all(needs[name] & set(circular) for name in circular)
        return
    order = in_order(needs)
    assert sorted(order) == sorted(needs)
    assert all(order.index(need) < order.index(name) for name in needs for need in needs[name])
