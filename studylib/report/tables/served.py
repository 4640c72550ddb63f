"""Models behind servers: what the server adds, what the wire costs, more clients and batches, and the article's claims."""

import pandas as pd

from studylib.machine.disturbance_limits import Limits
from studylib.results.records import Trial
from studylib.verdicts import served
from studylib.verdicts.findings import Findings, of_findings
from studylib.wording import digits, interval, ratio_text, typical_ms

# A client must be able to ask so many times as fast as it does, or its own time is seen in the server's.
_CEILING = 3
_FRONTS = "runtimes behind the same front, which is ours"


@of_findings
def driving(findings: Findings) -> pd.DataFrame:
    """How busy the client was while it asked, at the most: a client that fills its processor is measured in place of the server."""
    rows = []
    remote = [trial for trial in served.served(findings) if served.is_remote(trial) and findings.state(trial).ok]
    for server in dict.fromkeys((trial.model, trial.runtime) for trial in remote):
        shares = {trial: _busiest(findings, trial) for trial in remote if (trial.model, trial.runtime) == server}
        trial = max(shares, key=lambda one: shares[one] or 0.0)
        share = shares[trial]
        if share is not None:
            rows.append(
                {
                    "model": trial.model,
                    "server": trial.runtime,
                    "clients": served.clients(trial),
                    "client busy at most": f"{share:.0%} of its processor",
                    "client's ceiling": f"{1 / share:.2g} times what it asked",
                    "server CPU ms a query": _cpu_ms(findings, trial),
                    "fits": _fits(share),
                }
            )
    return pd.DataFrame(rows, columns=None if rows else ["model", "server", "client busy at most", "fits"])


def _fits(share: float) -> str:
    """What a client that was busy for this share of its processor can be believed."""
    if share > Limits().client_cpu_share:
        return "no: ask with fewer clients, or from another machine (make load)"
    return "yes" if share <= 1 / _CEILING else f"with care: its ceiling is less than {_CEILING} times what it asked"


@of_findings
def servers(findings: Findings) -> pd.DataFrame:
    """One client, one query after the other: each server beside its runtime without one, and where the time goes.

    ``left behind the server``: the direct session's time over the served one's, same threads, asked in turn. ``wire``: all that is
    neither queue nor compute: both ends of the connection and the server's front. Memory and start are those of the server's process.
    """
    rows = []
    for trial in served.served(findings):
        if not served.is_remote(trial) or trial.scenario != "single_stream" or served.settings(trial):
            continue
        values, state, beside = findings.values(trial), findings.state(trial), served.added(findings, trial)
        parts = served.parts_ms(findings, trial)
        rows.append(
            {
                "model": trial.model,
                "server": trial.runtime,
                "version": trial.runtime_version,
                "p50_ms": typical_ms(values),
                "direct p50_ms": typical_ms(findings.values(beside.baseline)) if beside else "–",
                "left behind the server": ratio_text(beside.comparison) if beside else "–",
                **{f"{name}_ms": digits(parts[name]) if name in parts else "–" for name in ("queue", "compute", "wire")},
                "server CPU ms a query": _cpu_ms(findings, trial),
                "rss_mb": interval(values, "rss_after_first", 1e6),
                "vms_mb": interval(values, "vms_after_first", 1e6),
                "start_s": interval(values, "load_time", 1e9),
                "status": "" if state.ok else str(state),
            }
        )
    return pd.DataFrame(rows, columns=None if rows else ["model", "server", "p50_ms", "status"])


def _cpu_ms(findings: Findings, trial: Trial) -> str:
    told = [m.scenario_facts.get("served", {}).get("server_cpu_s_per_query") for m in findings.results.measurements(trial.id)]
    return digits(1000 * sum(told) / len(told)) if told and None not in told else "–"


@of_findings
def wires(findings: Findings) -> pd.DataFrame:
    """What the wire and the way tensors are written cost, one client: the same server and model, asked in turn."""
    rows, trials = [], [t for t in served.served(findings) if served.is_remote(t) and t.scenario == "single_stream"]
    for usual in [trial for trial in trials if not served.settings(trial)]:
        others = [t for t in trials if (t.model, t.runtime) == (usual.model, usual.runtime) and "wire" in served.settings(t)]
        for trial in [usual, *others] if others else []:
            values, parts = findings.values(trial), served.parts_ms(findings, trial)
            ok = findings.state(trial).ok and findings.state(usual).ok
            against = findings.against(usual, trial).comparison if ok and trial is not usual else None
            rows.append(
                {
                    "model": trial.model,
                    "server": trial.runtime,
                    "wire": served.wire(findings, trial) + (" (usual)" if trial is usual else ""),
                    "p50_ms": typical_ms(values),
                    "against the usual wire": ratio_text(against) if against else "",
                    "wire_ms": digits(parts["wire"]) if "wire" in parts else "–",
                    "server CPU ms a query": _cpu_ms(findings, trial),
                    "status": "" if findings.state(trial).ok else str(findings.state(trial)),
                }
            )
    return pd.DataFrame(rows, columns=None if rows else ["model", "server", "wire", "p50_ms"])


@of_findings
def load(findings: Findings) -> pd.DataFrame:
    """Several clients at once, each with its next query when the last is answered, and requests put together.

    A closed loop hides what waits while a server stands still: the scenario ``server`` shows it. ``batching``: answers a second with it
    over those without, for as many clients.
    """
    rows = []
    for trial in served.served(findings):
        if trial.scenario != "concurrency":
            continue
        values, told, ratio = findings.values(trial), served.settings(trial), served.batching(findings, trial)
        formed = served.batches(findings, trial)
        total = sum(formed.values())
        rows.append(
            {
                "model": trial.model,
                "server": trial.runtime,
                "clients": served.clients(trial),
                "put together": f"up to {told['batch']}, waiting {told.get('wait', '0')} ms" if "batch" in told else "no",
                "answers_per_s": interval(values, "throughput", 1),
                "p50_ms": typical_ms(values),
                "p99_ms": interval(values, "latency_p99", 1e6),
                "mean batch": digits(sum(size * count for size, count in formed.items()) / total) if total else "–",
                "batching": f"{ratio_text(ratio)}, {served.pays(ratio)}" if ratio else "",
                "why": served.why_so(findings, trial) if ratio else "",
                "client busy": _busy(findings, trial),
                "status": "" if findings.state(trial).ok else str(findings.state(trial)),
            }
        )
    return pd.DataFrame(rows, columns=None if rows else ["model", "server", "clients", "answers_per_s"])


def _busy(findings: Findings, trial: Trial) -> str:
    share = _busiest(findings, trial)
    return "–" if share is None else f"{share:.0%} of its processor"


def _busiest(findings: Findings, trial: Trial) -> float | None:
    told = [m.scenario_facts.get("served", {}).get("client_cpu_share") for m in findings.results.measurements(trial.id)]
    return max(told) if told and None not in told else None


@of_findings
def serving_claims(findings: Findings) -> pd.DataFrame:
    """The article's claims: its numbers, how they stand for the runtimes behind one front, and for TensorFlow Serving itself."""
    ran = any(trial.runtime == served.PRODUCT and findings.state(trial).ok for trial in served.served(findings))
    itself = "see the table of servers" if ran else f"{served.Standing.UNTESTED}: TensorFlow Serving did not run"
    rows = [
        {
            "claim": one.claim.id,
            "model": one.model,
            "sentence": one.claim.sentence,
            "published": one.claim.published,
            _FRONTS: str(one.standing) + (f", {ratio_text(one.ratio)}" if one.ratio else ""),
            "TensorFlow Serving itself": itself,
            "why": one.why,
        }
        for one in served.claims(findings)
    ]
    return pd.DataFrame(rows, columns=None if rows else ["claim", "model", "sentence"])


@of_findings
def sentences(findings: Findings) -> list[str]:
    """For each model and server what one client waits for and how much many are answered; then how the article's claims stand."""
    said = []
    for trial in served.served(findings):
        beside = served.added(findings, trial)
        if beside is None or not served.is_remote(trial) or served.settings(trial):
            continue
        ours, direct = (typical_ms(findings.values(one)) for one in (trial, beside.baseline))
        many = [t for t in served.served(findings) if (t.model, t.runtime, t.scenario) == (trial.model, trial.runtime, "concurrency")]
        best = max((t for t in many if findings.state(t).ok), key=lambda t: _rate(findings, t), default=None)
        more = (
            f"; at most {interval(findings.values(best), 'throughput', 1)} answers/s, with {served.clients(best)} clients" if best else ""
        )
        said.append(
            f"{trial.model} behind a server: {trial.runtime} answers one client in {ours} ms, the session itself in {direct} ms{more}."
        )
    for model in dict.fromkeys(one.model for one in served.claims(findings)):
        judged = [one for one in served.claims(findings) if one.model == model and one.ratio]
        told = "; ".join(f"{one.claim.sentence}: {one.standing}" for one in judged)
        said += [f"{model}, what the article says of ONNX Runtime, held against TensorFlow behind the same front: {told}."] if told else []
    return said


def _rate(findings: Findings, trial: Trial) -> float:
    return max(served.rates(findings, trial).values(), default=0.0)
