"""The verbs of serving: what was advised behind a server, files that deploy it, and load on a server that somebody runs."""

import argparse
import os
import sys
from pathlib import Path

from studylib.errors import InputError
from studylib.params.paths import outputs_root
from studylib.params.typed import number, place, whole_number


def serve(options: argparse.Namespace) -> None:
    """Serve the configuration that the study advises, on this machine alone unless HOST says otherwise."""
    wanted = _chosen(options.hw, options.model)
    ports = {"--rest-port": options.rest_port, "--grpc-port": options.grpc_port, "--host": options.host}
    folder = wanted.versions(outputs_root() / options.hw / "serving" / wanted.name)
    print(
        f"serving {wanted.label} as '{wanted.name}': REST on {options.host}:{options.rest_port}, gRPC on {options.host}:{options.grpc_port}"
    )
    print(f"a newer version is swapped in from {folder}; Ctrl-C ends it")
    sys.stdout.flush()
    more = [word for name, value in ports.items() for word in (name, str(value))]
    more += ["--token-file", place(options.token_file)] if options.token_file else []
    # In place of this process, so that signals reach the server.
    os.execv(sys.executable, [sys.executable, "-m", "studylib.serving.own", str(folder), *wanted.arguments, *more])


def deploy(options: argparse.Namespace) -> None:
    """Write what deploys the advised configuration: image, compose file, Kubernetes objects, nginx."""
    from studylib.serving.deployment import files

    wanted = _chosen(options.hw, options.model)
    folder = files.write(wanted, outputs_root() / options.hw / "deployment" / wanted.name)
    print(f"written to {folder}: {', '.join(sorted(inner.name for inner in folder.iterdir()))}")
    print(f"then: docker build -t {wanted.name} {folder}")


def load(options: argparse.Namespace) -> int:
    """Ask a server that somebody runs, by chance at QPS or with CLIENTS at once, and print what its answers took."""
    from studylib.serving import load as driving

    wire = options.wire
    if not options.target or not options.model:
        raise InputError("load needs TARGET=host:port and MODEL=name, the name under which the server serves it.")
    token = Path(place(options.token_file)).read_text(encoding="utf-8").strip() if options.token_file else ""
    address = driving.address_of(options.target, options.model, wire, token)
    qps = number(options.qps, "QPS") if options.qps else None
    seconds, clients = number(options.seconds, "SECONDS"), whole_number(options.clients, "CLIENTS")
    if not 0 < seconds <= 86_400 or not 0 < clients <= 1024 or (qps is not None and not 0 < qps <= 1e6):
        raise InputError("SECONDS must be above 0 and at most 86400, CLIENTS from 1 to 1024, QPS above 0 and at most 1000000.")
    signature = driving.signature_of(address, wire)
    samples = driving.samples_of(Path(place(options.data)) if options.data else None, signature)
    how = f"{qps:g} queries a second by chance" if qps else f"{clients} clients, each with its next query when it is answered"
    print(f"load on {options.target}, {wire}, {options.model}: {how}, {seconds:g} s")
    sys.stdout.flush()
    report = driving.run(address, wire, signature, samples, driving.Offered(seconds, qps, clients))
    print(*report.lines, sep="\n")
    return 1 if report.invalid else 0


def _chosen(hardware: str, model: str | None):
    """The configuration that the stored results advise for one model. Raises `InputError` where that is none that can be served."""
    from studylib.artifacts.store import Store
    from studylib.results import standing
    from studylib.serving.deployment.chosen import Chosen, served_name
    from studylib.serving.served import SERVED
    from studylib.verdicts import advice

    results = standing.read_results(hardware)
    advices = list(advice.advise(results, model=model))
    if len(advices) != 1:
        raise InputError(f"the results hold several models: {', '.join(one.model for one in advices)}. Give one as MODEL=.")
    (advised,) = advices
    if advised.configuration is None:
        raise InputError(f"nothing can be advised for {advised.model}: {advised.reason}.")
    configuration = advised.configuration
    if f"own/{configuration.runtime}" not in SERVED or configuration.provider != "cpu":
        raise InputError(f"{configuration.label} is advised, and our own server cannot open that. `make advise` shows others.")
    trial = next(one for one in results.plan() if one.id == configuration.trial_id)
    artifact = Store(outputs_root() / ".artifacts").checked(trial.artifact_key)
    told = configuration.runtime, configuration.threads, configuration.options
    return Chosen(served_name(advised.model), configuration.label, artifact.path, *told)
