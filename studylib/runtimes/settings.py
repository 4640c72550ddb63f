"""The settings of a runtime as one text, as they stand in a trial."""


def text(settings: dict[str, str]) -> str:
    """``arena=off,pattern=off``: the same text for the same settings."""
    return ",".join(f"{name}={settings[name]}" for name in sorted(settings))


def read(options: str) -> dict[str, str]:
    """What `text` wrote."""
    return dict(part.split("=", 1) for part in options.split(",")) if options else {}
