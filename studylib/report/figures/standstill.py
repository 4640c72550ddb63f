"""What a closed loop hides, as a figure: the same server, which stands still now and then, read by both ways to ask."""

import numpy as np
from matplotlib.ticker import FuncFormatter

from studylib.report.figures import drawing
from studylib.verdicts.findings import Findings, of_findings
from studylib.wording import digits

_SCHEDULE, _CLOSED = "#d62728", "#1f77b4"
# Of the time that the server stands still: who waited as long was caught by it.
_CAUGHT = 0.1


@of_findings
def standstill(findings: Findings) -> drawing.Drawing | None:
    """The share of queries that took longer, over the latency, both on logarithmic axes: a line on a schedule, and one of a closed loop."""
    found = findings.results.standstill()
    if found.get("trial") not in {trial.id for trial in findings.results.plan()}:
        return None  # none, or of servers that the study no longer asks
    bound = _CAUGHT * found["still_ms"]
    ways = {
        f"on a schedule, {digits(found['qps'])} queries/s": (np.array(found["schedule_ms"]), _SCHEDULE),
        "closed loop, one client": (np.array(found["closed_ms"]), _CLOSED),
    }
    with drawing.styled():
        figure, (axes,) = drawing.beside(1)
        figure.set_size_inches(6.4, 3.4)
        told = []
        for name, (values, colour) in ways.items():
            # A count and no estimate with an interval: queries of one standstill are caught together.
            caught = int((values > bound).sum())
            slower = 1 - np.arange(len(values)) / len(values)
            axes.step(np.sort(values), 100 * slower, where="post", color=colour, label=f"{name} (n {len(values)})")
            told.append(f"{name}: {caught} of {len(values)} queries took longer than {bound:g} ms")
        axes.axvline(found["still_ms"], color="#777777", linewidth=1, linestyle="--", label=f"stands still for {found['still_ms']:g} ms")
        axes.set(xscale="log", yscale="log", xlabel="latency, ms (log)", ylabel="queries that took longer (log)")
        axes.set_title(f"{found['model']}, {found['server']}")
        axes.legend(fontsize=7, frameon=False, loc="center", bbox_to_anchor=(0.58, 0.42))
        axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g} %"))
        drawing.plain_log_ticks(axes)
    caption = (
        f"The server was stopped for {found['still_ms']:g} ms every {found['every_ms']:g} ms: {'; '.join(told)}. A closed loop asks "
        "nothing while it waits: of all that would have come meanwhile it counts one query. On a schedule each query counts from when "
        "it was due."
    )
    return drawing.Drawing(figure, caption, f"Two lines. {'; '.join(told)}.")
