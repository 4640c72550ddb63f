"""Facts that Linux shows as small files under ``/proc`` and ``/sys``. What cannot be read is absent, never invented.

Every function takes ``root``, the folder that holds ``proc`` and ``sys``: the machine's own, or one that a test planted.
"""

from pathlib import Path

ROOT = Path("/")


def text(path: Path) -> str:
    """The file's words, or nothing when it cannot be read."""
    try:
        return path.read_text(errors="replace").strip()
    except OSError:
        return ""


def number(path: Path) -> float | None:
    """The file's one number, or None."""
    try:
        return float(text(path))
    except ValueError:
        return None


def table(path: Path, separator: str | None = None) -> dict[str, str]:
    """Lines of ``name value`` as a table; the name ends at ``separator`` (default: white space)."""
    lines = [line.split(separator, 1) for line in text(path).splitlines()]
    return {line[0].strip(): line[1].strip() for line in lines if len(line) == 2}


def cpu_list(words: str) -> list[int]:
    """``0-2,8`` as [0, 1, 2, 8]."""
    spans = [part.split("-") for part in words.split(",") if part.strip()]
    return [cpu for span in spans for cpu in range(int(span[0]), int(span[-1]) + 1)]


def allowed_cpus(root: Path = ROOT) -> list[int]:
    """The processors that this process may run on; empty where the system does not say."""
    return cpu_list(table(root / "proc/self/status", ":").get("Cpus_allowed_list", ""))


def processor_ticks(root: Path = ROOT) -> dict[str, int]:
    """Ticks of all processors since the machine started: ``all``, ``busy``, and of those ``steal``; empty where unreadable."""
    words = text(root / "proc/stat").split("\n")[0].split()[1:9]
    if len(words) < 8 or not all(word.isdigit() for word in words):
        return {}
    ticks = [int(word) for word in words]  # user nice system idle iowait irq softirq steal
    return {"all": sum(ticks), "busy": sum(ticks) - ticks[3] - ticks[4], "steal": ticks[7]}


def cpu_folder(cpu: int, root: Path = ROOT) -> Path:
    return root / f"sys/devices/system/cpu/cpu{cpu}"


def governors(root: Path = ROOT) -> list[str]:
    """The frequency governors of the allowed processors, each once."""
    found = {text(cpu_folder(cpu, root) / "cpufreq/scaling_governor") for cpu in allowed_cpus(root)}
    return sorted(found - {""})


def temperatures_c(root: Path = ROOT) -> list[tuple[float, float | None]]:
    """(degrees Celsius now, degrees at which the system acts or None) of every sensor with a believable reading."""
    zones = [(zone / "temp", _trips(zone)) for zone in sorted((root / "sys/class/thermal").glob("thermal_zone*"))]
    chips = sorted((root / "sys/class/hwmon").glob("hwmon*/temp*_input"))
    zones += [(chip, [chip.with_name(chip.name.replace("_input", end)) for end in ("_max", "_crit")]) for chip in chips]
    found = []
    for reading, limits in zones:
        now = number(reading)
        if now is not None and 0 < now < 150_000:  # sensors that are not there read -273, 0 or 65 thousand
            known = [limit for limit in map(number, limits) if limit and 0 < limit < 150_000]
            found.append((now / 1000, min(known) / 1000 if known else None))
    return found


def _trips(zone: Path) -> list[Path]:
    """Where a thermal zone slows the processor down or switches the machine off; fans begin earlier and are left out."""
    kinds = {kind: text(kind) for kind in sorted(zone.glob("trip_point_*_type"))}
    return [kind.with_name(kind.name.replace("_type", "_temp")) for kind, name in kinds.items() if name in ("passive", "hot", "critical")]


def cgroups(controller: str, root: Path = ROOT) -> list[Path]:
    """Folders of the control groups that hold this process, its own first, then what surrounds it (cgroup v1 or v2)."""
    lines = [line.split(":", 2) for line in text(root / "proc/self/cgroup").splitlines() if line.count(":") >= 2]
    mounts = root / "sys/fs/cgroup"
    for _, names, inside in sorted(lines, key=lambda line: controller not in line[1].split(",")):
        if controller in names.split(","):
            base = next((mounts / name for name in (controller, names) if (mounts / name).is_dir()), mounts / controller)
        elif not names:
            base = mounts / "unified" if (mounts / "unified").is_dir() else mounts
        else:
            continue
        own = base / inside.lstrip("/")
        # A container may see its host's path and, mounted at the top, only its own group.
        return [own, *[folder for folder in own.parents if folder.is_relative_to(base)]] if own.is_dir() else [base]
    return []


def cpu_quota(root: Path = ROOT) -> tuple[float, Path] | None:
    """The smallest processor quota around this process, in processors, and the group that sets it; None without one."""
    found = []
    for folder in cgroups("cpu", root):
        quota, _, period = text(folder / "cpu.max").partition(" ")
        quota, period = quota or text(folder / "cpu.cfs_quota_us"), period or text(folder / "cpu.cfs_period_us")
        if quota.isdigit() and period.isdigit():
            found.append((int(quota) / int(period), folder))
    return min(found, default=None)
