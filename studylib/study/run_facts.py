"""What is kept of a run beside its numbers: its parameters, the machine, versions, what could not be made."""

import platform
from dataclasses import asdict

from studylib.artifacts.software import git_state, package_versions
from studylib.errors import Reason
from studylib.machine.clock import now
from studylib.machine.disturbance_limits import Limits
from studylib.results.results import Results
from studylib.results.states import failed
from studylib.study.plan import Plan


def run_facts(plan: Plan, limits: Limits, failures: dict[str, Reason], causes: dict[str, dict]) -> dict:
    """The content of ``run.json``. ``failures``: why each artifact that failed did, by its key; ``causes``: the same as it is stored."""
    params = plan.params
    return {
        "study": f"{params.hardware.name}-{params.effort}",
        "hardware": params.hardware.name,
        "title": params.hardware.title,
        "effort": params.effort,
        "command": params.command(),
        "native": not plan.mismatches,
        "mismatches": plan.mismatches,
        "threads": plan.threads,
        "host": asdict(plan.host) | {"description": plan.host.describe()},
        "host_id": plan.host.id,
        "limits": asdict(limits),
        "parameters": params.model_dump(mode="json") | {"settings": asdict(params.settings)},
        "failures": {key: failed(reason) for key, reason in failures.items()},
        "causes": causes,
        "git": git_state(),
        "python": platform.python_version(),
        "packages": package_versions(),
        "updated_at": now(),
    }


def nothing_to_measure(results: Results) -> str:
    """What to say of a study that had nothing left to measure: when its numbers were taken."""
    times = [measurement.ended_at for trial in results.plan() for measurement in results.measurements(trial.id)]
    if not times:
        return "Nothing to measure: no trial of this plan can run here; each says why."
    newest = max(times)[:19].replace("T", " ")
    return f"Nothing to measure: every number was taken by {newest} UTC. FORCE=1 measures again."
