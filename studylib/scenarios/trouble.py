"""What may be wrong with the values of a scenario, in words."""


def why_failed(facts: dict) -> str:
    """What a scenario could not do, in words: queries that failed; empty when all were answered."""
    failed = facts.get("failed_queries", 0)
    return f"{failed} queries failed; the first: {facts['first_error']}" if failed else ""


def why_doubted(facts: dict) -> str:
    """That LoadGen's clock and ours tell different stories, in words; empty when they agree or there is only ours."""
    check = facts.get("crosscheck", {})
    if check.get("agrees", True):
        return ""
    ours, theirs = check["ours_ns"] / 1e6, check["loadgen_ns"] / 1e6
    return f"doubted: LoadGen's log says {theirs:.4g} ms where our clock says {ours:.4g} ms"
