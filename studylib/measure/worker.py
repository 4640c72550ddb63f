"""One job in one process: ``python -m studylib.measure.worker given.json result.json``.

What is given holds the job (`studylib.build.jobs`) and the site (`Site`), both plain JSON; the result is plain JSON too. The
result file appears whole or not at all. Artifacts are found by their keys in the site's store; their hashes were checked before
the process was started, so that a measured process reads no file but to load it.
"""

from __future__ import annotations

import atexit
import json
import os
import sys
import time
import traceback
from pathlib import Path

STARTED_NS = time.perf_counter_ns()


from dataclasses import replace  # noqa: E402
from typing import TYPE_CHECKING  # noqa: E402

from studylib.artifacts.store import write_text  # noqa: E402
from studylib.build.site import Site  # noqa: E402
from studylib.errors import Kind, OutputError, StudyError, kind_of, told  # noqa: E402
from studylib.machine import memory_limit  # noqa: E402
from studylib.machine.clock import now  # noqa: E402
from studylib.machine.lean_imports import import_leanly  # noqa: E402
from studylib.machine.process_memory import memory, memory_at  # noqa: E402
from studylib.machine.processes import die_with_parent, leave  # noqa: E402

if TYPE_CHECKING:  # what they import must find the processors fixed and the memory limited
    from studylib.build import jobs


def build(job: jobs.BuildJob, site: Site) -> dict:
    """Make artifacts."""
    from studylib.build import making

    return making.build(job, site)


def evaluate(job: jobs.EvaluateJob, site: Site) -> dict:
    """Run every test sample through the runtime, one at a time as it will be deployed, and hold it against the source.

    ``batches`` of the result: what was found of queries of the job's ``sizes``, while the session is open.
    """
    from studylib.quality import batch_check, parity, varying
    from studylib.runtimes import why_fallen_back

    session, samples, _ = open_session(job, site)
    answers = [session.anew(samples.batch(index, 1)) for index in range(len(samples))]
    ran = parity.Ran(session.placement(), session.nodes(), why_fallen_back(job.provider, session))
    found = parity.judged(varying.gathered(answers), samples.labels, _wanted(job, site), job.criteria, ran)
    sizes, precision = job.sizes if found["status"] == "ok" else (), job.criteria.precision
    return found | {"batches": [batch_check.check(session.run, samples, size, precision, answers) for size in sizes]}


def check(job: jobs.CheckJob, site: Site) -> dict:
    """What is found of queries of the job's ``sizes``, under its threads and settings, against single answers under the same."""
    from studylib.quality import batch_check

    session, samples, _ = open_session(job, site)
    return {"batches": [batch_check.check(session.run, samples, size, job.precision) for size in job.sizes]}


def pack(job: jobs.PackJob, site: Site) -> dict:
    """The queries of a phone, as raw bytes."""
    from studylib.quality import parity

    return parity.pack(site.path(job.artifact), _samples(job, site), job.n, job.batch_size, site.folder)


def judge(job: jobs.JudgeJob, site: Site) -> dict:
    """The evaluation of what a phone answered."""
    from studylib.quality import parity

    samples = _samples(job, site).taken(range(job.n))
    outputs = parity.phone_answers(site.path(job.artifact), samples, site.folder)
    ran = parity.Ran(job.placement, {}, job.elsewhere)
    return parity.judged(outputs, samples.labels, _wanted(job, site, job.n), job.criteria, ran)


def judge_batch(job: jobs.JudgeBatchJob, site: Site) -> dict:
    """What is found of a batch that a phone answered."""
    from studylib.quality import parity

    return parity.judge_batch(site.path(job.artifact), _samples(job, site), site.folder, job.size, job.places, job.precision)


def locate(job: jobs.LocateJob, site: Site) -> dict:
    """The first layer at which an artifact differs from its source, on one ``sample``, by more than its precision allows, in words."""
    from studylib.quality.divergence import FORMATS, first_divergence
    from studylib.quality.metrics import tolerance

    closed = next((format for format in (job.source_format, job.format) if format not in FORMATS), None)
    if closed:
        return {"text": f"which layer is not known: {closed} files cannot be looked into while they run"}

    query = _samples(job, site).batch(job.sample, 1)
    source, suspect = (site.path(job.source), job.source_format), (site.path(job.artifact), job.format)
    try:
        found = first_divergence(source, suspect, query, tolerance(job.precision).sqnr_db)
    except StudyError as error:
        return {"text": f"which layer is not known: {error}"}
    return {"text": found.text if found else f"every layer that can be compared agrees on sample {job.sample}"}


def measure(job: jobs.MeasureJob, site: Site) -> dict:
    """One repetition: open, first inference, warm-up, then the values."""
    from dataclasses import asdict, astuple

    from studylib.machine import disturbances, energy, nvml
    from studylib.scenarios import asking, blocks, drive

    started_at = now()
    session, samples, facts = open_session(job, site)
    clock, first = session.clock, samples.batch(0, job.load.batch_size)
    start = clock()
    session.run(first)
    facts["cold_start_ns"]["first_inference"] = clock() - start
    facts["cold_start_ns"]["total"] = time.perf_counter_ns() - site.spawned_ns
    facts["memory_bytes"] |= memory_at("after_first", session.process)
    if session.process:
        facts["memory_bytes"] |= {f"{kind}_added": facts["memory_bytes"][f"{kind}_after_first"] for kind in ("rss", "vms")}
    meters, why_no_meter = energy.find_meters(job.provider)
    warmup = asking.warm_up(session, samples, job.load, job.warmup_s)
    load = asking.settled(job.load, asking.typical_ns(warmup))
    alone = _energy_alone(session, samples, load, energy.EnergyReading(meters, why_no_meter)) if site.takes_turns else None
    # Files first, quick counters last, and the other way round afterwards: the values stand between the quick ones.
    session.begin()
    before = disturbances.sensors() | nvml.sensors(job.provider)
    meter = energy.EnergyReading(meters, why_no_meter)
    before |= disturbances.usage()
    taken = blocks.drive(session, samples, load, sys.stdin) if site.takes_turns else (drive(session, samples, load, job.driver), [])
    driven = taken[0]
    ended = disturbances.usage()
    spent = alone or meter.until_now()
    ended |= disturbances.sensors() | nvml.sensors(job.provider)
    after = memory(session.process)
    session_disturbances, served = session.disturbances(), session.served()
    facts["memory_bytes"] |= {"rss_peak": after["rss_peak"], "vms_peak": after["vms_peak"]} | nvml.memory(job.provider)
    return facts | {
        "started_at": started_at,
        "ended_at": now(),
        "values_ns": driven.values_ns.tolist(),
        "warmup_ns": warmup.values_ns.tolist(),
        "placement": session.placement(),
        "disturbances": disturbances.between(before, ended) | nvml.disturbances(before, ended) | session_disturbances,
        "energy": spent,
        "blocks": [astuple(block) for block in taken[1]],
        "scenario_facts": asdict(driven.facts) | {"served": served},
    }


def _energy_alone(session, samples, load, meter) -> dict:
    """The energy of queries while no other process takes its turn: meters tell of the whole machine."""
    from studylib.scenarios import drive

    queries = len(drive(session, samples, load).values_ns) if meter.meters else 0
    return meter.until_now() | {"queries": queries}


def peaks(job: jobs.PeaksJob, site: Site) -> dict:
    """What this host can do at most with ``threads``: arithmetic and memory bandwidth."""
    from studylib.measure.peaks.measuring import measure

    return measure(job.threads) | {"measured_at": now()}


def find_rate(job: jobs.FindRateJob, site: Site) -> dict:
    """The highest rate of queries that this session answers within the latency bound."""
    from studylib.scenarios import asking, drive, rate

    session, samples, _ = open_session(job, site)
    typical = asking.typical_ns(asking.warm_up(session, samples, job.load, job.warmup_s))
    return rate.find_rate(lambda load: drive(session, samples, load, job.driver), asking.settled(job.load, typical), job.limit_s)


def open_session(job: jobs.SessionJob, site: Site):
    """Open the job's artifact in its runtime; returns session, samples and the facts of the cold start."""
    from studylib.runtimes import Options
    from studylib.runtimes.settings import read

    samples, artifact = _samples(job, site), site.path(job.artifact)
    runtime, options = _runtime(job.runtime), Options(job.provider, job.threads, read(job.options))
    times = {"process": STARTED_NS - site.spawned_ns}
    start = time.perf_counter_ns()
    runtime.activate(options)
    activated = time.perf_counter_ns()
    facts = memory_at("before")
    if job.memory_limit_bytes and not site.memory_group:
        memory_limit.limit_data(job.memory_limit_bytes, job.threads)
    loading = time.perf_counter_ns()
    session = runtime.load(artifact, options)
    times |= {"activate": activated - start, "load": time.perf_counter_ns() - loading}
    if session.process:
        facts = {}  # it was not there before
        atexit.register(session.close)  # a server in a container does not end with this process
    return session, samples, {"cold_start_ns": times, "memory_bytes": facts | memory_at("after_load", session.process)}


def _runtime(name: str):
    """The runtime of this name; what it takes to ask a server is loaded only for one that is served."""
    from studylib.runtimes import RUNTIMES

    if name in RUNTIMES:
        return RUNTIMES[name]
    from studylib.serving.served import SERVED

    return SERVED[name]


def _samples(job: jobs.ArtifactJob, site: Site):
    from studylib.models.zoo import Samples

    return Samples.load(site.path(job.samples))


def _wanted(job: jobs.JudgingJob, site: Site, n: int | None = None):
    """What the outputs of the job's first ``n`` samples, or of all, are held against."""
    from studylib.quality.parity import Wanted

    return Wanted(site.path(job.reference), site.path(job.version), n)


WORK = {
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


def answered(job: jobs.Job, site: Site) -> dict:
    """The result of a job, or ``refused``, why in words, and the ``kind`` of it (`studylib.errors.Kind`).

    Raises what is no finding about the job: a full disk, which ends the study.
    """
    try:
        return WORK[job.kind](job, site)
    except OutputError:
        raise
    except StudyError as error:
        return {"refused": str(error), "kind": error.kind}
    except MemoryError as error:
        return {"refused": f"out of memory: MemoryError: {error}", "kind": Kind.OUT_OF_MEMORY}
    except Exception as error:  # a runtime may raise anything: the row shows it, the log keeps all of it
        traceback.print_exc()
        return {"refused": told(error, job.doing), "kind": kind_of(error)}


def main(given_path: str, result_path: str) -> None:
    die_with_parent()
    given = json.loads(Path(given_path).read_text(encoding="utf-8"))
    site = Site(**given["site"])
    if site.cpus:
        os.sched_setaffinity(0, site.cpus)
    if site.memory_group and not memory_limit.enter(site.memory_group):
        site = replace(site, memory_group=None)  # the process limits itself then
    from studylib.build.jobs import Job

    try:
        write_text(Path(result_path), json.dumps(answered(Job.from_json(given["job"]), site)))
    except OutputError as error:
        print(error, flush=True)
        sys.exit(os.EX_IOERR)


if __name__ == "__main__":
    import_leanly()
    main(*sys.argv[1:])
    leave()
