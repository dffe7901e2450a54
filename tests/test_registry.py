"""Registry: patterns, natural order, duplicates, malformed and unknown names."""

from __future__ import annotations

import subprocess
import sys
import warnings

import pytest

from fusionzoo.errors import UnknownNameError
from fusionzoo.registry import Registry, architectures, fusions, match, natural_key


@pytest.fixture
def beasts() -> Registry[object]:
    registry: Registry[object] = Registry("beast", "fusionzoo list")
    for name in ("yak-10", "yak-9", "gnu", "emu_2"):
        registry.add(name, name.upper())
    return registry


def test_order_is_natural(beasts):
    assert beasts.names() == list(beasts) == ["emu_2", "gnu", "yak-9", "yak-10"]
    assert len(beasts) == 4 and "gnu" in beasts and "gnus" not in beasts
    names = ["b2", "a10b1", "a9b10", "a9b9", "10", "9"]
    assert sorted(names, key=natural_key) == ["9", "10", "a9b9", "a9b10", "a10b1", "b2"]


def test_patterns(beasts):
    assert beasts.names("yak-*") == ["yak-9", "yak-10"]
    assert beasts.names(["*u", "*_2"]) == ["emu_2", "gnu"]
    assert beasts.names("*", exclude=["yak*", "gnu"]) == ["emu_2"]
    assert beasts.names("Gnu") == []  # matching does not depend on the platform's file names
    assert match([], "*") == []


def test_register_returns_the_thing_itself(beasts):
    @beasts.register("ox")
    class Ox:
        pass

    assert beasts.get("ox") is Ox


def test_a_duplicate_raises_and_names_the_owner(beasts):
    with pytest.raises(ValueError, match="beast 'gnu' is registered already, by 'GNU'"):
        beasts.add("gnu", 1)
    assert beasts.get("gnu") == "GNU"


@pytest.mark.parametrize("name", ["", "Gnu", "a b", "a/b", "-a", "a.b", "gnü"])
def test_malformed_names(beasts, name):
    with pytest.raises(ValueError, match="lower-case"):
        beasts.add(name, 1)


def test_an_old_name_warns_and_is_listed_no_more(beasts):
    beasts.rename("gnou", "gnu")
    with pytest.warns(FutureWarning, match="beast 'gnou' is called 'gnu' now; the old name goes with the next release"):
        assert beasts.get("gnou") == "GNU"
    assert "gnou" in beasts and "gnou" not in beasts.names() and len(beasts) == 4
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert beasts.get("gnu") == "GNU"
    with pytest.raises(ValueError, match="beast 'gnou' is the old name of 'gnu'"):
        beasts.add("gnou", 1)
    for old, new in (("gnu", "emu_2"), ("gnou", "emu_2")):
        with pytest.raises(ValueError, match=f"beast '{old}' is registered or renamed already"):
            beasts.rename(old, new)
    with pytest.raises(ValueError, match="beast 'dodo', the new name of 'dodoes', is not registered"):
        beasts.rename("dodoes", "dodo")


def test_a_model_is_made_by_an_old_name_and_saved_under_the_new_one(monkeypatch):
    """Published names, strategies inside composed names, and configs that were written before."""
    import fusionzoo
    from fusionzoo.models import build

    for registry in (architectures, fusions):
        monkeypatch.setattr(registry, "_renamed", {})
    architectures.rename("mf-net", "mfnet")
    fusions.rename("addition", "sum")
    with pytest.warns(FutureWarning, match="architecture 'mf-net' is called 'mfnet' now"):
        model = fusionzoo.create_model("mf-net", num_classes=2)
    assert model.architecture == "mfnet"
    with pytest.warns(FutureWarning, match="architecture 'mf-net'"):
        assert build(model.config() | {"architecture": "mf-net"}).config() == model.config()
    with pytest.warns(FutureWarning, match="fusion strategy 'addition' is called 'sum' now"):
        model = fusionzoo.create_model("addition_mobilenetv1-025_fpn")
    assert model.architecture == "sum_mobilenetv1-025_fpn" and model.model_args["fusion"] == "sum"
    old = model.config() | {"architecture": "addition_mobilenetv1-025_fpn"}
    with pytest.warns(FutureWarning, match="fusion strategy 'addition'"):
        again = build(old | {"model_args": model.model_args | {"fusion": "addition"}})
    assert again.config() == model.config()


def test_unknown(beasts):
    with pytest.raises(UnknownNameError, match=r"beast 'yak-11'; did you mean 'yak-10'.*\(see: fusionzoo list\)"):
        beasts.get("yak-11")


def test_the_zoo_is_registered_by_its_packages():
    import fusionzoo

    assert "hybrid_mobilenetv1-025_fpn" in fusionzoo.list_models()
    assert {"sum", "concat", "gate", "cross_attention", "hybrid"} <= set(fusions) & set(fusionzoo.list_fusions())
    assert set(architectures) <= set(fusionzoo.list_models())
    with pytest.raises(UnknownNameError, match="did you mean 'concat'"):
        fusions.get("concta")


def test_whoever_has_a_registry_alone_finds_its_entries() -> None:
    """Nothing else of the package is imported first; one's own name may be the first use."""
    code = (
        "from fusionzoo.registry import architectures, fusions, wrappers\n"
        "import sys; assert 'torch' not in sys.modules\n"
        "fusions.add('own', 1)\n"
        "try: fusions.add('gate', 1)\n"
        "except ValueError as error: print(error)\n"
        "print('hybrid' in fusions, fusions.get('sum').__name__, 'cmx_mit_b2' in architectures, list(wrappers))"
    )
    done = subprocess.run([sys.executable, "-c", code], text=True, capture_output=True, check=True)
    taken, found = done.stdout.splitlines()
    assert taken.startswith("fusion strategy 'gate' is registered already, by <class 'fusionzoo.fusion.gate")
    assert found == "True Sum True ['missing_x']"
