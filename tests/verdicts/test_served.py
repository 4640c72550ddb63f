"""What is said of servers, from recorded results with planted facts."""

from dataclasses import asdict

import numpy as np
import pytest

from studylib.report.by_name import tables
from studylib.report.figures.serving import serving as figure_of
from studylib.report.tables import served as served_tables
from studylib.results.records import SERVING
from studylib.results.results import Results
from studylib.scenarios import Facts
from studylib.verdicts import served
from studylib.verdicts.findings import Findings
from studylib.verdicts.served import Standing
from studylib.verdicts.winners import smallest_batch
from tests.recorded_results import EVALUATED, measurement, run_facts, trial

ROUNDS = 8
# Answers a second of each server with one client and with sixteen; and milliseconds, MB and seconds of its process.
FAST, SLOW = {1: 600.0, 16: 1000.0}, {1: 400.0, 16: 450.0}
_MB = {"onnxruntime": 120, "tensorflow": 650}


def _served(backend: str, **changes):
    more = {"runtime": f"own/{backend}", "sweep": SERVING, "threads": 1, "evaluation_id": f"evaluation-own-{backend}"}
    return trial(**more | {"artifact_key": backend.ljust(64, "0")} | changes)


def _facts(rate: float, **more) -> dict:
    told = {
        "queue_ns": 30_000, "compute_ns": 200_000, "total_ns": 1_500_000, "wire_ns": 1_270_000, "queries": 200,
        "wire": "v2_grpc", "server_cpu_s_per_query": 0.0014, "client_cpu_share": 0.2, "batches": {"1": 200},
    }  # fmt: skip
    return asdict(Facts("loop", 1, completed_samples_per_s=rate, served=told | more))


@pytest.fixture
def study(tmp_path):
    """Function: two servers with their direct sessions; ``rates`` by backend and clients."""

    def make(fast=FAST, slow=SLOW, batching: float = 1500.0, busy: float = 0.4) -> Results:
        results, trials, rng = Results(tmp_path / "cpu"), [], np.random.default_rng(1)
        for backend, rates in (("onnxruntime", fast), ("tensorflow", slow)):
            direct = _served(backend, runtime=backend, evaluation_id=f"evaluation-{backend}")
            wire = _served(backend, options="wire=v2_json")
            many = _served(backend, options="clients=16", scenario="concurrency")
            together = _served(backend, options="batch=8,clients=16,wait=2", scenario="concurrency")
            trials += [_served(backend), direct, wire, many, together]
            results.record_evaluation(f"evaluation-own-{backend}", EVALUATED | {"sqnr": 90.0, "correct": [True] * 100})
            results.record_evaluation(f"evaluation-{backend}", EVALUATED | {"sqnr": 90.0, "correct": [True] * 100})
            for of, centre, rate, more in (
                (trials[-5], 1_500_000, rates[1], {}),
                (direct, 150_000, 6000.0, None),
                (wire, 3_000_000, 300.0, {"wire": "v2_json"}),
                (many, 16_000_000, rates[16], {"client_cpu_share": busy}),
                (together, 11_000_000, batching, {"batches": {"1": 20, "4": 180}}),
            ):
                for repetition in range(ROUNDS):
                    values = (centre * rng.lognormal(0, 0.02, 200)).astype(int).tolist()
                    noisy = rate * rng.lognormal(0, 0.01)
                    facts = asdict(Facts("loop", 1, completed_samples_per_s=noisy)) if more is None else _facts(noisy, **more)
                    memory = {"rss_after_first": _MB[backend] * 10**6, "vms_after_first": 7 * _MB[backend] * 10**6}
                    memory |= {"rss_peak": 10**9, "vms_peak": 10**9} | ({"rss_before": 1} if more is None else {})
                    cold = {"load": (3 if backend == "onnxruntime" else 8) * 10**9, "first_inference": 1, "total": 10**10}
                    told = {"scenario_facts": facts, "memory_bytes": memory, "cold_start_ns": cold}
                    results.record(measurement(of, repetition, values, **told))
        results.save_plan(trials, run_facts(), [])
        return results

    return make


def test_what_is_asked_over_a_wire_is_in_no_comparison_of_the_others(study):
    results = study()
    assert results.compared() == []
    assert Findings.of(results).speed_ups == []
    assert [winner.variant for winner in smallest_batch(Findings.of(results))] in ([], [None])


def test_a_server_stands_beside_its_runtime_without_one(study):
    table = tables.servers(study())
    assert list(table.server) == ["own/onnxruntime", "own/tensorflow"]
    assert [float(text.split("x")[0]) for text in table["left behind the server"]] == pytest.approx([0.1, 0.1], rel=0.02)
    assert set(table.wire_ms) == {"1.27"}
    assert list(table.rss_mb.str.split(" ").str[0]) == ["120", "650"]
    assert list(table.start_s.str.split(" ").str[0]) == ["3.00", "8.00"]


def test_a_wire_is_held_against_the_usual_one(study):
    table = tables.wires(study())
    assert list(table.wire) == ["v2_grpc (usual)", "v2_json"] * 2
    assert table["against the usual wire"][1].startswith("0.5")


def test_batching_has_a_verdict_with_the_batches_that_formed(study):
    pays = tables.load(study())
    assert list(pays["mean batch"]) == ["1.00", "3.70", "1.00", "3.70"]
    assert pays.batching[1].endswith(", pays")
    # Batches of 4 that take 0.2 ms, as one sample alone does: 20 of 1 and 45 of 4.
    assert pays.why[1] == "a sample computes 3.1 times as fast in batches of 3.1, and computing is 14% of the server's time"
    assert float(pays.answers_per_s[0].split(" ")[0].replace(",", "")) == pytest.approx(1000, rel=0.02)


def test_batching_that_does_not_pay_says_so(study):
    assert tables.load(study(batching=700.0)).batching[1].endswith(", does not pay here")


def test_claims_hold_for_the_runtimes_behind_the_same_front_and_tensorflow_serving_is_untested(study):
    found = {one.claim.id: one for one in served.claims(Findings.of(study()))}
    assert {name: one.standing for name, one in found.items()} == dict.fromkeys(("K4", "K5", "K6", "K7"), Standing.HOLDS)
    assert found["K4"].ratio.ratio == pytest.approx(650 / 120, rel=0.01)
    assert found["K6"].ratio.ratio == pytest.approx(8 / 3, rel=0.01)
    assert found["K7"].ratio.ratio == pytest.approx((1000 / 450) / (600 / 400), rel=0.02)
    table = tables.serving_claims(study())
    assert table["TensorFlow Serving itself"].str.startswith("not testable here").all()


def test_a_claim_can_fail(study):
    found = {one.claim.id: one for one in served.claims(Findings.of(study(fast={1: 600.0, 16: 610.0})))}
    assert found["K7"].standing is Standing.FAILS


@pytest.mark.parametrize(("model", "claim"), [("resnet50", "K1"), ("bert_base", "K2"), ("deepspeech", "K3")])
def test_the_article_s_models_have_its_claims(model, claim):
    assert [one.id for one in served.CLAIMS if one.model == model] == [claim]


def test_a_full_client_is_told(study):
    table = tables.driving(study(busy=0.97))
    assert table.fits[0].startswith("no: ask with fewer clients")
    assert table["client's ceiling"][0] == "1 times what it asked"


@pytest.mark.parametrize(("busy", "words"), [(0.3, "yes"), (0.5, "with care: its ceiling is less than 3 times what it asked")])
def test_a_client_can_ask_three_times_as_fast_or_that_is_told(study, busy, words):
    assert tables.driving(study(busy=busy)).fits[0] == words


def test_one_server_alone_leaves_claims_untested(tmp_path):
    results = Results(tmp_path / "cpu")
    alone = _served("onnxruntime")
    results.save_plan([alone], run_facts(), [])
    found = served.claims(Findings.of(results))
    assert {one.standing for one in found} == {Standing.UNTESTED}
    assert all("SERVE=own/onnxruntime,own/tensorflow" in one.why for one in found)


def test_the_figure_says_what_it_shows(study):
    drawing = figure_of(study())
    assert "mnist_cnn own/onnxruntime" in drawing.alt
    assert "answers/s with 16 clients" in drawing.alt


def test_sentences_name_what_one_client_waits_for_and_how_the_claims_stand(study):
    first, second, claims = served_tables.sentences(study())
    assert first.startswith("mnist_cnn behind a server: own/onnxruntime answers one client in 1.5")
    assert "; at most 1,490 [" in first
    assert first.endswith("answers/s, with 16 clients.")
    assert "own/tensorflow" in second
    assert claims.startswith(
        "mnist_cnn, what the article says of ONNX Runtime, held against TensorFlow behind the same front: it needs less"
    )
    assert claims.endswith("it starts faster: holds; its lead grows with the number of clients: holds.")


def test_without_servers_there_are_no_rows_and_no_figure(tmp_path):
    results = Results(tmp_path / "cpu")
    results.save_plan([trial()], run_facts(), [])
    assert figure_of(results) is None
    assert served_tables.sentences(results) == []
    assert all(tables.__getattr__(name)(results).empty for name in ("driving", "servers", "wires", "load", "serving_claims"))
