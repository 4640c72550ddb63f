"""What compression brings, measured: structured pruning against fp32, and the adaptive recipe against every uniform one."""

from dataclasses import replace

from studylib.params.paths import outputs_root
from studylib.report.by_name import tables
from studylib.results import standing
from studylib.results.results import Results
from studylib.study.opening import fetch_downloads, open_study
from studylib.verdicts.findings import Findings
from studylib.verdicts.variants import variants
from studylib.wording import lines

MODELS = ("mnist_cnn", "efficientnet_lite0", "resnet50", "bert_base", "deepspeech_small")
_UNIFORM = ("fp32", "fp16", "dynamic_wi8_afp32", "weight_only_wi8_afp32", "static_wi8_ai8")
_PRUNED = ("pruned_polynomial80", "pruned_channels50")
# Models of the zoo that samples were drawn for from something real: only those can be trained.
_TRAINED = ("mnist_cnn", "efficientnet_lite0")
_RUNTIMES = ("litert", "onnxruntime")


def run(models: tuple[str, ...] = MODELS, effort: str = "quick", write=print) -> list[Results]:
    """Measure each of ``models`` in a study of its own under ``outputs/.bench``, resumable as every study; print both tables."""
    found = [_measured(model, effort, write) for model in models]
    write("\nPruning, structured and not, against fp32 in the same runtime:")
    write(lines([row for results in found for row in pruned(results)]))
    write("\nThe adaptive recipe against fp32 and against the uniform recipes:")
    write(lines([row for results in found for row in tables.adaptive(results).to_dict("records")]))
    for results in found:
        write(standing.provenance(results))
    return found


def pruned(results: Results) -> list[dict]:
    """One row for every timed variant with pruned weights or channels."""
    rows = []
    for variant in variants(Findings.of(results)):
        if variant.trial.recipe not in _PRUNED or variant.speed_up is None:
            continue
        floor = variant.speed_up.floor
        before, after = (one.get("macs") for one in (_inside(results, variant.float32), variant.inside))
        rows.append(
            {
                "model": variant.trial.model,
                "where": variant.trial.where,
                "recipe": variant.trial.shown,
                "MACs left": f"{after / before:.0%}" if before and after else "",
                "over fp32": variant.speed_up.words,
                "A/A noise": "not measured" if floor is None else f"up to {floor:.3f}x",
            }
        )
    return rows


def _inside(results: Results, trial) -> dict:
    return results.inside().get(trial.artifact_key, {}) if trial else {}


def _measured(model: str, effort: str, write) -> Results:
    recipes = (*_UNIFORM, *(_PRUNED if model in _TRAINED else ()), "adaptive_wi8")
    study = open_study("cpu", effort, models=(model,), recipes=recipes, runtimes=_RUNTIMES, batch_sizes=(1,), sweeps=(), write=write)
    fetch_downloads(study, write)
    study = replace(study, folder=outputs_root() / ".bench" / f"compression-{model}")
    study.measure(matrix=False)
    return study.results
