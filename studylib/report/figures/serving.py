"""Models behind servers, as a figure: where the time of a query goes, and answers a second over the number of clients."""

from studylib.report.figures import drawing
from studylib.results.records import Trial
from studylib.verdicts import served
from studylib.verdicts.findings import Findings, of_findings
from studylib.wording import digits

_PARTS = {"compute": "#1f77b4", "queue": "#ff7f0e", "wire": "#9aa0a6"}


@of_findings
def serving(findings: Findings) -> drawing.Drawing | None:
    """For each model: stacked medians of compute, queue and wire by server and wire; answers a second over clients, a line a server."""
    ok = [trial for trial in served.served(findings) if served.is_remote(trial) and findings.state(trial).ok]
    models = list(dict.fromkeys(trial.model for trial in ok))
    if not models:
        return None
    told: list[str] = []
    with drawing.styled():
        figure, panels = drawing.beside(2 * len(models))
        for place, model in enumerate(models):
            ours = [trial for trial in ok if trial.model == model]
            told += _parts(panels[2 * place], model, ours, findings)
            told += _lines(panels[2 * place + 1], model, ours, findings)
    caption = "Behind the same front. Wire: both ends of the connection and the front. A closed loop: each client asks when it is answered."
    return drawing.Drawing(figure, caption, "Bars and lines. " + " ".join(told))


def _parts(axes, model: str, trials: list[Trial], findings: Findings) -> list[str]:
    """Bars of one client's queries; what each says in words."""
    rows = [(trial, served.parts_ms(findings, trial)) for trial in trials if trial.scenario == "single_stream"]
    rows = [(trial, parts) for trial, parts in rows if parts][::-1]
    names, said = [], []
    for position, (trial, parts) in enumerate(rows):
        left = 0.0
        for name, colour in _PARTS.items():
            axes.barh(position, parts[name], left=left, color=colour, label=name if position == 0 else None)
            left += parts[name]
        names.append(f"{trial.runtime}\n{served.wire(findings, trial)}")
        said.append(f"{model} {trial.label}: compute {digits(parts['compute'])}, wire {digits(parts['wire'])} ms.")
    axes.set_yticks(range(len(rows)), names, fontsize=7)
    axes.set(title=f"{model}, one client", xlabel="ms of a query (medians)")
    axes.grid(axis="y", visible=False)
    if rows:
        axes.set_xlim(0, 1.4 * max(sum(parts[name] for name in _PARTS) for _, parts in rows))  # room for the legend
        axes.legend(fontsize=7, frameon=False)
    return said


def _lines(axes, model: str, trials: list[Trial], findings: Findings) -> list[str]:
    """Answers a second over clients."""
    plain = [t for t in trials if not {"batch", "wire"} & served.settings(t).keys() and t.scenario in ("single_stream", "concurrency")]
    colours, said = drawing.colours([trial.runtime for trial in plain]), []
    for server in dict.fromkeys(trial.runtime for trial in plain):
        points = sorted((t for t in plain if t.runtime == server), key=served.clients)
        rates = [_rate(findings, trial) for trial in points]
        axes.plot([served.clients(t) for t in points], rates, marker="o", markersize=4, color=colours[server], label=server)
        said.append(f"{model} {server}: {digits(rates[-1])} answers/s with {served.clients(points[-1])} clients.")
    for trial in (t for t in trials if "batch" in served.settings(t)):
        axes.plot(served.clients(trial), _rate(findings, trial), marker="x", color=colours[trial.runtime], linestyle="none")
    axes.set(title=f"{model}, clients at once (x: put together)", xscale="log", xlabel="clients (log)", ylabel="answers/s", ylim=(0, None))
    drawing.plain_log_ticks(axes)
    if plain:
        axes.legend(fontsize=7, frameon=False)
    return said


def _rate(findings: Findings, trial: Trial) -> float:
    found = list(served.rates(findings, trial).values())
    return sum(found) / len(found)
