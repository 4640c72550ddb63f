"""What may be asked of a study: each option declared once, with the name it is typed by, its help and its default."""

from typing import Annotated, Literal

from pydantic import Field, StrictBool, StrictFloat, StrictInt, StrictStr, field_validator

from studylib.params.defaults import SEED
from studylib.params.typed import STUDY, Typed, locations, names, number, place, share, whole_number, whole_numbers, yes_or_no
from studylib.params.yaml_files import Section

# Instead of a list of recipes or sweeps: every one there is.
ALL = "all"

Name = Annotated[StrictStr, Field(min_length=1, max_length=60, pattern=r"^[a-z0-9][a-z0-9_.-]*(/[a-z0-9_.-]+)?$")]
Names = Annotated[tuple[Name, ...], Field(min_length=1, max_length=64)]
# A name of the zoo, or the user's own file, folder or factory.
Location = Annotated[StrictStr, Field(min_length=1, max_length=4096, pattern=r"^[^\x00-\x1f\x7f]*$")]
Models = Annotated[tuple[Location, ...], Field(min_length=1, max_length=64)]
Scenarios = Annotated[tuple[Name, ...], Field(min_length=1, max_length=8)]
BatchSizes = Annotated[tuple[Annotated[StrictInt, Field(ge=1, le=4096)], ...], Field(min_length=1, max_length=64)]
# Words that are printed: no control characters, nothing that cannot be written as UTF-8.
Text = Annotated[StrictStr, Field(min_length=1, max_length=120, pattern=r"^[^\x00-\x1f\x7f]*$")]


HW = Typed("HW", "hardware set: a file in params/ (default: cpu)", default="cpu")
EFFORT = Typed("EFFORT", "smoke (minutes), quick (default) or full (publication)", default="quick")
STRICT = Typed("STRICT", "refuse a machine that is not the declared hardware", yes_or_no)
FORCE = Typed("FORCE", "measure again what is measured already", yes_or_no)


class Choice(Section):
    """Which trials a study holds: every combination that can run; and how it is measured.

    The order is that of the help and of the command that runs a study again.
    """

    models: Annotated[
        Models,
        Typed(
            "MODEL",
            "models of the zoo, or your own: a SavedModel folder, .keras, .h5, .onnx, .tflite, .pt2 or module:factory",
            locations,
            "A,B",
        ),
    ]
    recipes: Annotated[Names, Typed("RECIPE", "recipes instead of the hardware set's, or all", names, "A,B")]
    runtimes: Annotated[Names, Typed("RUNTIME", "runtimes instead of the hardware set's, as name or name/provider", names, "A,B")]
    batch_sizes: Annotated[BatchSizes, Typed("BATCH", "batch sizes instead of the hardware set's", whole_numbers, "1,8", STUDY)]
    sweeps: Annotated[
        tuple[Name, ...],
        Field(max_length=64),
        Typed(
            "SWEEP",
            "what to vary of fp32, one at a time: batch, threads, graph, execution, memory, spinning, xnnpack, hint, xla, engine; "
            "all, or none",
            names,
            "A,B",
            STUDY,
        ),
    ] = ()
    serve: Annotated[
        tuple[Name, ...],
        Field(max_length=16),
        Typed("SERVE", "servers to ask over a wire, as server/runtime: own/onnxruntime, own/tensorflow, …", names, "A,B", STUDY),
    ] = ()
    scenarios: Annotated[
        Scenarios, Typed("SCENARIO", "beside the hardware set's: server, multi_stream, streaming", names, "A,B", STUDY, adds=True)
    ] = ("single_stream", "offline")
    driver: Annotated[
        Literal["auto", "loadgen", "loop"],
        Typed("DRIVER", "who issues queries: loadgen (MLPerf's), loop, or auto (default)", verbs=STUDY),
    ] = "auto"
    target_qps: Annotated[
        Annotated[StrictFloat, Field(gt=0, le=1e6)] | None,
        Typed("QPS", "queries per second of the server scenario (default: the highest that keeps the bound)", number, verbs=STUDY),
    ] = None
    latency_bound_ms: Annotated[
        StrictFloat,
        Field(gt=0, le=60_000),
        Typed("BOUND", "milliseconds within which the server scenario answers 99 of 100 (default: 100)", number, "100", STUDY),
    ] = 100.0
    search: Annotated[
        StrictBool, Typed("SEARCH", "find the fastest by successive halving; measure only the last few in full", yes_or_no, verbs=STUDY)
    ] = False
    seed: Annotated[StrictInt, Field(ge=0, lt=2**32), Typed("SEED", "seed of training, samples and the order of trials", whole_number)] = (
        SEED
    )
    max_accuracy_loss: Annotated[
        StrictFloat,
        Field(ge=0, le=1),
        Typed("LOSS", "share of right answers that an adaptive recipe, or what is advised, may lose (default: 0.01)", share, "0.01"),
    ] = 0.01
    least_useful: Annotated[
        StrictFloat,
        Field(ge=0, le=1),
        Typed(
            "USEFUL", "least share of the source model's quality with which a variant is timed (default: 0.5; 0: all)", share, "0.5", STUDY
        ),
    ] = 0.5
    further_s: Annotated[
        Annotated[StrictFloat, Field(ge=0, le=1e6)] | None,
        Typed(
            "FURTHER",
            "seconds for further rounds of what is not decided (default: 30 for smoke, 300 for quick, 1800 for full)",
            number,
            "60",
            STUDY,
        ),
    ] = None
    all_threads: Annotated[
        StrictBool,
        Typed("ALL_THREADS", "time everything with all threads only, the fastest not with one thread too", yes_or_no, verbs=STUDY),
    ] = False
    assignment: Annotated[
        Location | None, Typed("ASSIGNMENT", "apply the assignment.json of an earlier search instead of searching", place, "PATH")
    ] = None
    data: Annotated[
        Location | None, Typed("DATA", "samples for your own model: .npz, or a folder of .npy files or pictures", place, "PATH")
    ] = None
    task: Annotated[
        Literal["classification", "question_answering", "speech_recognition", "other"] | None,
        Typed("TASK", "what your model's outputs mean: classification, question_answering, speech_recognition or other"),
    ] = None
    teach: Annotated[
        StrictBool, Typed("TEACH", "train a model although its samples cannot carry what is learned", yes_or_no, verbs=STUDY)
    ] = False
    trust: Annotated[StrictBool, Typed("TRUST", "let code inside your model's file run (Lambda layers)", yes_or_no)] = False
    # Share of the busy processor time that other virtual machines may take before a repetition is invalid.
    max_steal: Annotated[StrictFloat, Field(gt=0, le=1)] = 0.2

    @field_validator("models", "recipes", "runtimes", "batch_sizes", "sweeps", "serve", "scenarios")
    @classmethod
    def _no_duplicates(cls, values: tuple) -> tuple:
        plain = [value.removesuffix("/cpu") if isinstance(value, str) else value for value in values]
        twice = sorted({str(value) for value in plain if plain.count(value) > 1})
        if twice:
            raise ValueError(f"it should name each once; twice: {', '.join(twice)}")
        return values


def options() -> dict[str, Typed]:
    """How each field of `Choice` that may be typed is typed."""
    found = {name: next((one for one in field.metadata if isinstance(one, Typed)), None) for name, field in Choice.model_fields.items()}
    return {name: typed for name, typed in found.items() if typed}
