"""What a user would pick instead: our winner against what other tools make of the same float file, in alternating blocks.

Other tools, and servers of others, run in environments of their own, which are made on demand.
"""

from dataclasses import dataclass, replace

from studylib.artifacts.environments import Environment, EnvironmentFailedError
from studylib.artifacts.software import digest
from studylib.bench.peers.tools import Peer
from studylib.params.paths import outputs_root
from studylib.results.records import Trial
from studylib.serving.servers import SERVERS
from studylib.serving.servers.apart import Apart
from studylib.stats import Verdict
from studylib.study.opening import open_study
from studylib.study.study import Study
from studylib.verdicts.compare import SpeedUp, speed_up
from studylib.verdicts.findings import Findings
from studylib.verdicts.losses import Lost, lost_of
from studylib.verdicts.variants import Variant
from studylib.verdicts.winners import smallest_batch
from studylib.wording import lines

_RUNTIMES = ("tensorflow", "litert", "onnxruntime", "openvino")
# Two with trained weights, and one whose random ones are judged by fidelity.
MODELS = ("mnist_cnn", "efficientnet_lite0", "mobilenet_v2")
_RECIPES = ("dynamic_wi8_afp32", "static_wi8_ai8")
_AEQ = ("by_ai_edge_quantizer.py", ("ai-edge-quantizer==0.10.0",), "tflite", "litert", "tflite")
PEERS = (
    Peer("NNCF", "by_nncf.py", ("nncf==3.4.0", "openvino==2026.4.1"), "onnx", "openvino", "openvino"),
    Peer("ONNX Runtime", "by_onnxruntime.py", ("onnxruntime==1.32.0", "onnx==1.23.2", "sympy==1.14.0"), "onnx", "onnxruntime", "onnx"),
    Peer("Olive", "by_olive.py", ("olive-ai==0.13.0", "onnxruntime==1.32.0", "requests==2.34.2"), "onnx", "onnxruntime", "onnx"),
    *(Peer(f"ai-edge-quantizer {recipe}", *_AEQ, recipe=recipe, wish=recipe) for recipe in _RECIPES),
)


@dataclass(frozen=True)
class Beside:
    """A peer's file beside our ``winner``: what it ``lost``, whether that is within our budget, and how much faster ours is."""

    peer: str
    winner: str
    lost: Lost
    is_within: bool | None
    ours: SpeedUp

    @property
    def holds(self) -> bool:
        """Whether this peer is not measurably faster than our winner, or known to be over the budget."""
        return self.is_within is False or self.ours.verdict is not Verdict.SLOWER

    @property
    def row(self) -> dict:
        budget = {True: "kept", False: "over budget", None: "not known"}[self.is_within]
        told = "yes" if self.holds else "NO"
        return {"peer": self.peer, "lost": self.lost.words, "budget": budget, f"ours ({self.winner})": self.ours.words, "holds": told}


def environments() -> dict[str, Environment]:
    """The environments of every tool and server of others, by what each is for."""
    servers = [server for server in SERVERS.values() if isinstance(server, Apart)]
    apart = [server.environment_of(backend) for server in servers for backend in server.backends]
    return {one.name: one for one in (*(peer.environment for peer in PEERS), *apart)}


def run(models: tuple[str, ...] = MODELS, effort: str = "smoke", write=print) -> dict[str, list[Beside]]:
    """Study every model, let every peer quantize its float file, and time them with our winner in turn; print and return by model."""
    found = {}
    for model in models:
        study = open_study("cpu", effort, write=write, models=(model,), runtimes=_RUNTIMES)
        study = replace(study, folder=outputs_root() / ".bench" / "peers" / model)
        study.measure(smallest=True, matrix=False)
        study.save_plan()
        (winner,) = smallest_batch(Findings.of(study.results))
        if winner.variant is None:
            write(f"{model}: names nobody: {winner.reason}")
            continue
        trials = _made(study, model, write)
        found[model] = _compared(study, winner.variant.trial, trials, write)
        write(f"\n{model}: our winner against what other tools make of the same file")
        write(lines([one.row for one in found[model]]))
    return found


def _made(study: Study, model: str, write) -> dict[str, Trial]:
    """The trial of what each peer makes, by the peer's name; says why there is none."""
    trials = {}
    count = study.params.settings.calibration_samples
    (calibration,) = {target.key for target in study.plan.targets if (target.kind, target.split, target.n) == ("samples", "train", count)}
    samples = study.artifact(calibration)
    for peer in PEERS:
        usual = next((t for t in study.made if (t.runtime, t.recipe, t.control, t.sweep) == (peer.runtime, "fp32", False, "")), None)
        try:
            if usual is None:
                raise EnvironmentFailedError(f"{peer.name}: {peer.runtime} fp32 of {model} is not in this study")
            peer.install(write)
            write(f"{peer.name}: quantizing {model}")
            made = peer.make(study.make(model, peer.reads), samples, study.store)
        except EnvironmentFailedError as error:
            write(str(error))
            continue
        evaluation = "evaluation-" + digest((usual.evaluation_id, made.key))[:16]
        trials[peer.name] = replace(usual, recipe=peer.recipe, artifact_key=made.key, evaluation_id=evaluation)
    return trials


def _compared(study: Study, winner: Trial, trials: dict[str, Trial], write) -> list[Beside]:
    """Evaluate what peers made, and time all with our winner in turn, in a campaign of their own; says what could not be timed."""
    study.bench.evaluate(list(trials.values()))
    together = [winner, *trials.values()]
    study.bench.measure(together, study.results.newest_campaign() + 1)
    findings = Findings(study.results)
    found = []
    for name, trial in trials.items():
        if not study.results.measurements(trial.id):
            reasons = [attempt.reason for attempt in study.results.attempts(trial.id) if attempt.reason]
            write(f"{name}: not timed: {reasons[-1] if reasons else study.results.why_unlike(trial)}")
            continue
        lost = lost_of(Variant(findings, trial, None))
        ours = speed_up(trial, winner, study.results, findings.floor(trial.model, trial.batch_size))
        found.append(Beside(name, winner.label, lost, lost.within(findings.budget), ours))
    return found
