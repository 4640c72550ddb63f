"""Weight clustering: each kernel keeps a few distinct values, shared by its weights. Source: tfmot's clustering API."""

from studylib.errors import RefusedError
from studylib.training import evidence
from studylib.training.pruning import kernels_of, others
from studylib.training.schooling import Schooling


def cluster(model, options: dict, schooling: Schooling) -> tuple[object, dict]:
    """``model`` (tf_keras) with ``options["clusters"]`` values in each kernel, without wrappers, and notes.

    Zeros stay zeros when ``options["sparsity"]`` or a pattern made some before. Raises `RefusedError` when there is nothing to cluster.
    """
    import tensorflow_model_optimization as tfmot
    import tf_keras
    from tensorflow_model_optimization.python.core.clustering.keras.experimental import cluster as experimental

    arguments = {
        "number_of_clusters": options["clusters"],
        "cluster_centroids_init": tfmot.clustering.keras.CentroidInitialization.KMEANS_PLUS_PLUS,
        "preserve_sparsity": keeps_zeros(options),
    }
    wrapped: list[str] = []

    def wrap(layer):
        if not _is_clusterable(layer, options["clusters"]):
            return layer
        wrapped.append(layer.name)
        return experimental.cluster_weights(layer, **arguments)

    clustered = tf_keras.models.clone_model(model, clone_function=wrap)
    if not wrapped:
        raise RefusedError(
            f"no kernel of the model can be clustered to {options['clusters']} values; "
            "tensorflow-model-optimization clusters Dense, Conv, Embedding and such with more weights than that"
        )
    losses = schooling.teach(clustered, "clustering")
    stripped = tfmot.clustering.keras.strip_clustering(clustered)
    kernels = kernels_of(stripped, wrapped)
    distinct = {name: one["distinct_values"] for name, one in evidence.of_each(kernels).items()}
    return stripped, {
        "loss_by_epoch": losses,
        "batch_normalization": schooling.normalization(),
        "distinct_values": distinct,
        "not_clustered": others(stripped, wrapped),
    }


def keeps_zeros(options: dict) -> bool:
    """Whether pruning came before."""
    return bool(options.get("sparsity") or options.get("pattern"))


def _is_clusterable(layer, clusters: int) -> bool:
    """Whether tfmot clusters a kernel of this layer and the kernel has more weights than values it shall keep."""
    from tensorflow_model_optimization.python.core.clustering.keras.clustering_registry import ClusteringRegistry

    if not layer.trainable_weights or not ClusteringRegistry.supports(layer):
        return False
    try:
        weights = ClusteringRegistry.make_clusterable(layer).get_clusterable_weights()
    except (ValueError, KeyError, AttributeError):
        return False
    return bool(weights) and all(weight.shape.num_elements() > clusters for _, weight in weights)
