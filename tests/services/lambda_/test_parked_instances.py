"""How many execution environments are kept ready is a setting."""

import json

import pytest

from tule.kernel.settings import SettingsError, load
from tule.testing.server import Tule

ECHO = "def handler(event, context):\n    return event\n"


def parked(tule):
    return [one for one in tule.admin("functions/instances")["instances"] if one["state"] == "parked"]


def test_none_is_kept_ready_where_nobody_wants_any(functions_of):
    with Tule(environment={"TULE_PARKED": "0"}) as frugal:
        functions = functions_of(frugal)
        functions.deploy(ECHO)

        assert json.loads(functions.client.invoke(FunctionName="worker", Payload=b"[1]")["Payload"].read()) == [1]
        assert parked(frugal) == []


def test_as_many_as_are_wanted_are_kept_ready(functions_of):
    with Tule(environment={"TULE_PARKED": "3"}) as ample:
        functions_of(ample).deploy(ECHO)

        assert len(parked(ample)) == 3


@pytest.mark.parametrize("number", [-1, 51])
def test_numbers_that_make_no_sense_are_refused(number):
    with pytest.raises(SettingsError, match=f"parked must be between 0 and 50, not {number}"):
        load({"parked": number}, {})
