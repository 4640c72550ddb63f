"""Is it still the same model: metrics, parity, batches, integers, and the layer where two models begin to differ."""
