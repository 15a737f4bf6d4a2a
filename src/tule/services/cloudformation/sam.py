"""The AWS::Serverless-2016-10-31 transform. Runs in `tule-worker` alone: the translator is heavy and reads user input.

No network: managed policies come from the map that the translator brings along.
"""

from typing import Any


def transform(payload: dict[str, Any]) -> dict[str, Any]:
    """{"template", "parameters", "region", "partition"} to {"template"} or {"errors"}: the transform's own words."""
    import boto3
    from samtranslator.internal.managed_policies import get_bundled_managed_policy_map
    from samtranslator.model.exceptions import InvalidDocumentException
    from samtranslator.parser.parser import Parser
    from samtranslator.translator.translator import Translator
    from samtranslator.utils.py27hash_fix import to_py27_compatible_template, undo_mark_unicode_str_in_template

    template, parameters = payload["template"], payload["parameters"]
    session = boto3.session.Session(region_name=payload["region"])
    to_py27_compatible_template(template, parameters)  # so that generated logical ids are those AWS generates
    translator = Translator(get_bundled_managed_policy_map(payload["partition"]), Parser(), boto_session=session)
    try:
        processed = undo_mark_unicode_str_in_template(translator.translate(template, parameters))
    except InvalidDocumentException as error:
        causes = sorted(cause.message for cause in error.causes)
        return {"errors": f"{error.message} {' '.join(causes)}".strip()}
    return {"template": processed}


def match_patterns(payload: list[list[str]]) -> list[int]:
    """Indices of the (pattern, text) pairs that do not match, the pattern taken for the whole text."""
    import re

    failed = []
    for index, (pattern, text) in enumerate(payload):
        try:
            matched = re.fullmatch(pattern, text)
        except re.error:
            matched = None
        if matched is None:
            failed.append(index)
    return failed
