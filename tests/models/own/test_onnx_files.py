"""ONNX files of any age and maker at the door: refused in words, or put right, told, and answering as before."""

import numpy as np
import onnx
import onnxruntime
import pytest
from onnx import TensorProto, helper, numpy_helper

from studylib.artifacts.store import Store
from studylib.build.sources import Sources, answer
from studylib.errors import ArtifactError, InputError
from studylib.formats import inside, onnx_versions
from studylib.models.own import OwnModel, onnx_files
from studylib.models.zoo import Samples

WEIGHTS = np.random.default_rng(3).normal(size=(6, 4)).astype(np.float32)
FLOAT = TensorProto.FLOAT


def value(name, shape=("b", 4), kind=FLOAT):
    return helper.make_tensor_value_info(name, kind, shape)


def model(nodes=None, outputs=None, inputs=None, ir=8, opset=17, constants=None, domains=(), **more):
    nodes = nodes or [helper.make_node("MatMul", ["x", "w"], ["m"]), helper.make_node("Relu", ["m"], ["y"])]
    constants = {"w": WEIGHTS} if constants is None else constants
    graph = helper.make_graph(
        nodes, "net", inputs or [value("x", ("b", 6))], outputs if outputs is not None else [value("y")],
        [numpy_helper.from_array(array, name) for name, array in constants.items()],
    )  # fmt: skip
    versions = [helper.make_opsetid("", opset), *(helper.make_opsetid(domain, 1) for domain in domains)]
    return helper.make_model(graph, opset_imports=versions, ir_version=ir, **more)


def taken(tmp_path, made, name="mine.onnx"):
    """The file as a study takes it in, with its notes; and the store."""
    path = tmp_path / name
    path.write_bytes(made.SerializeToString())
    store = Store(tmp_path / "store")
    sources = Sources(OwnModel(str(path)), 0)
    return sources, sources.source(store), store


def told(artifact) -> list[str]:
    return artifact.lineage[-1].get("notes", {}).get("at the door", [])


def numpy_answer(x):
    return np.maximum(x @ WEIGHTS, 0)


# --- too new ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("ir", "opset"), [(onnx.IR_VERSION, onnx.defs.onnx_opset_version()), (99, 17), (11, 24), (99, onnx.defs.onnx_opset_version())]
)
def test_what_is_too_new_is_lowered_and_answers_the_same(ir, opset, tmp_path):
    sources, source, store = taken(tmp_path, model(ir=ir, opset=opset))
    newest_ir, newest_opset = onnx_versions.newest()
    changed = (opset > newest_opset, ir > newest_ir)
    assert [f"opset {opset} was lowered to {newest_opset}" in " ".join(told(source)), f"IR version {ir} was" in " ".join(told(source))] == [
        *changed
    ]
    samples = Samples.load(sources.samples("test", 4, store).path)
    found = answer(source, samples)["y"][:, 0]
    assert np.allclose(found, numpy_answer(np.array(samples.inputs["x"])), atol=1e-5)
    if any(changed):
        assert told(source)[-1] == "after this it answers as the original does (onnx itself: no runtime here opens the original)"


def test_a_new_operator_is_refused_with_versions_and_remedy_first(tmp_path):
    _, newest_opset = onnx_versions.newest()
    newer = [s.name for s in onnx.defs.get_all_schemas() if s.domain == "" and s.since_version > newest_opset and s.name == "SwiGLU"]
    if not newer:
        pytest.skip("this onnx has no operator that ONNX Runtime does not know yet")
    nodes = [helper.make_node(newer[0], ["x"], ["y"])]
    with pytest.raises(ArtifactError) as refused:
        taken(tmp_path, model(nodes, opset=onnx.defs.onnx_opset_version(), constants={}))
    begins = (
        f"mine.onnx has opset {onnx.defs.onnx_opset_version()}; ONNX Runtime {onnxruntime.__version__} opens up to opset {newest_opset}"
    )
    assert str(refused.value).startswith(f"{begins}, and it cannot be lowered: SwiGLU changed since")
    assert f"Export it with opset {newest_opset} or older" in str(refused.value)


def test_a_number_alone_is_not_lowered_where_the_newer_version_is_used(tmp_path):
    newest_ir, _ = onnx_versions.newest()
    made = model(ir=99)
    kind = next((name for name, since in onnx_versions._TYPES.items() if since > newest_ir), None)
    if kind is None:
        pytest.skip("ONNX Runtime opens every element type that onnx has")
    made.graph.value_info.append(value("z", (1,), TensorProto.DataType.Value(kind)))
    with pytest.raises(ArtifactError, match=rf"it cannot be lowered: it uses the element type {kind}, which came later\. Export it with"):
        taken(tmp_path, made)


def test_a_change_that_changes_answers_is_caught(tmp_path, monkeypatch):
    """The planted fault: a lowering that loses the Relu."""

    def wrong(made, name):
        made.graph.node[1].op_type = "Identity"
        return made, ["opset 28 was lowered"]

    monkeypatch.setattr(onnx_versions, "lowered", wrong)
    with pytest.raises(
        ArtifactError, match=r"mine\.onnx was changed \(opset 28 was lowered\) and answers differently since: output 0 differs by"
    ):
        taken(tmp_path, model())


# --- old, and written oddly ------------------------------------------------------------------------------------------


def test_weights_that_are_inputs_too_become_constants(tmp_path):
    made = model(ir=3, opset=9, inputs=[value("x", ("b", 6)), value("w", (6, 4))])
    _, source, _ = taken(tmp_path, made)
    assert told(source) == [
        "1 weights were listed as inputs too, and are constants now, which runtimes can optimize",
        "IR version 3, which wants weights among the inputs, was raised to 4",
        "after this it answers as the original does (ONNX Runtime)",
    ]
    assert [one["name"] for one in inside.look(source.path, "onnx")["inputs"]] == ["x"]


def test_minus_one_is_a_dynamic_axis(tmp_path):
    sources, source, store = taken(tmp_path, model(inputs=[value("x", (-1, 6))], outputs=[value("y", (-1, 4))]))
    assert told(source)[0] == "axes of x, y written as negative sizes are read as dynamic, as ONNX Runtime does"
    found = inside.look(source.path, "onnx")
    assert (found["inputs"][0]["shape"], found["outputs"][0]["shape"], found["macs"]) == ([None, 6], [None, 4], 24)
    assert Samples.load(sources.samples("test", 4, store).path).batch_axes == {"x": 0}


def test_minus_one_is_dynamic_wherever_shapes_are_read(tmp_path):
    """Also in files that did not come through the door."""
    from studylib.recipes.quantize.calibration_check import onnx_inputs
    from studylib.runtimes.nvidia.provider_engines import fixed_shapes

    path = tmp_path / "m.onnx"
    onnx.save(model(inputs=[value("x", (-1, 6))], outputs=[value("y", (-1, 4))]), path)
    assert onnx_inputs(path) == {"x": [None, 6]}
    assert fixed_shapes(path) == {}
    assert inside.look(path, "onnx")["inputs"][0]["shape"] == [None, 6]
    onnx.save(model(inputs=[value("x", (2, 6))], outputs=[value("y", (2, 4))]), path)
    assert fixed_shapes(path) == {"x": (2, 6)}


def test_nodes_out_of_order_are_sorted_with_what_their_branches_read(tmp_path):
    branch = {
        name: helper.make_graph([helper.make_node(op, ["m"], [name])], name, [], [value(name)])
        for name, op in (("then", "Relu"), ("else", "Neg"))
    }
    nodes = [
        helper.make_node("If", ["positive"], ["y"], then_branch=branch["then"], else_branch=branch["else"]),
        helper.make_node("MatMul", ["x", "w"], ["m"]),
        helper.make_node("Greater", ["sum", "zero"], ["positive"]),
        helper.make_node("ReduceSum", ["x"], ["sum"], keepdims=0),
    ]
    _, source, _ = taken(tmp_path, model(nodes, constants={"w": WEIGHTS, "zero": np.float32(0)}))
    assert told(source)[0] == "nodes were put behind what they read, as ONNX asks for"
    onnx.checker.check_model(onnx.load(source.path), full_check=True)
    order = [node.op_type for node in onnx.load(source.path).graph.node]
    assert order.index("MatMul") < order.index("If") > order.index("Greater")


def test_local_functions_are_written_out(tmp_path):
    function = helper.make_function(
        "mine", "Twice", ["a"], ["b"], [helper.make_node("Add", ["a", "a"], ["b"])], [helper.make_opsetid("", 17)]
    )
    nodes = [helper.make_node("MatMul", ["x", "w"], ["m"]), helper.make_node("Twice", ["m"], ["y"], domain="mine")]
    _, source, _ = taken(tmp_path, model(nodes, domains=("mine",), functions=[function]))
    assert told(source)[0] == "1 local functions were written out where they are called"
    assert {node.op_type for node in onnx.load(source.path).graph.node} == {"MatMul", "Add"}


def test_a_plain_file_is_copied_byte_for_byte(tmp_path):
    made = model()
    _, source, _ = taken(tmp_path, made)
    assert source.path.read_bytes() == made.SerializeToString()
    assert told(source) == []


# --- what cannot be used ---------------------------------------------------------------------------------------------


def sequence(name):
    return helper.make_tensor_sequence_value_info(name, FLOAT, None)


def zip_map():
    nodes = [
        helper.make_node("MatMul", ["x", "w"], ["m"]),
        helper.make_node("ZipMap", ["m"], ["probabilities"], domain="ai.onnx.ml", classlabels_int64s=[0, 1, 2, 3]),
    ]
    of_maps = helper.make_sequence_type_proto(helper.make_map_type_proto(TensorProto.INT64, helper.make_tensor_type_proto(FLOAT, None)))
    return model(nodes, [helper.make_value_info("probabilities", of_maps)], domains=("ai.onnx.ml",))


REFUSED = {
    "a sequence of maps": (
        zip_map,
        r"the output 'probabilities' of mine\.onnx is a sequence, not a tensor: scikit-learn's exporter .*'zipmap': False",
    ),
    "a sequence": (
        lambda: model([helper.make_node("SplitToSequence", ["x"], ["s"], axis=1)], [sequence("s")], constants={}),
        r"the output 's' of mine\.onnx is a sequence, not a tensor; only tensors can be compared here\. Remove it from the outputs",
    ),
    "a sequence as input": (
        lambda: model([helper.make_node("ConcatFromSequence", ["s"], ["y"], axis=0)], inputs=[sequence("s")], constants={}),
        r"the input 's' of mine\.onnx is a sequence, not a tensor; only tensors can be given to it",
    ),
    "text": (
        lambda: model(
            [helper.make_node("Cast", ["x"], ["y"], to=TensorProto.STRING)], [value("y", None, TensorProto.STRING)], constants={}
        ),
        r"the output 'y' of mine\.onnx is text; only numbers can be compared here\. Train with whole numbers as classes",
    ),
    "a custom domain": (
        lambda: model(
            [helper.make_node("GPT2Tokenizer", ["x"], ["y"], domain="ai.onnx.contrib")], domains=("ai.onnx.contrib",), constants={}
        ),
        r"has the custom operators GPT2Tokenizer \(1x\) of the domain ai\.onnx\.contrib: they need the package onnxruntime-extensions",
    ),
    "an unknown domain": (
        lambda: model([helper.make_node("Warp", ["x"], ["y"], domain="acme")], domains=("acme",), constants={}),
        r"has the custom operators Warp \(1x\) of the domain acme: they need a library of whoever made the file\. Export it with standard",
    ),
    "no outputs": (lambda: model(outputs=[]), r"mine\.onnx has no outputs, so there is no answer to measure or to compare"),
    "no operators": (
        lambda: (lambda made: (made.graph.ClearField("node"), made)[1])(model()),
        r"mine\.onnx holds no operators: its outputs are its inputs or constants",
    ),
    "a name made twice": (
        lambda: model([helper.make_node("Relu", ["x"], ["y"], name="a"), helper.make_node("Neg", ["x"], ["y"], name="b")], constants={}),
        r"no valid ONNX model: the value 'y' is made twice, by Relu 'a' and Neg 'b'",
    ),
    "an output of nobody": (lambda: model(outputs=[value("nobody")]), r"no valid ONNX model: nothing makes its output 'nobody'"),
    "a cycle": (
        lambda: model([helper.make_node("Add", ["x", "y"], ["z"], name="a"), helper.make_node("Relu", ["z"], ["y"])], constants={}),
        r"the graph has a cycle through the node 'a'",
    ),
}


@pytest.mark.parametrize("kind", REFUSED)
def test_what_cannot_be_measured_is_refused_by_its_name(kind, tmp_path):
    make, words = REFUSED[kind]
    with pytest.raises(ArtifactError, match=words) as refused:
        taken(tmp_path, make())
    assert str(tmp_path) not in str(refused.value)


@pytest.mark.parametrize("kind", REFUSED)
def test_a_look_inside_never_crashes(kind, tmp_path):
    """Files that came another way than through the door: facts, or an error of the study."""
    make, _ = REFUSED[kind]
    (tmp_path / "m.onnx").write_bytes(make().SerializeToString())
    try:
        found = inside.look(tmp_path / "m.onnx", "onnx")
    except ArtifactError as error:
        assert "cannot be read" in str(error) or "cycle" in str(error)
    else:
        assert {"inputs", "outputs", "operators"} <= set(found)


def test_missing_weights_are_named_without_a_path(tmp_path):
    onnx.save(model(), tmp_path / "mine.onnx", save_as_external_data=True, location="mine.data", size_threshold=0)
    (tmp_path / "mine.data").unlink()
    (tmp_path / "in").mkdir()
    with pytest.raises(InputError, match=r"keeps its weights in other files, and mine\.data is not beside it\. Copy that file there too"):
        OwnModel(str(tmp_path / "mine.onnx"))
    # Where they are gone only later.
    with pytest.raises(
        ArtifactError, match=r"keeps its weights in other files, and they cannot be read: .*mine\.data.*Copy them beside it"
    ) as refused:
        onnx_files.copied(tmp_path / "mine.onnx", tmp_path / "in")
    assert str(tmp_path) not in str(refused.value)


def test_optional_and_runtime_operators_go_in(tmp_path):
    """Operators of ONNX Runtime itself are no custom ones here."""
    nodes = [helper.make_node("MatMul", ["x", "w"], ["m"]), helper.make_node("Gelu", ["m"], ["y"], domain="com.microsoft")]
    _, source, _ = taken(tmp_path, model(nodes, domains=("com.microsoft",)))
    assert inside.look(source.path, "onnx")["custom_operators"] == ["com.microsoft.Gelu"]


def test_different_answers_are_told_apart():
    same = {"x": np.ones(2)}
    assert onnx_files.why_different(lambda q: [q["x"]], lambda q: [q["x"] + 1e-7], [same]) == ""
    assert onnx_files.why_different(lambda q: [q["x"]], lambda q: [q["x"] + 0.1], [same]) == "output 0 differs by 0.1"
    assert "has the shape [1, 2] instead of [2]" in onnx_files.why_different(lambda q: [q["x"]], lambda q: [q["x"][None]], [same])
    assert onnx_files.why_different(lambda q: [q["x"]], lambda q: [q["x"] * np.nan], [same])
