"""Load on a server that somebody runs, from this machine: at a given rate by chance, or by so many clients at once."""

import contextlib
import http.client
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from studylib import stats
from studylib.errors import InputError, TrialError, lookup
from studylib.machine.disturbance_limits import Limits
from studylib.models.zoo import Samples
from studylib.runtimes.signature import Signature
from studylib.scenarios import Load, RunLength, concurrency
from studylib.scenarios import arrivals as by_chance
from studylib.scenarios.base import Driven
from studylib.serving.clients import WIRES, Address, GrpcClient, connected
from studylib.serving.own.backend import example
from studylib.serving.remote import RemoteSession
from studylib.serving.requests import RequestError, checked
from studylib.wording import digits

# Queries of their own, so that no cache answers.
_QUERIES = 64
_PERCENTILES = (50, 90, 99)
# A query that was asked so much later than it was due, as a share of the median answer, tells of the client.
_LATE_SHARE = 0.1


@dataclass(frozen=True)
class Offered:
    """``qps``: queries a second by chance (Poisson), None for a closed loop; ``clients``: how many ask at once, or at the most."""

    seconds: float
    qps: float | None = None
    clients: int = 32
    seed: int = 0


@dataclass(frozen=True)
class Report:
    """What was driven, and why it does not count, in words; empty where it does. ``served``: see `Session.served`."""

    driven: Driven
    served: dict
    invalid: str

    @property
    def lines(self) -> list[str]:
        """What to print."""
        facts, values = self.driven.facts, self.driven.values_ns
        found = [f"answers: {len(values):,}, {digits(facts.completed_samples_per_s)} a second; failed: {facts.failed_queries}"]
        if facts.first_error:
            found.append(f"the first failure: {facts.first_error}")
        for percentile in _PERCENTILES:
            estimate = stats.pooled_percentile([values.astype(float)], percentile) if len(values) else None
            found += [f"p{percentile}: {digits(estimate.value / 1e6)} ms"] if estimate else []
        check = facts.crosscheck
        if check:
            alone = f"p50 {check['alone_p50_ns'] / 1e6:.3g} ms, p99 {check['alone_p99_ns'] / 1e6:.3g} ms"
            found.append(f"counted from when each query was due; from when it was asked: {alone}")
            found.append(f"queries were asked {check['late_p99_ns'] / 1e6:.3g} ms late at p99")
        parts = [f"{name} {self.served[f'{name}_ns'] / 1e6:.3g} ms" for name in ("queue", "compute", "wire") if f"{name}_ns" in self.served]
        found += [f"medians: {', '.join(parts)}"] if parts else []
        found.append(f"this client was busy for {self.served.get('client_cpu_share', 0):.0%} of a processor")
        return [*found, f"INVALID: {self.invalid}"] if self.invalid else found


def address_of(target: str, model: str, wire: str, token: str = "") -> Address:
    """``host:port`` as typed. Raises `InputError` for something else."""
    host, _, port = target.rpartition(":")
    if not host or not port.isascii() or not port.isdigit() or not 0 < int(port) < 65536:
        raise InputError(f"TARGET is '{target[:80]}'; it must be host:port, 127.0.0.1:8500 for example.")
    return Address(host.strip("[]"), {lookup(WIRES, "wire", wire).protocol: int(port)}, model, token=token)


def signature_of(address: Address, wire: str) -> Signature:
    """What the server says that the model takes. Raises `InputError` where it does not."""
    try:
        with contextlib.closing(connected(wire, address)) as client:
            return client.ask_signature()
    except (OSError, http.client.HTTPException, TrialError, RequestError) as error:
        told = f"the server at {address.host} does not tell what {address.model} takes: {error}"
        raise InputError(f"{told}. Check TARGET, WIRE and MODEL.") from None


def samples_of(path: Path | None, signature: Signature) -> Samples:
    """Queries of one sample each: of a ``.npz`` file with an array for each input, otherwise noise of the right shapes."""
    if path is None:
        many = [example(signature, 1, seed) for seed in range(_QUERIES)]
        if signature.takes_batches:
            return Samples({spec.name: np.concatenate([one[spec.name] for one in many]) for spec in signature.inputs}, None)
        whole = {spec.name: np.stack([one[spec.name] for one in many]) for spec in signature.inputs}
        return Samples(whole, None, dict.fromkeys(whole))
    try:
        with np.load(path, allow_pickle=False) as arrays:
            values = {name: arrays[name] for name in arrays.files if name != "labels"}
    except (OSError, ValueError) as error:
        raise InputError(f"DATA {path} cannot be read as .npz: {error}") from None
    lengths = {name: len(one) if one.ndim else 0 for name, one in values.items()}
    if len(set(lengths.values())) != 1 or not min(lengths.values()):
        raise InputError(
            f"DATA {path} holds {lengths or 'nothing'}; give an array for each input, all with as many samples on the first axis"
        )
    checked({name: one[:1] for name, one in values.items()}, signature, 1)
    return Samples(values, None)


def run(address: Address, wire: str, signature: Signature, samples: Samples, offered: Offered, shared: GrpcClient | None = None) -> Report:
    """Drive the server, and say whether the client could. ``shared``: the one connection of all clients; None for one each."""
    session = RemoteSession(address, signature, wire, offered.clients, shared)
    session.beside()
    session.run(samples.batch(0, 1))
    length = RunLength(1, offered.seconds, offered.seconds)
    session.begin()
    if offered.qps is None:
        driven = concurrency.drive(session, samples, Load("concurrency", 1, length, seed=offered.seed))
    else:
        driven = by_chance.drive(session, samples, Load("server", 1, length, seed=offered.seed, target_qps=offered.qps))
    served = session.served()
    session.close()
    return Report(driven, served, _why_invalid(driven, served))


def _why_invalid(driven: Driven, served: dict) -> str:
    """Why the client and not the server was measured, in words; empty where it was not."""
    check, told = driven.facts.crosscheck, []
    if not len(driven.values_ns):
        return "nothing was answered"
    if check and check["late_p99_ns"] > max(1e6, _LATE_SHARE * check["alone_p50_ns"]):
        told.append(f"queries were asked up to {check['late_p99_ns'] / 1e6:.3g} ms late (p99)")
    if served.get("client_cpu_share", 0) > Limits().client_cpu_share:
        told.append(f"the client filled {served['client_cpu_share']:.0%} of its processor")
    return "; ".join(told) + (" (offer less, or ask from more machines)" if told else "")
