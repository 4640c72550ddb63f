"""One job in one process: ``python -m studylib.measure.worker job.json result.json``.

The job and its result are plain JSON. The result file appears whole or not at all. Kinds of job: ``build`` (make
artifacts), ``evaluate`` (quality of one artifact in one runtime), ``check`` (whether it answers batches as it does single
samples), ``pack``, ``judge`` and ``judge_batch`` (what of those stays here when a phone answers), ``locate`` (where an
artifact that is not the same model begins to differ), ``find_rate`` (the rate of the server scenario), ``measure`` (one
repetition of one trial), ``peaks`` (what this host can do at most).
"""

import json
import os
import sys
import time
import traceback
from pathlib import Path

STARTED_NS = time.perf_counter_ns()


from studylib.artifacts.store import Store, write_text  # noqa: E402
from studylib.errors import ArtifactError, OutputError, StudyError, told  # noqa: E402
from studylib.machine import memory_limit  # noqa: E402
from studylib.machine.clock import now  # noqa: E402
from studylib.machine.processes import die_with_parent  # noqa: E402

# What was under way, for the words of an error whose cause is not known.
_STAGES = {
    "build": "making artifacts",
    "source": "reading the model",
    "samples": "making samples",
    "reference": "asking the model itself",
    "recipe": "converting",
    "search": "searching precisions",
    "inside": "looking into the file",
    "packed": "packing the file",
    "evaluate": "evaluating",
    "check": "checking batches",
    "pack": "making a phone's queries",
    "judge": "reading a phone's answers",
    "judge_batch": "reading a phone's answers",
    "locate": "looking for the layer",
    "find_rate": "searching the rate",
    "measure": "measuring",
    "peaks": "measuring the peaks",
}


def build(job: dict) -> dict:
    """Make artifacts one after the other and print a line for each; an error costs that artifact and what needs it."""
    failures = dict(job["failed"])
    for target in job["targets"]:
        print(json.dumps({"begun": target["key"]}), flush=True)
        reason = None
        try:
            missing = next((failures[key] for key in target["needs"] if key in failures), None)
            if missing:
                raise ArtifactError(missing)
            make(target, Store(Path(job["store"])))
        except OutputError:
            raise  # a full disk is no finding about this artifact: the study stops and says so
        except StudyError as error:
            reason = str(error)
        except Exception as error:  # a framework's converter may raise anything: the row shows it
            reason = told(error, _STAGES[target["kind"]])
        if reason:
            failures[target["key"]] = reason
        print(json.dumps({"ended": target["key"], "reason": reason}), flush=True)
    return {}


def make(target: dict, store: Store):
    """The artifact that ``target`` describes, with everything it starts from."""
    from studylib.build.descriptions import describe, packed
    from studylib.build.searched import searched
    from studylib.build.sources import Sources
    from studylib.models.own import find_model
    from studylib.models.zoo import Samples
    from studylib.recipes import find_recipe

    sources = Sources(find_model(target["model"]), target["seed"])
    if target["kind"] == "samples":
        return sources.samples(target["split"], target["n"], store)
    artifact = sources.source(store) if target["steps"] or target["kind"] != "reference" else None
    for step in target["steps"]:
        recipe = find_recipe(*step, sources.model.trust, target["seed"])
        artifact = recipe(artifact, store, _lessons(recipe, sources, target, store))
    if target["kind"] == "reference":
        return sources.reference(target["n"], store, artifact)
    if target["kind"] == "search":
        return searched(artifact, target, sources, store)
    if target["kind"] == "packed":
        return packed(artifact, store)
    if target["kind"] == "inside":
        query = Samples.load(sources.samples("test", target["n"], store).path).batch(0, 1)
        return describe(artifact, {name: values.shape for name, values in query.items()}, store, sources.model.trust)
    return artifact


def _lessons(recipe, sources, target: dict, store: Store):
    """What a recipe learns from: samples of the training split, or the search that was made before."""
    if recipe.learns_from == "search":
        return store.get(target["lessons"])
    return sources.samples("train", target[recipe.learns_from], store) if recipe.learns_from else None


def evaluate(job: dict) -> dict:
    """Run every test sample through the runtime, one at a time as it will be deployed, and hold it against the source.

    ``batches`` of the result: what was found of queries of the job's ``sizes``, while the session is open.
    """
    from studylib.quality import batch_check, parity, varying
    from studylib.runtimes import why_fallen_back

    session, samples, _ = open_session(job)
    answers = [session.anew(samples.batch(index, 1)) for index in range(len(samples))]
    elsewhere = why_fallen_back(job["provider"], session)
    found = parity.judged(job, varying.gathered(answers), samples.labels, session.placement(), session.nodes(), elsewhere)
    sizes = job.get("sizes", []) if found["status"] == "ok" else []
    return found | {"batches": [batch_check.check(session.run, samples, size, job["precision"], answers) for size in sizes]}


def check(job: dict) -> dict:
    """What is found of queries of the job's ``sizes``, under its threads and settings, against single answers under the same."""
    from studylib.quality import batch_check

    session, samples, _ = open_session(job)
    return {"batches": [batch_check.check(session.run, samples, size, job["precision"]) for size in job["sizes"]]}


def pack(job: dict) -> dict:
    """The queries of a phone, as raw bytes."""
    from studylib.quality import parity

    return parity.pack(job)


def judge(job: dict) -> dict:
    """The evaluation of what a phone answered."""
    from studylib.quality import parity

    return parity.judge(job)


def judge_batch(job: dict) -> dict:
    """What is found of a batch that a phone answered."""
    from studylib.quality import parity

    return parity.judge_batch(job)


def locate(job: dict) -> dict:
    """The first layer at which an artifact differs from its source, on one ``sample``, by more than its precision allows, in words."""
    from studylib.models.zoo import Samples
    from studylib.quality.divergence import FORMATS, first_divergence
    from studylib.quality.metrics import tolerance

    closed = next((job[name] for name in ("source_format", "format") if job[name] not in FORMATS), None)
    if closed:
        return {"text": f"which layer is not known: {closed} files cannot be looked into while they run"}

    samples = Samples.load(Path(job["samples"]))
    source, suspect = (Path(job["source"]), job["source_format"]), (Path(job["artifact"]), job["format"])
    try:
        found = first_divergence(source, suspect, samples.batch(job["sample"], 1), tolerance(job["precision"]).sqnr_db)
    except StudyError as error:
        return {"text": f"which layer is not known: {error}"}
    return {"text": found.text if found else f"every layer that can be compared agrees on sample {job['sample']}"}


def measure(job: dict) -> dict:
    """One repetition: open, first inference, warm-up, then the values."""
    from dataclasses import asdict

    from studylib.machine import counters, energy, nvml
    from studylib.scenarios import asking, drive

    started_at = now()
    session, samples, facts = open_session(job)
    clock, first = session.clock, samples.batch(0, job["batch_size"])
    start = clock()
    session.run(first)
    facts["cold_start_ns"]["first_inference"] = clock() - start
    facts["cold_start_ns"]["total"] = time.perf_counter_ns() - job["spawned_ns"]
    facts["memory_bytes"] |= memory_at("after_first")
    meters, why_no_meter = energy.find_meters(job["provider"])
    warmup = asking.warm_up(session, samples, job)
    load = asking.load_of(job, asking.typical_ns(warmup))
    # Files first, quick counters last, and the other way round afterwards: the values stand between the quick ones.
    before = counters.sensors() | nvml.sensors(job["provider"])
    meter = energy.Reading(meters, why_no_meter)
    before |= counters.usage()
    driven = drive(session, samples, load, job["driver"])
    ended = counters.usage()
    spent = meter.until_now()
    ended |= counters.sensors() | nvml.sensors(job["provider"])
    after = memory()
    facts["memory_bytes"] |= {"rss_peak": after["rss_peak"], "vms_peak": after["vms_peak"]} | nvml.memory(job["provider"])
    return facts | {
        "started_at": started_at,
        "ended_at": now(),
        "values_ns": driven.values_ns.tolist(),
        "warmup_ns": warmup.values_ns.tolist(),
        "placement": session.placement(),
        "disturbances": counters.disturbances(before, ended) | nvml.disturbances(before, ended) | session.disturbances(),
        "energy": spent,
        "scenario_facts": asdict(driven.facts),
    }


def peaks(job: dict) -> dict:
    """What this host can do at most with ``threads``: arithmetic and memory bandwidth."""
    from studylib.measure.peaks.measuring import measure

    return measure(job["threads"]) | {"measured_at": now()}


def find_rate(job: dict) -> dict:
    """The highest rate of queries that this session answers within the latency bound."""
    from studylib.scenarios import asking, drive, rate

    session, samples, _ = open_session(job)
    typical = asking.typical_ns(asking.warm_up(session, samples, job))
    return rate.find_rate(lambda load: drive(session, samples, load, job["driver"]), asking.load_of(job, typical), job["limit_s"])


def open_session(job: dict):
    """Open the job's artifact in its runtime; returns session, samples and the facts of the cold start."""
    from studylib.models.zoo import Samples
    from studylib.runtimes import RUNTIMES, Options
    from studylib.runtimes.settings import read

    samples = Samples.load(Path(job["samples"]))
    runtime, options = RUNTIMES[job["runtime"]], Options(job["provider"], job["threads"], read(job["options"]))
    times = {"process": STARTED_NS - job["spawned_ns"]}
    start = time.perf_counter_ns()
    runtime.activate(options)
    activated = time.perf_counter_ns()
    facts = memory_at("before")
    if job.get("memory_limit_bytes") and not job.get("memory_group"):
        memory_limit.limit_data(job["memory_limit_bytes"], job["threads"])
    loading = time.perf_counter_ns()
    session = runtime.load(Path(job["artifact"]), options)
    times |= {"activate": activated - start, "load": time.perf_counter_ns() - loading}
    return session, samples, {"cold_start_ns": times, "memory_bytes": facts | memory_at("after_load")}


def memory() -> dict[str, int]:
    """Resident and virtual memory of this process in bytes, now and at its peak."""
    try:
        lines = Path("/proc/self/status").read_text().splitlines()
    except OSError:
        import resource

        import psutil

        now, unit = psutil.Process().memory_info(), 1 if sys.platform == "darwin" else 1024
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit
        return {"rss": now.rss, "vms": now.vms, "rss_peak": peak, "vms_peak": now.vms}
    kib = {line.split(":")[0]: int(line.split()[1]) for line in lines if line.startswith(("VmRSS", "VmSize", "VmHWM", "VmPeak"))}
    names = {"rss": "VmRSS", "vms": "VmSize", "rss_peak": "VmHWM", "vms_peak": "VmPeak"}
    return {name: kib[told] * 1024 for name, told in names.items()}


def memory_at(moment: str) -> dict[str, int]:
    """``rss_<moment>`` and ``vms_<moment>`` in bytes."""
    now = memory()
    return {f"{kind}_{moment}": now[kind] for kind in ("rss", "vms")}


JOBS = {
    "build": build,
    "evaluate": evaluate,
    "check": check,
    "pack": pack,
    "judge": judge,
    "judge_batch": judge_batch,
    "locate": locate,
    "find_rate": find_rate,
    "measure": measure,
    "peaks": peaks,
}


def answered(job: dict) -> dict:
    """The result of a job, or ``refused`` and why, in words.

    Raises what is no finding about the job: a full disk ends the study, and memory that ran out is told apart by the executor.
    """
    try:
        return JOBS[job["kind"]](job)
    except (OutputError, MemoryError):
        raise
    except StudyError as error:
        return {"refused": str(error)}
    except Exception as error:  # a runtime may raise anything: the row shows it, the log keeps all of it
        traceback.print_exc()
        return {"refused": told(error, _STAGES[job["kind"]])}


def main(job_path: str, result_path: str) -> None:
    die_with_parent()
    job = json.loads(Path(job_path).read_text(encoding="utf-8"))
    if job.get("cpus"):
        os.sched_setaffinity(0, job["cpus"])
    if job.get("memory_group") and not memory_limit.enter(job["memory_group"]):
        job["memory_group"] = None  # the process limits itself then
    write_text(Path(result_path), json.dumps(answered(job)))


if __name__ == "__main__":
    main(*sys.argv[1:])
