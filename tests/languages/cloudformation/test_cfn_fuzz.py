"""Whatever a template holds, it is deployed or refused in words: never a defect of ours."""

from contextlib import suppress

from hypothesis import given, settings
from hypothesis import strategies as st

from tule.languages.cloudformation.checking import FUNCTIONS, check, check_declarations
from tule.languages.cloudformation.errors import TemplateError
from tule.languages.cloudformation.functions import Evaluator, Scope, evaluate_conditions
from tule.languages.cloudformation.graph import dependencies, in_order
from tule.languages.cloudformation.parameters import patterns, settle, values_of
from tule.languages.cloudformation.parsing import Document
from tule.languages.cloudformation.template import read_template

PSEUDO = {"AWS::Region": "eu-west-1", "AWS::StackName": "s"}
NAMES = st.sampled_from(["A", "B", "C", "P", "M", "AWS::Region", "AWS::NoValue", "A.Arn", "", "x-y"])
SCALARS = st.none() | st.booleans() | st.integers(-3, 300) | st.floats(allow_nan=False) | NAMES
TEXTS = NAMES | st.sampled_from(["${A}", "${A.Arn}-${!x}", "${", "${}", "10.0.0.0/16", "{{resolve:ssm:x}}", "true"])
UNKNOWN = ("Fn::Foo", "Fn::Transform", "Fn::ForEach::X", "Fn::ToJsonString")
FUNCTION_NAMES = st.sampled_from(("Ref", "Condition", *FUNCTIONS, *UNKNOWN))


def nested(inner):
    return (
        st.lists(inner, max_size=3)
        | st.dictionaries(NAMES, inner, max_size=2)
        | st.dictionaries(FUNCTION_NAMES, inner, min_size=1, max_size=1)
        | st.dictionaries(FUNCTION_NAMES, st.lists(inner, min_size=1, max_size=3), min_size=1, max_size=1)
    )


VALUES = st.recursive(SCALARS | TEXTS, nested, max_leaves=8)
PARAMETER = st.fixed_dictionaries(
    {"Type": st.sampled_from(["String", "Number", "CommaDelimitedList", "List<Number>"]) | VALUES},
    optional={
        "Default": VALUES,
        "AllowedValues": VALUES,
        "AllowedPattern": VALUES,
        "MinLength": VALUES,
        "MaxLength": VALUES,
        "MinValue": VALUES,
        "MaxValue": VALUES,
        "NoEcho": VALUES,
        "ConstraintDescription": VALUES,
    },
)
RESOURCE = st.fixed_dictionaries(
    {"Type": st.just("T")},
    optional={
        "Properties": st.dictionaries(NAMES, VALUES, max_size=2),
        "DependsOn": NAMES | st.lists(NAMES, max_size=2) | VALUES,
        "Condition": NAMES,
        "DeletionPolicy": st.sampled_from(["Delete", "Retain"]) | VALUES,
        "Metadata": VALUES,
    },
)
LOGICAL = st.sampled_from(["A", "B", "C", "P", "M"])


def section(member):
    return st.dictionaries(LOGICAL, member, max_size=3) | VALUES


TEMPLATES = st.fixed_dictionaries(
    {"Resources": st.dictionaries(LOGICAL, RESOURCE | VALUES, max_size=3) | VALUES},
    optional={
        "Parameters": section(PARAMETER),
        "Conditions": section(VALUES),
        "Mappings": section(st.dictionaries(NAMES, st.dictionaries(NAMES, VALUES, max_size=2), max_size=2)),
        "Outputs": section(st.fixed_dictionaries({"Value": VALUES}, optional={"Export": VALUES, "Condition": VALUES})),
        "Description": VALUES,
        "Transform": VALUES,
        "AWSTemplateFormatVersion": VALUES,
    },
)


class Made:
    def ref(self, logical_id):
        return logical_id

    def attribute(self, logical_id, name):
        return f"{logical_id}.{name}"

    def imported(self, export):
        return export


@settings(max_examples=400)
@given(TEMPLATES)
def test_templates(document):
    with suppress(TemplateError):
        template = read_template(Document(document))
        check(template)
        settled = settle(template.parameters, {})
        patterns(template.parameters, settled)
        parameters = values_of(template.parameters, settled)
        conditions = evaluate_conditions(template, parameters, PSEUDO)
        needs = dependencies(template, conditions)
        evaluator = Evaluator(Scope(template, parameters, PSEUDO, conditions), Made())
        for logical_id in in_order(needs):
            evaluator.value(template.resources[logical_id].properties)


@given(st.dictionaries(LOGICAL, PARAMETER, max_size=2), st.dictionaries(LOGICAL, st.text(max_size=5), max_size=2))
def test_parameters(declared, given_values):
    with suppress(TemplateError):
        check_declarations(declared)
        settled = settle(declared, given_values)
        patterns(declared, settled)
        values_of(declared, settled)


@settings(max_examples=400)
@given(VALUES, VALUES)
def test_values_and_conditions(value, condition):
    document = {
        "Parameters": {"P": {"Type": "String", "Default": "p"}},
        "Mappings": {"M": {"A": {"B": "x"}}},
        "Conditions": {"A": {"Fn::Equals": [{"Ref": "P"}, "p"]}, "C": condition},
        "Resources": {"A": {"Type": "T", "Properties": {"x": value}}, "B": {"Type": "T", "Condition": "A"}},
        "Outputs": {"O": {"Value": value}},
    }
    with suppress(TemplateError):
        template = read_template(Document(document))
        check(template)
        parameters = values_of(template.parameters, settle(template.parameters, {}))
        conditions = evaluate_conditions(template, parameters, PSEUDO)
        needs = dependencies(template, conditions)
        evaluator = Evaluator(Scope(template, parameters, PSEUDO, conditions), Made())
        for logical_id in in_order(needs):
            evaluator.value(template.resources[logical_id].properties)
        evaluator.text(template.outputs["O"].value, "an output is text")
