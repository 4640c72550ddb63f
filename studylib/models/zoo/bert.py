"""BERT-base for question answering, with random weights: the published architecture, fixed windows of tokens."""

import numpy as np

from studylib.models.zoo.base import Model, Samples

_CLS, _SEP = 101, 102
_FIRST_WORD = 999  # the vocabulary holds single characters and words from here on, roughly by falling frequency
_POSITIONS = 512
_MASKED = -10_000.0  # as published; fits float16


class BertBase(Model):
    """Question and context, one window of token ids, to a start and an end logit per token.

    Source: Devlin et al. 2018; post-layer-norm, exact GELU, no pooler, two logits per token as for SQuAD.
    Weights: normal with standard deviation 0.02, as published for its start. Samples: synthetic token ids with the layout
    ``[CLS] question [SEP] context [SEP] padding``; they carry agreement with the float model and no accuracy.
    """

    task = "question_answering"
    weights = "random"
    data = "synthetic"
    packages = ("keras", "tensorflow", "numpy")
    test_samples = 32

    def __init__(self, name: str, tokens: int, layers: int = 12, hidden: int = 768, heads: int = 12, vocabulary: int = 30_522):
        self.name, self.tokens, self.layers = name, tokens, layers
        self.hidden, self.heads, self.vocabulary = hidden, heads, vocabulary
        self.inputs = dict.fromkeys(("input_ids", "attention_mask", "token_type_ids"), (tokens,))
        self.dtypes = dict.fromkeys(self.inputs, "int32")

    @property
    def parameters(self) -> int:
        """How many weights `build` makes: embeddings, per layer four square and two four-fold products, two layer norms, the head."""
        width, norm = self.hidden, 2 * self.hidden
        embeddings = (self.vocabulary + _POSITIONS + 2) * width + norm
        layer = 4 * (width * width + width) + 2 * 4 * width * width + 4 * width + width + 2 * norm
        return embeddings + self.layers * layer + 2 * width + 2

    def build(self, seed: int):
        import keras

        keras.utils.set_random_seed(seed)
        inputs = {name: keras.Input(shape, dtype=self.dtypes[name], name=name) for name, shape in self.inputs.items()}
        x = self._embedded(inputs["input_ids"], inputs["token_type_ids"])
        bias = _attention_bias(inputs["attention_mask"], self.tokens)
        for index in range(self.layers):
            x = self._layer(x, bias, f"layer_{index}")
        answers = _dense(2, "answers")(x)
        outputs = {name: keras.layers.Identity(name=name)(answers[..., index]) for index, name in enumerate(("start_logits", "end_logits"))}
        return keras.Model(list(inputs.values()), outputs, name=self.name)

    def samples(self, split: str, n: int, seed: int) -> Samples:
        """Windows between a third full and full, questions of 6 to 16 tokens, words as frequent as their rank says (Zipf)."""
        rng = np.random.default_rng([seed, ("train", "test").index(split)])
        inputs = {name: np.zeros((n, self.tokens), np.int32) for name in self.inputs}
        for index in range(n):
            length = int(rng.integers(self.tokens // 3, self.tokens + 1))
            question = min(int(rng.integers(6, 17)), length // 2)
            words = np.exp(rng.uniform(np.log(_FIRST_WORD), np.log(self.vocabulary), length)).astype(np.int32)
            words[[0, question + 1, length - 1]] = _CLS, _SEP, _SEP
            inputs["input_ids"][index, :length] = words
            inputs["attention_mask"][index, :length] = 1
            inputs["token_type_ids"][index, question + 2 : length] = 1
        return Samples(inputs, labels=None)

    def _embedded(self, ids, types):
        """Words, places and segments as one vector per token, shape (batch, tokens, hidden)."""
        from keras import layers, ops

        # Places depend on no input, but a Keras graph is made of what does: a constant would not survive saving.
        # The maximum, because Keras makes an addition along the last axis a BiasAdd, which LiteRT has not for integers.
        places = ops.maximum(ops.zeros_like(ids), np.arange(self.tokens, dtype=np.int32))
        parts = (("word", self.vocabulary, ids), ("position", _POSITIONS, places), ("token_type", 2, types))
        words, positions, segments = (
            layers.Embedding(size, self.hidden, embeddings_initializer=_initializer(), name=f"{name}_embeddings")(of)
            for name, size, of in parts
        )
        return _norm("embeddings_norm")(words + positions + segments)

    def _layer(self, x, bias, name: str):
        """Attention, then feed-forward, each added to its input and normalised afterwards."""
        attended = _dense(self.hidden, f"{name}_attention_output")(self._attention(x, bias, f"{name}_attention"))
        x = _norm(f"{name}_attention_norm")(x + attended)
        inner = _dense(4 * self.hidden, f"{name}_feed_forward", "gelu")(x)
        return _norm(f"{name}_norm")(x + _dense(self.hidden, f"{name}_output")(inner))

    def _attention(self, x, bias, name: str):
        from keras import layers, ops

        size = self.hidden // self.heads

        def by_head(role: str):
            """Shape (batch, heads, tokens, size)."""
            split = layers.Reshape((self.tokens, self.heads, size), name=f"{name}_{role}_heads")
            return ops.transpose(split(_dense(self.hidden, f"{name}_{role}")(x)), (0, 2, 1, 3))

        scores = ops.matmul(by_head("query"), ops.transpose(by_head("key"), (0, 1, 3, 2))) * size**-0.5 + bias
        weights = layers.Softmax(name=f"{name}_weights")(scores)
        context = ops.transpose(ops.matmul(weights, by_head("value")), (0, 2, 1, 3))
        return layers.Reshape((self.tokens, self.hidden), name=f"{name}_context")(context)


def _attention_bias(mask, tokens: int):
    """0 where a token may be looked at and `_MASKED` where it is padding, shape (batch, 1, 1, tokens)."""
    from keras import layers, ops

    return layers.Reshape((1, 1, tokens), name="attention_bias")((1.0 - ops.cast(mask, "float32")) * _MASKED)


def _initializer():
    import keras

    return keras.initializers.RandomNormal(stddev=0.02)


def _dense(units: int, name: str, activation: str | None = None):
    import keras

    return keras.layers.Dense(units, activation=activation, kernel_initializer=_initializer(), name=name)


def _norm(name: str):
    import keras

    return keras.layers.LayerNormalization(epsilon=1e-12, name=name)
