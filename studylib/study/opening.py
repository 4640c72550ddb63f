"""Open a study: parameters read and checked, models named, the plan made."""

import inspect
import os
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

from studylib.errors import InputError
from studylib.executors import Phone, find_phone
from studylib.machine import hardware
from studylib.machine.processes import die_with_parent
from studylib.models.own import OwnModel, is_own
from studylib.models.zoo import MODELS, Model, labelled_photographs
from studylib.models.zoo.downloads import fetch
from studylib.models.zoo.photographs import SeesPhotographs
from studylib.params.known import check_names
from studylib.params.paths import outputs_root
from studylib.params.sets import HardwareProfile, resolve
from studylib.params.study_options import ALL, Choice, options
from studylib.params.typed import exists, place
from studylib.recipes import names
from studylib.runtimes import RUNTIMES
from studylib.scenarios import SCENARIOS
from studylib.study import served_trials, sweeps
from studylib.study.plan import Plan
from studylib.study.study import Study

# What the notebooks of a study measure, whatever is plugged in or out meanwhile: the phone of this serial number, or none.
ON_PHONE, NO_PHONE = "STUDYLIB_ON_PHONE", "none"


def open_study(hardware_set: str, effort: str = "quick", *, write: Callable[[str], None] = print, **choice) -> Study:
    """A study of ``params/<hardware_set>.yaml`` on this host or on the phone that it reaches, its parameters checked.

    Runs nothing, writes nothing. ``choice``: options in place of the hardware set's, by the names that `studylib.options` lists.

    >>> import studylib as sl
    >>> study = sl.open_study("cpu", "smoke")                                                    # doctest: +SKIP
    >>> study = sl.open_study("cpu", models=["my model.onnx"], data="samples.npz")               # doctest: +SKIP
    >>> study = sl.open_study("cpu", "full", recipes=["all"], runtimes=["litert"], search=True)  # doctest: +SKIP
    """
    if os.environ.get("STUDYLIB_HEADLESS"):
        die_with_parent()  # otherwise a kernel whose study was killed would go on measuring beside the next one
    if isinstance(choice.get("models"), list | tuple):
        choice["models"] = tuple(located(name) if isinstance(name, str) else name for name in choice["models"])
    choice |= {name: place(choice[name]) for name in ("data", "assignment") if isinstance(choice.get(name), str)}
    resolved = resolve(hardware_set, effort, **choice)
    providers = {name: runtime.providers for name, runtime in RUNTIMES.items()}
    own = [location for location in resolved.choice.models if location not in MODELS and is_own(location)]
    if resolved.choice.assignment and not Path(resolved.choice.assignment).is_file():
        raise InputError(f"ASSIGNMENT is '{resolved.choice.assignment}'; it must be the assignment.json that a search wrote.")
    sweeps.chosen(resolved.choice.sweeps)
    served_trials.check(resolved.choice.serve)
    asked = [name for name, scenario in SCENARIOS.items() if not scenario.of_servers]
    check_names(resolved, [*MODELS, *own], [*names(), ALL], providers, asked)
    host, phone = where(resolved.hardware)
    plan = Plan(resolved, host, chosen_models(resolved.choice, own), phone=phone)
    return Study(plan, outputs_root() / resolved.hardware.name, write)


def _with_options(function: Callable) -> inspect.Signature:
    """The signature of ``function`` with each option of a study as a keyword, so that a prompt completes them."""
    own = [one for one in inspect.signature(function).parameters.values() if one.kind is not inspect.Parameter.VAR_KEYWORD]
    fields = Choice.model_fields
    more = [inspect.Parameter(name, inspect.Parameter.KEYWORD_ONLY, default=None, annotation=fields[name].annotation) for name in options()]
    return inspect.Signature([*own, *more], return_annotation=Study)


open_study.__signature__ = _with_options(open_study)


def located(name: str) -> str:
    """Names of the zoo as they are; files and folders as seen from here, since other processes run elsewhere. A link stays a link."""
    return place(name) if name not in MODELS and is_own(name) and (exists(name) or ":" not in name) else name


def where(profile: HardwareProfile) -> tuple[hardware.Host, Phone | None]:
    """What a study measures: the phone that the hardware set is reached by, where one is attached; otherwise this machine."""
    host = hardware.probe()
    if profile.reached_by is None or host.system in profile.host.systems:
        return host, None
    began_on = os.environ.get(ON_PHONE, "")
    phone, why = (None, "this study began without one") if began_on == NO_PHONE else find_phone()
    if phone and began_on in ("", phone.adb.serial):
        return phone.host, phone
    if began_on not in ("", NO_PHONE):
        why = why or "another one is attached"
        raise InputError(f"the phone that this study began on is not reached any more: {why}. Then run the same command again.")
    return replace(host, unreached=f"no phone is reached: {why}"), None


def fetch_downloads(study: Study, write: Callable[[str], None]) -> None:
    """Bring published weights and labelled photographs into the cache; where that fails, what takes their place is said."""
    for name, model in study.plan.models.items():
        if model.published and model.published.why_not():
            write(f"weights of {name}: fetching {model.published.size_bytes / 1e6:.0f} MB")
            reason = fetch(model.published)
            if reason:
                print(f"weights of {name}: random ones, since {reason}")
    # What random weights answer has no accuracy, whatever the labels.
    models = study.plan.models.items()
    names = ", ".join(name for name, model in models if isinstance(model, SeesPhotographs) and model.weights == "trained")
    if names and labelled_photographs.why_not():
        write(f"labelled photographs for {names}: {labelled_photographs.SIZE_BYTES / 1e6:.0f} MB by the package manager")
        reason = labelled_photographs.fetch()
        if reason:
            print(f"labelled photographs for {names}: {reason}. Unlabelled crops of other photographs take their place")


def chosen_models(choice: Choice, own: list[str]) -> dict[str, Model]:
    """The models of a study by the names that its tables show; a user's model has its file's name, made unique."""
    if choice.data and len(own) != 1:
        raise InputError(f"DATA belongs to one MODEL that is a file, and {len(own) or 'none'} of the models is. Give one file.")
    models: dict[str, Model] = {}
    refusals: list[InputError] = []
    for location in choice.models:
        if location not in own:
            models[location] = MODELS[location]
            continue
        facts = (location, choice.data, choice.task, choice.trust)
        try:
            model = OwnModel(*facts)
        except InputError as error:
            refusals.append(error)
            if len(refusals) == len(choice.models):
                raise refusals[0] from None  # there is nothing else to go on with
            model = OwnModel(*facts, refusal=str(error))
        name, number = model.name, 1
        while name in MODELS or name in models:
            number += 1
            name = f"{model.name}_{number}"
        models[name] = replace(model, name=name)
    return models
