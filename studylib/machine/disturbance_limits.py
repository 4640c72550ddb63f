"""What a repetition may suffer and still count."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Limits:
    """The most of each disturbance; shares are between 0 and 1. A disturbance that cannot be read limits nothing.

    ``steal_share``: of the busy processor time, taken by other virtual machines. ``throttle_events``: times that heat slowed a
    core or its package, per repetition. ``cgroup_throttled_share``: of the scheduling periods, those in which a container's quota
    stopped the process. ``frequency_drop_share``: by how much the clock was slower after the values than before them.
    ``gpu_heat_share``: of the time, that in which heat held the clock of the GPU down; its power limit does so in ordinary work.
    ``engines_built``: by a runtime that keeps them (TensorRT), in the process that is measured.
    ``client_cpu_share``: of its processor, what asking a server took: one that is filled would be measured in place of the server.
    ``repeated_share``: of a run's repetitions, how many attempts more may be made at disturbed ones.
    """

    steal_share: float = 0.2
    throttle_events: int = 0
    cgroup_throttled_share: float = 0.05
    frequency_drop_share: float = 0.2
    gpu_heat_share: float = 0.05
    engines_built: int = 0
    client_cpu_share: float = 0.9
    repeated_share: float = 0.5


# What happened (with found and allowed), and what to do about it.
_WORDS = {
    "steal_share": (
        "other virtual machines took {found:.0%} of the processor time; the limit is {limit:.0%}",
        "measure at a quieter hour or on a machine of your own",
    ),
    "throttle_events": (
        "heat slowed the processor ({found:.0f} throttle events; the limit is {limit:.0f})",
        "cool it, or fix a lower clock",
    ),
    "cgroup_throttled_share": (
        "the CPU quota of its group stopped the process in {found:.0%} of its periods; the limit is {limit:.0%}",
        "raise the quota, or pin processors (cpuset) instead",
    ),
    "frequency_drop_share": (
        "the clock fell by {found:.0%} while it was measured; the limit is {limit:.0%}",
        "use the governor 'performance', cool the machine, or fix a lower clock",
    ),
    "gpu_heat_share": (
        "heat held the clock of the GPU down for {found:.0%} of the time; the limit is {limit:.0%}",
        "let it cool, and see to its fans and to what else computes on it (nvidia-smi)",
    ),
    "engines_built": (
        "an engine was built in this process, whose start and memory show it (built: {found:.0f}; the limit is {limit:.0f})",
        "nothing to do: the engine is kept, and the next attempt opens it",
    ),
    "client_cpu_share": (
        "asking the server filled {found:.0%} of the client's processor, so that the client was measured; the limit is {limit:.0%}",
        "ask with fewer clients, or from another machine (`make load`)",
    ),
}
REMEDIES = {name: remedy for name, (_, remedy) in _WORDS.items()}


def why_invalid(disturbances: dict, limits: Limits) -> str:
    """What disturbed a repetition too much to count and what to do about it, in words; empty when nothing did."""
    told = []
    for name, (cause, remedy) in _WORDS.items():
        found, limit = disturbances.get(name), getattr(limits, name)
        if found is not None and found > limit:
            told.append(f"{cause.format(found=found, limit=limit)} ({remedy})")
    return f"disturbed: {'; '.join(told)}" if told else ""
