"""Layers under functions, on the best rung and on the lowest: what is laid over what, and who finds it."""

import ctypes.util
import json
from pathlib import Path

import pytest


@pytest.fixture(params=[False, True], ids=["best rung", "plain process"])
def rung(make_bench, request):
    return make_bench(bare=request.param)


def answer(bench, version):
    outcome = bench.invoke(version)
    assert outcome.error is None, outcome.payload
    return json.loads(outcome.payload)


def test_later_layers_are_laid_over_earlier_ones(rung):
    under = rung.package({"python/one.py": "x = 'under'", "python/two.py": "x = 'under'", "place": "a file",
                          "folder/inner": "a folder's"})  # fmt: skip
    over = rung.package({"python/one.py": "x = 'over'", "place/inner": "now a folder's", "folder": "now a file"})
    source = (
        "import one, two, pathlib\n"
        "ROOT = pathlib.Path(one.__file__).parents[1]\n"
        "def handler(event, context):\n"
        "    return [one.x, two.x, (ROOT / 'place/inner').read_text(), (ROOT / 'folder').read_text()]\n"
    )

    version = rung.version({"app.py": source}, layers=(under, over))

    assert answer(rung, version) == ["over", "under", "now a folder's", "now a file"]


def test_a_functions_layers_can_not_be_written(rung):
    layer = rung.package({"python/one.py": "x = 1"})
    source = (
        "import one\n"
        "def handler(event, context):\n"
        "    try:\n"
        "        open(one.__file__, 'a').close()\n"
        "    except OSError as error:\n"
        "        return type(error).__name__\n"
    )

    assert answer(rung, rung.version({"app.py": source}, layers=(layer,))) in {"PermissionError", "OSError"}


def test_shared_libraries_of_a_layer_are_found(rung):
    name = ctypes.util.find_library("z")
    (library, *_) = [path for path in Path("/usr/lib").rglob(f"{name}*") if path.is_file()]
    layer = rung.package({"lib/libofthelayer.so": library.read_bytes()})
    source = (
        "import ctypes\n"
        "LIBRARY = ctypes.CDLL('libofthelayer.so')\n"
        "def handler(event, context):\n"
        "    LIBRARY.zlibVersion.restype = ctypes.c_char_p\n"
        "    return LIBRARY.zlibVersion().decode()\n"
    )

    assert answer(rung, rung.version({"app.py": source}, layers=(layer,))).startswith("1.")


def test_an_sdk_in_a_layer_comes_before_the_runtimes_own(rung):
    layer = rung.package({"python/boto3/__init__.py": "__version__ = 'of the layer'"})
    source = "import boto3\ndef handler(event, context):\n    return boto3.__version__\n"

    assert answer(rung, rung.version({"app.py": source}, layers=(layer,))) == "of the layer"


def test_packages_that_lack_facts_are_unpacked_again(rung):
    code = rung.package({"app.py": "def handler(event, context):\n    return 1\n"})
    rung.functions.packages.folder.joinpath(f"{code}.json").write_text('{"refused": "", "sdk": ""}')  # an older Tule's
    rung.functions.packages._facts.clear()

    again = rung.package({"app.py": "def handler(event, context):\n    return 1\n"})

    assert again == code
    assert rung.functions.unpacked_bytes(code) == 42
