"""The public names of `fusionzoo`: the list is API, found lazily; `dissect`, `bench`, `export` are packages to call."""

from __future__ import annotations

import importlib
import inspect
import pydoc
import subprocess
import sys
from pathlib import Path

import pytest

import fusionzoo

PUBLIC = {
    "list_models",
    "list_fusions",
    "create_model",
    "from_pretrained",
    "probe",
    "intervene",
    "listen",
    "trace",
    "robustness",
    "receptive_field",
    "dissect",
    "check",
    "predict",
    "explain",
    "bench",
    "export",
}


def test_the_list_is_api():
    assert set(fusionzoo.__all__) == PUBLIC | {"__version__"}
    assert set(dir(fusionzoo)) >= PUBLIC


@pytest.mark.parametrize("name", sorted(PUBLIC))
def test_every_public_name_is_there_and_documented(name):
    thing = getattr(fusionzoo, name)
    assert callable(thing)
    assert inspect.getdoc(getattr(thing, name, thing))


def test_an_unknown_name_lists_the_public_ones():
    with pytest.raises(AttributeError, match="no attribute 'create_modle'; public names: .*create_model"):
        fusionzoo.create_modle  # noqa: B018
    with pytest.raises(ImportError):
        from fusionzoo import create_modle  # noqa: F401


@pytest.mark.parametrize("name", ["dissect", "bench", "export"])
def test_a_package_is_a_function_at_once(name):
    package = importlib.import_module(f"fusionzoo.{name}")
    function = getattr(package, name)
    assert getattr(fusionzoo, name) is package
    assert inspect.signature(package) == inspect.signature(function)
    assert "data" in inspect.signature(package).parameters and name in pydoc.render_doc(package)
    with pytest.raises(TypeError, match=name):
        package()


def test_functions_stay_functions_whatever_is_imported():
    """No submodule shares its name with a public function, so no import can put a module in its place."""
    folder = Path(fusionzoo.__file__).parent
    modules = {p.stem for p in folder.glob("*.py")} | {p.parent.name for p in folder.glob("*/__init__.py")}
    assert modules & PUBLIC == {"dissect", "bench", "export"}


@pytest.mark.parametrize(
    "code",
    [
        "import fusionzoo.dissect.results as r; import fusionzoo; f = fusionzoo.dissect",
        "import fusionzoo; f = fusionzoo.dissect; import fusionzoo.dissect.results as r",
        "from fusionzoo import dissect as f; import fusionzoo.dissect.results as r",
        "import fusionzoo.dissect.results as r; from fusionzoo import dissect as f",
        "import fusionzoo.dissect.results; from fusionzoo.dissect import dissect as f, results as r",
    ],
)
def test_the_function_wins_in_any_order_of_imports(code):
    code += "; assert callable(f), f; assert r.__name__ == 'fusionzoo.dissect.results'"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
