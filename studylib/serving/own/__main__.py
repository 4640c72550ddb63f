"""``python -m studylib.serving.own``: serve the newest version in a folder."""

import argparse
import logging
import sys
from pathlib import Path

from studylib.errors import StudyError
from studylib.machine.lean_imports import import_leanly
from studylib.machine.processes import die_with_parent


def main(arguments: list[str]) -> int:
    """Serve until told to end; the exit status."""
    given = _parser().parse_args(arguments)
    if given.with_parent:
        die_with_parent()
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(message)s", stream=sys.stderr)
    import uvloop

    from studylib.models.own.card import Card, read_card
    from studylib.runtimes import Options
    from studylib.serving.own.limits import Batching, Limits
    from studylib.serving.own.serve import Configuration, serve

    try:
        limits = Limits(round(given.body_mb * 2**20), given.samples, given.waiting, given.at_once, given.answer_s, given.drain_s)
        configuration = Configuration(
            model=given.model,
            folder=given.folder,
            runtime=given.runtime,
            options=Options("cpu", given.threads, given.options),
            sessions=given.sessions,
            batching=Batching(given.batch, given.wait_ms / 1000),
            limits=limits,
            host=given.host,
            ports=(given.rest_port, given.grpc_port),
            look_s=given.look_s,
            token=given.token_file,
            certificate=given.certificate,
            key=given.key,
            card=read_card(given.card) if given.card else Card(),
        )
        uvloop.run(serve(configuration))
    except StudyError as error:
        print(f"error: {error}", file=sys.stderr)
        return error.exit_status
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m studylib.serving.own", description="Serve the newest version of a model in a folder.")
    add = parser.add_argument
    add("folder", type=Path, help="holds a folder for each version, named by its number, with a model in it; a newer one is swapped in")
    add("--model", required=True, help="the name under which it is served")
    add("--runtime", required=True, help="what computes: onnxruntime, tensorflow, litert or openvino")
    add("--options", type=_settings, default={}, help="settings of the runtime, as graph=basic,spinning=off")
    add("--threads", type=_count, default=1, help="for all sessions together (default: 1)")
    add("--sessions", type=_count, default=1, help="that answer beside each other, each with its share of the threads (default: 1)")
    add("--batch", type=_count, default=1, help="samples that requests which wait are put together to at most (default: 1, never)")
    add("--wait-ms", type=_seconds, default=0.0, help="how long the first request waits for company (default: 0)")
    add("--host", default="127.0.0.1", help="address to listen on (default: this machine only)")
    add("--rest-port", type=_port, default=8501, help="0 for any that is free (default: 8501)")
    add("--grpc-port", type=_port, default=8500, help="0 for any that is free (default: 8500)")
    add("--body-mb", type=_seconds, default=64.0, help="longest request in MiB (default: 64)")
    add("--samples", type=_count, default=256, help="most samples of a request (default: 256)")
    add("--waiting", type=_count, default=256, help="most requests that wait; one more is told to come later (default: 256)")
    add("--at-once", type=_count, default=512, help="most requests in hand (default: 512)")
    add("--answer-s", type=_seconds, default=30.0, help="longest time of an answer in seconds (default: 30)")
    add("--drain-s", type=_seconds, default=20.0, help="how long requests in hand are waited for at the end (default: 20)")
    add("--look-s", type=_seconds, default=1.0, help="how often it is looked for a newer version (default: every second)")
    add("--token-file", type=Path, help="file with the bearer token that every request must bring")
    add("--certificate", type=Path, help="TLS certificate (PEM)")
    add("--key", type=Path, help="key of the certificate (PEM)")
    add("--card", type=Path, help="model file beside which lies the card that says how pictures are prepared")
    add("--with-parent", action="store_true", help="end with the process that started it")
    return parser


def _count(text: str) -> int:
    if not text.isascii() or not text.isdigit() or not 1 <= int(text) <= 65536:
        raise argparse.ArgumentTypeError(f"'{text}' is no whole number from 1 to 65536")
    return int(text)


def _port(text: str) -> int:
    if not text.isascii() or not text.isdigit() or int(text) > 65535:
        raise argparse.ArgumentTypeError(f"'{text}' is no port: a whole number from 0 (any that is free) to 65535")
    return int(text)


def _settings(text: str) -> dict[str, str]:
    from studylib.runtimes.settings import read

    if text and not all("=" in part for part in text.split(",")):
        raise argparse.ArgumentTypeError(f"'{text}' names no settings: give name=value, with commas between several")
    return read(text)


def _seconds(text: str) -> float:
    try:
        found = float(text)
    except ValueError:
        found = -1.0
    if not 0 <= found <= 86_400:
        raise argparse.ArgumentTypeError(f"'{text}' is no number from 0 to 86400")
    return found


if __name__ == "__main__":
    import_leanly()
    sys.exit(main(sys.argv[1:]))
