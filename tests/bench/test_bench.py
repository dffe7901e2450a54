"""`fusionzoo bench`: from the command line to a ranked table, resumed after a kill; choice of rates; intervals."""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from dataclasses import fields, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from click.testing import CliRunner
from PIL import Image
from scipy.stats import ttest_rel

from fusionzoo.bench import (
    BenchProtocol,
    RunResult,
    Score,
    bench,
    failed_rows,
    final_results,
    rank,
    read_protocol,
    read_results,
)
from fusionzoo.bench.plan import SELECT_SEED, Run, Variant, chosen_rates, final_runs, select_runs, strategies, variant
from fusionzoo.bench.rank import by_term
from fusionzoo.bench.run import run_settings
from fusionzoo.bench.same import _labels_digest, labels_digest
from fusionzoo.bench.score import CONDITIONS, score
from fusionzoo.bench.table import ranked
from fusionzoo.cli.bench import command
from fusionzoo.data import parse_spec
from fusionzoo.errors import CheckFailed, InputError, UnknownNameError
from fusionzoo.models import create_model
from fusionzoo.train.terms import TERMS

ROOT = Path(__file__).resolve().parents[2]
PROTOCOL = """
encoder = "mobilenetv1-025"
decoder_args = { pyramid_channels = 32, segmentation_channels = 32 }
final_split = "train"
epochs = 2
batch_size = 4
size = [32, 32]
base = [32, 48]
dissect_images = 4
"""


def result(strategy: str, seed: int, miou: float, phase: str = "final", lr: float = 1e-3) -> RunResult:
    scores = {"both": Score(miou, 0.5, [miou, None]), "without_x": Score(miou / 2, 0.4, [miou / 2, None])}
    return RunResult(BenchProtocol("toy"), strategy, phase, seed, lr, scores, 10, 0.1, 2.0, "planted", 4, ["a", "b"],
                     {"a": "rgb"})  # fmt: skip


@pytest.fixture
def data(tmp_path: Path) -> str:
    rng = np.random.default_rng(0)
    folder = tmp_path / "data"
    for part in ("rgb", "x", "label"):
        (folder / part).mkdir(parents=True)
    for i in range(8):
        label = (np.indices((32, 48))[1] > rng.integers(10, 38)).astype(np.uint8)
        rgb = (label[..., None] * 120 + rng.integers(0, 60, (32, 48, 3))).astype(np.uint8)
        Image.fromarray(rgb).save(folder / "rgb" / f"{i}.png")
        Image.fromarray(1000 + 2000 * label.astype(np.uint16)).save(folder / "x" / f"{i}.png")
        Image.fromarray(label).save(folder / "label" / f"{i}.png")
    (folder / "dataset.toml").write_text(
        'class_names = ["near", "far"]\n[splits]\ntrain = ["0", "1", "2", "3"]\ntest = ["4", "5", "6", "7"]\n'
    )
    (tmp_path / "toy.toml").write_text(PROTOCOL)
    return f"folder:{folder}"


def start(data: str, folder: Path, *extra: str) -> subprocess.Popen[str]:
    """The command of the README on `data`, with a small protocol, two rows and two seeds."""
    code = "import sys; from fusionzoo.cli import main; main(sys.argv[1:])"
    (line,) = (line for line in (ROOT / "README.md").read_text().splitlines() if line.startswith("fusionzoo bench "))
    said = line.partition("#")[0].replace("folder:PATH", data).replace("runs/bench", str(folder / "out")).split()[1:]
    words = [*said, "--protocol", str(folder / "toy.toml"), "--strategies", "concat,sum+rule", "--seeds", "0,1"]
    words += ["--json", *extra]
    env = {**os.environ, "OMP_NUM_THREADS": "1"}
    return subprocess.Popen([sys.executable, "-c", code, *words], stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                            text=True, env=env, cwd=ROOT)  # fmt: skip


def test_a_killed_benchmark_resumes_to_the_whole_table(data: str, tmp_path: Path) -> None:
    results = tmp_path / "out" / "results"
    first = start(data, tmp_path)
    end = time.monotonic() + 600
    while time.monotonic() < end and first.poll() is None and not list(results.glob("*.json")):
        time.sleep(0.05)
    first.send_signal(signal.SIGKILL)
    _, err = first.communicate()
    kept = {p.name: p.read_bytes() for p in results.glob("*.json")}
    assert kept, f"no run was finished before the kill: {err}"

    with pytest.raises(InputError, match="add --resume"):
        bench(data, str(tmp_path / "toy.toml"), tmp_path / "out", patterns="sum")

    again = start(data, tmp_path, "--resume")
    out, err = again.communicate()
    assert again.returncode == 0, err
    table = json.loads(out)
    assert {row["strategy"]: row["seeds"] for row in table["rows"]} == {"sum+rule": [0, 1], "concat": [0, 1]}
    assert sorted(p.name for p in results.glob("*.json")) == sorted(
        f"{s}.final.s{seed}.lr0.001.json" for s in ("sum+rule", "concat") for seed in (0, 1)
    )
    assert all((results / name).read_bytes() == content for name, content in kept.items()), "a finished run ran again"
    found = read_results(results)
    assert all(r.protocol == read_protocol(str(tmp_path / "toy.toml")) for r in found)
    assert {r.strategy: r.options for r in found} == {"concat": {}, "sum+rule": {"rule": 0.1}}
    assert all(r.images == 4 and r.class_names == ["near", "far"] for r in found)
    assert all(set(r.scores) == {"both", "without_rgb", "without_x", "noise_rgb", "low_light", "holes_x", "shift_x"}
               for r in found)  # fmt: skip
    for one in found:
        assert one.peak_mb and one.latency_ms and one.latency_ratio and "shapley rgb" in one.figures, one.strategy
    assert "| concat |" in (tmp_path / "out" / "ranked.md").read_text()
    page = (tmp_path / "out" / "index.html").read_text()
    assert "sum+rule" in page and "Accuracy and cost" in page and "Dissection" in page


def test_the_rate_is_chosen_and_a_run_that_diverges_ends_nothing(data: str, tmp_path: Path) -> None:
    """Two rates, one of which no training survives; and a strategy that is given no other."""
    protocol = replace(read_protocol(str(tmp_path / "toy.toml")), learning_rates=(1e-3, 1e30), select_on="test",
                       select_epochs=1, epochs=1, batch_size=2)  # fmt: skip
    results, _ = bench(data, protocol, tmp_path / "out", patterns="sum", seeds=[0])
    found = {(r.phase, r.learning_rate): r for r in results}
    assert set(found) == {("select", 1e-3), ("select", 1e30), ("final", 1e-3)}
    lost = found["select", 1e30]
    assert "the loss is" in lost.failed and not lost.scores and lost.num_params > 0
    assert [r.learning_rate for r in final_results(results)] == [1e-3] and not failed_rows(results)
    words = "--data folder:PATH --protocol toy.toml --strategies sum --seeds 1000 --out OUT"
    assert lost.command == f"fusionzoo bench {words}"

    again, _ = bench(data, protocol, tmp_path / "out", patterns="sum", seeds=[0], resume=True)
    assert again == read_results(tmp_path / "out" / "results") and len(again) == 3, "a failed run was tried again"

    said = CliRunner().invoke(command, ["--data", data, "--protocol", str(tmp_path / "toy.toml"), "--strategies", "sum",
                                        "--seeds", "0", "--out", str(tmp_path / "lost"), "--epochs", "1",
                                        "--set", "learning_rates=[1e30]", "--set", "batch_size=2"])  # fmt: skip
    assert isinstance(said.exception, CheckFailed) and "no strategy could be trained: final run" in str(said.exception)
    assert failed_rows(read_results(tmp_path / "lost" / "results")).keys() == {"sum"}


def test_a_published_architecture_is_a_row_of_its_own(data: str, tmp_path: Path) -> None:
    protocol = replace(read_protocol(str(tmp_path / "toy.toml")), epochs=1, dissect_images=0)
    assert strategies("published-mf*,sum", protocol) == (["published-mfnet", "sum"], {})
    with pytest.raises(UnknownNameError, match="unknown published architecture 'mfnett'; did you mean 'mfnet'"):
        strategies("published-mfnett", protocol)
    made = run_settings(Run("published-mfnet", "final", 0, 1e-3), protocol, data, "encoder")
    assert (made.model, made.init, made.decoder_args) == ("mfnet", "", {})
    assert made.encoder_lr is None, "encoders with random weights learn at the full rate"
    assert run_settings(Run("sum", "final", 0, 1e-3), protocol, data, "encoder").encoder_lr == pytest.approx(3e-4)
    (found,), _ = bench(data, protocol, tmp_path / "out", patterns="published-mfnet", seeds=[0])
    assert found.num_params == sum(p.numel() for p in create_model("mfnet", num_classes=2, x_channels=1).parameters())


def test_results_on_other_data_are_refused(data: str, tmp_path: Path) -> None:
    protocol = replace(read_protocol(str(tmp_path / "toy.toml")), epochs=1, dissect_images=0)
    out = tmp_path / "out" / "results"
    out.mkdir(parents=True)
    replace(result("gate", 0, 0.5), protocol=protocol, data="elsewhere").save(out / "gate.final.s0.lr0.001.json")
    with pytest.raises(InputError, match="results on elsewhere with 2 classes, not on data with 2; give a new --out"):
        bench(data, protocol, tmp_path / "out", patterns="sum", resume=True)


def test_results_on_other_images_of_the_same_names_are_refused(data: str, tmp_path: Path) -> None:
    protocol = replace(read_protocol(str(tmp_path / "toy.toml")), epochs=1, dissect_images=0)
    out, now = tmp_path / "out" / "results", labels_digest(data, protocol)
    out.mkdir(parents=True)
    held = replace(result("gate", 0, 0.5), protocol=protocol, data="data", class_names=["near", "far"])
    for labels, images in ((now[::-1], 4), (now, 3), ("", 3)):
        replace(held, labels=labels, images=images).save(out / "gate.final.s0.lr0.001.json")
        with pytest.raises(InputError, match="other images or labels than folder:.* has now; give a new --out"):
            bench(data, protocol, tmp_path / "out", patterns="gate", seeds=[0], resume=True)
    for labels in (now, ""):  # files of an older version do not say it
        replace(held, labels=labels).save(out / "gate.final.s0.lr0.001.json")
        (found,), _ = bench(data, protocol, tmp_path / "out", patterns="gate", seeds=[0], resume=True)
        assert found.scores["both"].miou == 0.5, "nothing is trained again"
    for part, number in (("label", 2), ("label", 6)):  # of training, of test
        path = tmp_path / "data" / part / f"{number}.png"
        before = path.read_bytes()
        Image.fromarray(1 - np.asarray(Image.open(path))).save(path)
        _labels_digest.cache_clear()
        assert labels_digest(data, protocol) != now
        path.write_bytes(before)
    _labels_digest.cache_clear()
    assert labels_digest(data, protocol) == now and labels_digest("planted-2", protocol) == ""


def test_rows_that_start_from_other_weights_of_the_same_name_are_refused(data: str, tmp_path: Path) -> None:
    protocol = replace(read_protocol(str(tmp_path / "toy.toml")), epochs=1, dissect_images=0)
    for place in ("a", "b"):
        lender = create_model("concat_mobilenetv1-025_fpn", num_classes=3, decoder_args=dict(protocol.decoder_args))
        lender.save_pretrained(tmp_path / place / "mine")
    shutil.copytree(tmp_path / "a" / "mine", tmp_path / "moved" / "mine")
    how: dict[str, Any] = {"patterns": "sum", "seeds": [0], "resume": True}
    (first,), _ = bench(data, protocol, tmp_path / "out", init=str(tmp_path / "a" / "mine"), **how)
    assert first.protocol.init == "mine" and len(first.weights) == 16
    with pytest.raises(InputError, match="started from other weights than --init mine names now; give a new --out"):
        bench(data, protocol, tmp_path / "out", init=str(tmp_path / "b" / "mine"), **how)
    (same,), _ = bench(data, protocol, tmp_path / "out", init=str(tmp_path / "moved" / "mine"), **how)
    assert (same.seconds, same.weights) == (first.seconds, first.weights), "not trained again"
    older = tmp_path / "out" / "results" / "sum.final.s0.lr0.001.json"
    replace(first, weights="").save(older)  # an older version did not write it
    assert bench(data, protocol, tmp_path / "out", init=str(tmp_path / "b" / "mine"), **how)[0][0].weights == ""


@pytest.mark.filterwarnings("ignore:.*images have no valid depth in any pixel")
def test_images_without_depth_are_left_out_or_kept_when_asked(data: str, tmp_path: Path) -> None:
    for number in (1, 5):  # of training, of test
        Image.fromarray(np.zeros((32, 48), np.uint16)).save(tmp_path / "data" / "x" / f"{number}.png")
    toy = ["--data", data, "--protocol", str(tmp_path / "toy.toml"), "--strategies", "sum", "--seeds", "0"]
    short = ["--epochs", "1", "--set", "dissect_images=0", "--json"]
    for empty, images in (("skip", 3), ("keep", 4)):
        done = CliRunner().invoke(command, [*toy, *short, "--out", str(tmp_path / empty), "--empty", empty])
        assert done.exit_code == 0, done.output
        (found,) = read_results(tmp_path / empty / "results")
        assert found.images == images and found.protocol.empty == empty
    with pytest.raises(InputError, match="5.png.*--empty skip|1 of 4 .*--empty skip"):
        bench(data, read_protocol(str(tmp_path / "toy.toml"), epochs=1), tmp_path / "o", patterns="sum", seeds=[0])
    with pytest.raises(UnknownNameError, match="'skpi'; did you mean 'skip'"):
        read_protocol(str(tmp_path / "toy.toml"), empty="skpi")


def test_a_factor_goes_to_the_strategies_that_have_the_loss(data: str, tmp_path: Path) -> None:
    protocol = replace(read_protocol(str(tmp_path / "toy.toml")), epochs=1, dissect_images=0)
    common = (replace(protocol, auxiliary={"sparsity": 0.5}), data, "")
    assert run_settings(Run("channel_exchange", "final", 0, 1e-3), *common).auxiliary == {"sparsity": 0.5}
    assert run_settings(Run("concat+rule", "final", 0, 1e-3), *common).auxiliary == {"rule": 0.1}
    both = replace(common[0], streams=0.3), data, ""
    assert run_settings(Run("sum+rule+streams", "final", 0, 1e-3), *both).auxiliary == {"streams": 0.3, "rule": 0.1}
    plain = Run("concat", "final", 0, 1e-2)
    assert run_settings(plain, *common).encoder_lr is None  # no weights are given: all learns at one rate
    assert run_settings(plain, protocol, data, "imagenet").encoder_lr == pytest.approx(0.3e-2)
    with pytest.raises(UnknownNameError, match="'sparsty'; did you mean 'sparsity'"):
        bench(data, replace(protocol, auxiliary={"sparsty": 1}), tmp_path / "o", patterns="channel_exchange,sum")
    assert not (tmp_path / "o").exists()


def test_what_is_wrong_with_the_words_of_a_benchmark(data: str, tmp_path: Path) -> None:
    def said(*more: str) -> str:
        words = ["--data", data, "--out", str(tmp_path / "o"), *more]
        return str(CliRunner().invoke(command, words).exception)

    assert "unknown strategy for --reference 'conact'; did you mean 'concat'" in said("--reference", "conact")
    assert "'published-mfnett'; did you mean 'published-mfnet'" in said("--reference", "published-mfnett")
    assert "chooses the learning rate on the split 'val'" in said() and "--set learning_rates=[0.003]" in said()
    toy = ["--protocol", str(tmp_path / "toy.toml"), "--strategies"]
    assert "trust is true or false, not 'maybe'" in said(*toy, "hybrid_trust@trust=maybe")
    assert variant("hybrid_trust@trust=False").options == {"trust": False}
    assert not (tmp_path / "o").exists()


@pytest.mark.filterwarnings("ignore:.*have no image in the training data")
def test_scene_types_are_scored_by_balanced_accuracy(tmp_path: Path) -> None:
    """A model that always says class 0 knows one class of those that are there, however few its images are."""
    data = parse_spec("planted-scenes", size=(48, 64), limit=24)
    model = create_model("concat_mobilenetv1-025_pool", num_classes=data.num_classes)
    torch.nn.init.zeros_(model.head.weight)
    torch.nn.init.zeros_(model.head.bias)
    model.head.bias.data[0] = 1
    kinds = {int(data[i]["label"]) for i in range(len(data))}
    found = score(model, data, CONDITIONS)
    assert 0 in kinds and len(kinds) > 2
    assert {round(s.miou * len(kinds), 6) for s in found.values()} == {1.0} == {found["both"].class_iou[0]}

    words = ["--data", "planted-scenes", "--out", str(tmp_path / "o"), "--strategies", "sum", "--seeds", "0"]
    small = ["train_images=8", "dissect_images=0", "batch_size=4", "size=[32,32]", "base=[32,48]", "epochs=1",
             "learning_rates=[0.001]"]  # fmt: skip
    words += [w for pair in small for w in ("--set", pair)]
    refused = CliRunner().invoke(command, [*words, "--protocol", "folder"])
    assert "a model with the decoder pool" in str(refused.exception) and not (tmp_path / "o").exists()
    said = CliRunner().invoke(command, words)
    assert said.exit_code == 0, said.exception
    table, page = (tmp_path / "o" / "ranked.md").read_text(), (tmp_path / "o" / "index.html").read_text()
    assert "balanced accuracy" in table and "IoU" not in table + page + said.output
    assert read_results(tmp_path / "o" / "results")[0].task == "classification"


def test_results_of_another_protocol_are_refused(tmp_path: Path) -> None:
    one = result("sum", 0, 0.5)
    one.save(tmp_path / "a.json")
    assert read_results(tmp_path) == [one]
    replace(one, protocol=BenchProtocol("toy", epochs=9)).save(tmp_path / "b.json")
    with pytest.raises(InputError, match="another protocol"):
        read_results(tmp_path)


def test_ranking_and_its_intervals_equal_scipy() -> None:
    base, other = [0.50, 0.52, 0.49], [0.53, 0.54, 0.53]
    runs = [result("concat", s, v) for s, v in enumerate(base)] + [result("gate", s, v) for s, v in enumerate(other)]
    runs.append(result("gate", SELECT_SEED, 0.99, phase="select"))
    first, second = rank(runs)
    assert (first.strategy, second.strategy, second.difference) == ("gate", "concat", None)
    assert first.miou == pytest.approx({"both": 1.6 / 3, "without_x": 0.8 / 3})
    assert first.spread["both"] == pytest.approx(0.01) and first.kinds == pytest.approx({"rgb": 1.6 / 3})
    want = ttest_rel(other, base).confidence_interval(0.95)
    assert first.difference == pytest.approx((0.03, want.low, want.high), abs=1e-5)
    pairs = [result("concat", 0, 0.5), result("gate", 1, 0.6), result("gate", 0, 0.6)]
    gate, concat = rank(pairs)
    assert gate.difference is None, "one common seed makes no interval"
    assert "| 60.00 +- 0.00 |" in ranked([gate]) and "| 50.00 |" in ranked([concat]), "one seed has no spread"


def test_a_training_term_is_compared_with_its_own_strategy() -> None:
    values = {"concat": [0.5, 0.5], "sum": [0.4, 0.42], "sum+rule": [0.43, 0.44], "sum+rule+streams": [0.41, 0.43]}
    rows = {r.strategy: r for r in rank([result(k, s, v) for k, of in values.items() for s, v in enumerate(of)])}
    assert rows["sum+rule"].term_gain is not None and rows["sum+rule"].term_gain[0] == pytest.approx(0.025)
    changed = {term: {row: v[0] for row, v in of.items()} for term, of in by_term(list(rows.values())).items()}
    assert changed == {"rule": {"sum": pytest.approx(0.025)}, "streams": {"sum+rule": pytest.approx(-0.015)}}
    assert rows["sum"].term_gain is None and rows["sum+rule"].difference is not None
    assert rows["sum+rule"].difference[0] == pytest.approx(-0.065)
    assert "+2.50 (" in ranked(list(rows.values()))


def test_a_row_says_its_options_and_the_rule() -> None:
    assert variant("hybrid_trust@trust=false@product=true+rule") == Variant(
        "hybrid_trust", {"trust": False, "product": True}, ("rule",)
    )
    protocol = BenchProtocol("toy")
    asked = "sum+rule+streams,rgb_only+rule,rgb_only+streams,early+streams,hybrid_trust@trust=false"
    fitting, refused = strategies(asked, protocol)
    assert fitting == ["sum+rule+streams", "rgb_only+streams", "hybrid_trust@trust=false"]
    assert list(refused) == ["rgb_only+rule", "early+streams"] and "no two streams" in refused["rgb_only+rule"]
    assert "no stream of one modality" in refused["early+streams"]
    assert "trust" in strategies("hybrid_trust@trst=false", protocol)[1]["hybrid_trust@trst=false"]
    for same in ("sum+streams+rule", "sum+rule+rule+streams"):  # one training, one name
        with pytest.raises(InputError, match=re.escape(f"{same!r} is another name of 'sum+rule+streams'")):
            variant(same)
    assert set(TERMS) <= {f.name for f in fields(BenchProtocol)}
    for wrong in ("sum+rul", "sum@trust"):
        with pytest.raises((InputError, UnknownNameError), match="did you mean 'rule'|OPTION=VALUE"):
            strategies(wrong, protocol)


def test_learning_rates_are_chosen_on_validation_scores_alone() -> None:
    protocol = BenchProtocol("toy", learning_rates=(1e-3, 3e-3))
    runs = select_runs(["sum", "gate"], protocol)
    assert [(r.strategy, r.learning_rate, r.seed) for r in runs] == [
        (s, lr, SELECT_SEED) for s in ("sum", "gate") for lr in (1e-3, 3e-3)
    ]
    scored = [
        result("sum", SELECT_SEED, 0.3, "select", 1e-3),
        result("sum", SELECT_SEED, 0.4, "select", 3e-3),
        result("sum", 0, 0.9, "final", 1e-3),
        result("gate", SELECT_SEED, 0.4, "select", 1e-3),
    ]
    rates = chosen_rates(["sum", "gate"], protocol, scored)
    assert rates == {"sum": 3e-3}, "gate's grid is not finished"
    assert [r.name for r in final_runs(rates, (0, 1))] == ["sum.final.s0.lr0.003", "sum.final.s1.lr0.003"]
    assert select_runs(["sum"], BenchProtocol("toy")) == []


def test_a_wider_grid_keeps_what_was_run_and_drops_rates_that_are_no_longer_the_best(tmp_path: Path) -> None:
    narrow, wide = (BenchProtocol("toy", learning_rates=rates) for rates in ((1e-3, 3e-3), (3e-3, 1e-2)))
    for strategy, best in (("sum", 3e-3), ("gate", 1e-2)):
        tried = [(1e-3, 0.2), (3e-3, 0.4), (1e-2, 0.5 if best == 1e-2 else 0.4)]
        runs = [(result(strategy, SELECT_SEED, miou, "select", lr), lr) for lr, miou in tried]
        runs += [(result(strategy, 0, 0.6, "final", 3e-3), 3e-3)]
        for one, lr in runs:
            made = replace(one, protocol=wide if lr == 1e-2 else narrow)
            made.save(tmp_path / f"{strategy}.{one.phase}.{lr}.json")
    found = read_results(tmp_path, wide)
    assert {r.protocol.learning_rates for r in found} == {(1e-3, 3e-3, 1e-2)}
    assert chosen_rates(["sum", "gate"], found[0].protocol, found) == {"sum": 3e-3, "gate": 1e-2}
    assert [r.strategy for r in final_results(found)] == ["sum"], "gate's final run has a rate that lost"
    assert [row.strategy for row in rank(found)] == ["sum"]


def test_strategies_that_do_not_fit_are_named_with_the_reason() -> None:
    fitting, refused = strategies("concat,hybrid", BenchProtocol("toy", encoder="mobilenetv1-025"))
    assert (fitting, refused) == (["concat", "hybrid"], {})
    with pytest.raises(UnknownNameError, match="concat"):
        strategies("conkat", BenchProtocol("toy"))


def test_fields_of_a_protocol_are_changed_strictly(tmp_path: Path) -> None:
    changed = read_protocol("planted-2", drop_modality=0.2, size=[48, 64], epochs=None)
    assert (changed.drop_modality, changed.size, changed.epochs) == (0.2, (48, 64), 8)
    assert changed.key != read_protocol("planted-2").key
    for wrong, said in (({"drop": 1}, "drop"), ({"epochs": "x"}, "epochs")):
        with pytest.raises(InputError, match=said):
            read_protocol("planted-2", **wrong)
    words = ["--data", "planted", "--out", str(tmp_path / "o"), "--set", "drop_modalty=0.2"]
    done = CliRunner().invoke(command, words)
    assert isinstance(done.exception, InputError) and "did you mean 'drop_modality'" in str(done.exception)


def test_what_is_not_there_is_said_before_anything_is_trained(data: str, tmp_path: Path) -> None:
    assert read_protocol("nyu40").init == "efficientnet_lite0"
    toy = read_protocol(str(tmp_path / "toy.toml"))
    for protocol, said in (
        (replace(toy, init="nowhere"), "protocol toy starts its encoders from 'nowhere'"),
        (replace(toy, test_split="tset"), "did you mean 'test'"),
        (replace(toy, learning_rates=(1e-3, 3e-3)), "'val'"),
    ):
        with pytest.raises((InputError, UnknownNameError), match=said) as error:
            bench(data, protocol, tmp_path / "out", patterns="sum")
        assert "\n" not in str(error.value) and not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("text", "said"),
    [("epoch = 3", "did you mean 'epochs'"), ("epochs = 'x'", "epochs"), ("epochs = [", "cannot be read")],
)
def test_a_wrong_protocol_file_is_one_line(text: str, said: str, tmp_path: Path) -> None:
    (tmp_path / "p.toml").write_text(text)
    with pytest.raises(InputError, match=said):
        read_protocol(str(tmp_path / "p.toml"))
    with pytest.raises(UnknownNameError, match="planted"):
        read_protocol("plantet")
