"""A phone over adb: what it is, and jobs run on it by LiteRT's benchmark_model."""
