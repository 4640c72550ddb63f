"""Results as a study records them, without measuring: trials, repetitions, a small study, variants of one model, a recording."""

from dataclasses import replace
from pathlib import Path

import numpy as np

from studylib.results.records import Measurement, Trial
from studylib.results.results import Results

EVALUATED = {
    "n": 100, "finite": True, "output_mse": 1e-9, "max_abs_error": 1e-4, "max_rel_error": 1e-4, "cosine": 1.0, "data": "real",
    "agreeing": [True] * 100, "independent": True, "status": "ok", "reason": "", "placement": "CPU",
}  # fmt: skip


def trial(**changes):
    """A trial with sensible fields, any of which may be changed."""
    facts = {
        "model": "mnist_cnn", "weights": "trained", "recipe": "fp32", "format": "onnx", "runtime": "onnxruntime", "runtime_version": "1",
        "provider": "cpu", "threads": 2, "scenario": "single_stream", "batch_size": 1, "artifact_key": "a" * 64,
        "evaluation_id": "evaluation-x", "conditions": "c",
    }  # fmt: skip
    return Trial(**facts | changes)


def measurement(of, repetition=0, values=(100_000,) * 200, **changes):
    """A repetition of a trial; the hour of the day tells the round."""
    facts = {
        "trial_id": of.id, "campaign": 1, "repetition": repetition, "attempt": 0, "session": "s",
        "status": "ok", "reason": "", "host_id": "h",
        "started_at": f"2026-01-01T{repetition:02}:00:00+00:00", "ended_at": f"2026-01-01T{repetition:02}:30:00+00:00",
        "values_ns": tuple(values), "warmup_ns": (1,),
        "cold_start_ns": {"process": 10**7, "activate": 10**8, "load": 10**6, "first_inference": 10**6, "total": 2 * 10**8},
        "memory_bytes": {
            "rss_before": 10**7, "rss_after_load": 2 * 10**7, "rss_after_first": 3 * 10**7, "rss_peak": 4 * 10**7, "vms_peak": 10**8,
        },
        "placement": "CPU", "disturbances": {"steal_share": 0.0},
    }  # fmt: skip
    return Measurement(**facts | changes)


def run_facts(native: bool = True, **changes) -> dict:
    """What ``run.json`` holds, for results that a test records itself."""
    facts = {
        "study": "cpu-smoke", "hardware": "cpu", "title": "Test machine", "effort": "smoke", "command": "make study HW=cpu EFFORT=smoke",
        "native": native,
        "mismatches": [] if native else ["the architecture is x86_64, not aarch64"], "threads": 2, "host_id": "h",
        "host": {"description": "a test host", "kernel": "6", "isa": ["avx2"]}, "failures": {}, "git": {}, "python": "3.11",
        "packages": {"numpy": "2"},
        "parameters": {
            "choice": {"max_accuracy_loss": 0.01},
            "settings": {"repetitions": 8, "min_values": 140, "min_duration_s": 0.1, "max_duration_s": 5, "warmup_s": 0.1},
        },
    }  # fmt: skip
    return facts | changes


def small_study(folder: Path, native: bool = True, weights: str = "trained", rounds: int = 8, n: int = 1000) -> Results:
    """Record a small study: a baseline, a contender twice as fast, an A/A twin and a skipped trial."""
    results = Results(folder)
    slow = trial(runtime="tensorflow", format="saved_model", weights=weights, artifact_key="b" * 64, evaluation_id="evaluation-slow")
    fast = trial(weights=weights, evaluation_id="evaluation-fast")
    twin = trial(weights=weights, evaluation_id="evaluation-fast", control=True)
    skipped = trial(recipe="fp16", artifact_key="", evaluation_id="", reason="no such recipe here")
    artifact = {"path": "m", "model": "mnist_cnn", "sha256": "d" * 64, "lineage": [{"made_by": "source", "config": {}, "key": "k"}]}
    artifacts = [
        artifact | {"format": "onnx", "precision": "fp32", "key": "a" * 64, "size_bytes": 1000},
        artifact | {"format": "saved_model", "precision": "fp32", "key": "b" * 64, "size_bytes": 4000},
    ]
    results.save_plan([slow, fast, twin, skipped], run_facts(native), artifacts)
    rng = np.random.default_rng(2)
    for of, centre in ((slow, 200_000), (fast, 100_000), (twin, 100_000)):
        for repetition in range(rounds):
            values = (centre * rng.lognormal(0, 0.02, 200)).astype(int).tolist()
            results.record(measurement(of, repetition, values))
    right = [True] * (n - n // 50) + [False] * (n // 50)
    found = {
        "n": n,
        "finite": True,
        "output_mse": 1e-9,
        "sqnr": 90.0,
        "max_abs_error": 1e-4,
        "max_rel_error": 1e-4,
        "cosine": 1.0,
        "data": "real",
        "agreeing": [True] * n,
        "correct": right,
        "independent": True,
    }
    for of in (slow, fast):
        results.record_evaluation(of.evaluation_id, found | {"status": "ok", "reason": "", "placement": "CPU"})
    return results


def study_of_variants(
    folder: Path, of: dict, isa=("avx2", "avx512_vnni"), searches: dict | None = None, most: float = 0.01, control: int = 0, **facts
) -> Results:
    """Record variants of one model: recipe to (median in ns, operators, right answers, SQNR in dB, more of its file).

    A median of 0 is not timed. ``more``: notes, macs, islands, sha256, evaluation, and names of an evaluation that it is
    ``without``. ``searches``: what ``search.json`` holds. ``most``: the budget of adaptive recipes.
    ``control``: the median in ns of an A/A twin of the first.
    """
    results, trials, artifacts, inside = Results(folder), [], [], {}
    rng = np.random.default_rng(1)
    for number, (recipe, (centre, operators, right, sqnr, more)) in enumerate(of.items()):
        key = f"{number:064}"
        made = trial(recipe=recipe, artifact_key=key, evaluation_id=f"evaluation-{number}", **facts)
        trials.append(made)
        step = {"made_by": "it", "config": {}, "key": key, "notes": more.get("notes", {})}
        known = {
            "path": "m",
            "model": made.model,
            "sha256": more.get("sha256", key),
            "lineage": [step],
            "format": "onnx",
            "precision": recipe,
        }
        sizes = {"size_bytes": 4000 // (number + 1), "gzip_bytes": 3000 // (number + 1)}
        artifacts.append(known | sizes | {"key": key})
        inside[key] = {
            "operators": operators, "macs": more.get("macs", 1000), "float_islands": more.get("islands"), "parameters": 10,
            "opset": {"": 17}, "inputs": [], "outputs": [], "consequences": [],
        }  # fmt: skip
        for repetition in range(8 if centre else 0):
            values = (centre * rng.lognormal(0, 0.02, 200)).astype(int).tolist()
            results.record(measurement(made, repetition, values))
        answers = {"correct": [True] * right + [False] * (100 - right), "sqnr": sqnr}
        found = EVALUATED | answers | more.get("evaluation", {})
        results.record_evaluation(made.evaluation_id, {name: found[name] for name in found if name not in more.get("without", ())})
    if control:
        twin = replace(trials[0], control=True)
        trials.append(twin)
        for repetition in range(8):
            results.record(measurement(twin, repetition, (control * rng.lognormal(0, 0.02, 200)).astype(int).tolist()))
    host = {"description": "a test host", "kernel": "6", "isa": list(isa)}
    run = run_facts(host=host)
    run["parameters"] |= {"choice": {"max_accuracy_loss": most}}
    results.save_plan(trials, run, artifacts, (), {"inside": inside, "search": searches or {}})
    return results
