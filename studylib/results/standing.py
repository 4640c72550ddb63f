"""How results stand: native or rehearsal, complete or not, when and by whom they were measured."""

from studylib.errors import lookup
from studylib.params.paths import outputs_root
from studylib.params.sets import hardware_sets
from studylib.results import whose
from studylib.results.records import Trial
from studylib.results.results import Results
from studylib.results.rows import loadgen_verdict


def read_results(hardware: str) -> Results:
    """The results of a hardware set, to read. Raises `InputError` when the set is unknown or nothing was measured."""
    lookup(hardware_sets(), "hardware set (HW)", hardware)
    results = Results(outputs_root() / hardware)
    results.plan()
    return results


def provenance(results: Results) -> str:
    """One sentence that belongs under every figure: native or rehearsal, where, when."""
    run = results.run()
    where = f"{run['host']['description']}; {run['threads']} threads used; {measured_when(results)}"
    unfinished = incomplete(results)
    rest = " ".join(filter(None, (whose.remark(results.folder, run["hardware"]), unfinished)))
    if run["native"]:
        return f"Native: measured on {where}. {rest}".strip()
    return f"REHEARSAL, not {run['title']} ({'; '.join(run['mismatches'])}). Measured on {where}. {rest}".strip()


def incomplete(results: Results) -> str:
    """What is still to be measured, in words; empty when the study is complete, or when no value was taken yet."""
    wanted = results.run()["parameters"]["settings"]["repetitions"]
    # A repetition that stayed invalid is not waited for: the passport tells how many there are.
    states = [(results.state(trial).status, len({a.repetition for a in results.attempts(trial.id)})) for trial in results.plan()]
    waiting = [count for status, count in states if status == "pending" or (status in ("ok", "invalid") and count < wanted)]
    if not waiting or not any(results.measurements(trial.id) for trial in results.plan()):
        return ""
    return f"INCOMPLETE: {len(waiting)} of {len(states)} trials still lack repetitions; nothing here is final."


def measured_when(results: Results) -> str:
    """When the values shown were taken, as days in UTC."""
    days = {m.ended_at[:10] for trial in results.plan() for m in results.measurements(trial.id)}
    if not days:
        return "nothing timed yet"
    return f"measured {min(days)}" if len(days) == 1 else f"measured {min(days)} to {max(days)}"


def evaluated(results: Results) -> list[tuple[Trial, dict]]:
    """Each artifact in each runtime once, by its trial at the smallest batch size, with what its evaluation found."""
    plan = [trial for trial in results.compared() if not trial.control and not trial.sweep and trial.evaluation_id]
    smallest = min((trial.batch_size for trial in results.compared()), default=1)
    found = [(trial, results.evaluation(trial.evaluation_id)) for trial in plan if trial.batch_size == smallest]
    return [(trial, evaluation) for trial, evaluation in found if evaluation is not None]


def loadgen(results: Results, *trials: Trial) -> str:
    """LoadGen's verdict on each of the trials it drove, in words; empty where a loop drove them all."""
    return "; ".join(dict.fromkeys(filter(None, (loadgen_verdict(results.measurements(trial.id)) for trial in trials))))
