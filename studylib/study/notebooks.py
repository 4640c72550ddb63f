"""Run the notebooks headless, in order, and only those whose inputs have changed."""

import contextlib
import hashlib
import json
import logging
import os
import re
import sys
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from studylib.artifacts.software import sources_hash
from studylib.artifacts.store import content_hash, is_disk_error, output_error, write_text
from studylib.errors import OutputError, StudyError
from studylib.machine.lean_imports import import_leanly
from studylib.params.paths import root
from studylib.study.kernel import Kernel
from studylib.study.opening import NO_PHONE, ON_PHONE
from studylib.study.study import Study

NOTEBOOKS = ("01-conversion", "02-quantization-tradeoffs", "03-cross-platform-benchmarks", "04-serving", "09-findings")
_READS = "09-findings"
# The notebook that begins new measurements when FORCE=1 asks for them; the next one completes them.
_MEASURES = "02-quantization-tradeoffs"
_TIMEOUT_S = 24 * 3600
# Lines of a running notebook that people wait for; everything else stays in the executed notebook.
_PROGRESS = re.compile(r"^(artifact|evaluation|repetition|peaks|further rounds)\b|^Nothing to measure|is corrupted|is damaged")


@dataclass(frozen=True)
class Runner:
    """Executes the notebooks of a study into ``outputs/<HW>/notebooks/``."""

    study: Study
    write: Callable[[str], None] = print

    @property
    def folder(self) -> Path:
        return self.study.folder / "notebooks"

    @property
    def _parameters(self) -> dict:
        """What papermill injects: the same study in every notebook."""
        params = self.study.params
        return {"hardware": params.hardware.name, "effort": params.effort, "choice": params.changes()}

    def left(self, force: bool = False) -> list[str]:
        """The notebooks that are not up to date, in order."""
        complete = self.study.is_complete() and not force
        # A notebook reads what the earlier ones made, so after one that is executed the rest follow.
        left = list(NOTEBOOKS)
        while complete and left and self._is_current(left[0]):
            left.pop(0)
        return left

    def run(self, left: list[str], force: bool = False) -> None:
        """Execute the notebooks ``left``, in order.

        Raises `StudyError` with the failing cell's error; the half-run notebook is kept beside, as ``….failed.ipynb``.
        """
        if left:
            with Kernel() as kernel:
                for name in left:
                    self.write(f"notebook {name}")
                    self._execute(kernel, name, bool(force) and name == _MEASURES)

    def report_is_current(self) -> bool:
        """Whether the report was built after the last notebook and from the same results."""
        return self._is_current("report")

    def report_was_built(self) -> None:
        """Remember what the report was built from."""
        self._remember("report")

    def _is_current(self, name: str) -> bool:
        return self._keys().get(name) == self._state(name)

    def _state(self, name: str) -> str:
        """What ``name`` was made from and what it holds: both must be as they were for it to count as current."""
        made = [self.folder / f"{name}.ipynb"]
        if name == "report":
            made = [self.study.folder / part for part in ("report", "figures", "results.parquet")]
        content = [content_hash(path) if path.exists() else "absent" for path in made]
        return ":".join([self._key(_READS if name == "report" else name), *content])

    def _execute(self, kernel: Kernel, name: str, force: bool) -> None:
        import_leanly()
        import papermill
        from jupyter_core.utils import ensure_event_loop
        from nbclient.exceptions import DeadKernelError

        source = root() / "notebooks" / f"{name}.ipynb"
        offered = self._parameters | {"force": force}
        # papermill only warns about a name that the notebook does not have, and injects it all the same.
        values = {key: offered[key] for key in papermill.inspect_notebook(source)}
        target = self.folder / f"{name}.ipynb"
        temporary = self.folder / f".{name}.running.ipynb"
        self._prepare(temporary)
        os.environ["STUDYLIB_HEADLESS"] = "1"  # inherited by the kernel
        os.environ[ON_PHONE] = self.study.plan.phone.adb.serial if self.study.plan.phone else NO_PHONE
        with _listening(self.write), _stderr_to(self.folder / "kernel.log"), warnings.catch_warnings():
            warnings.simplefilter("ignore")
            try:
                kernel.empty()
                papermill.execute_notebook(
                    source,
                    temporary,
                    parameters=values,
                    kernel_name="python3",
                    language="python",
                    start_timeout=180,
                    execution_timeout=_TIMEOUT_S,
                    iopub_timeout=60,
                    progress_bar=False,
                    log_output=True,
                    autosave_cell_every=0,
                    km=kernel.manager,
                    cwd=root(),
                )
            except papermill.PapermillExecutionError as error:
                failed = target.with_suffix(".failed.ipynb")
                temporary.replace(failed)
                raise self._failure(name, error, failed) from None
            except KeyboardInterrupt:
                # The cell that was under way ends with its kernel, and asyncio would tell of that after our own last words.
                ensure_event_loop().set_exception_handler(lambda loop, context: None)
                raise
            except DeadKernelError:
                reason = "its kernel died (often: out of memory)"
                raise StudyError(f"notebook {name}: {reason}. What ran before is kept; run the same command again.") from None
            except OSError as error:
                if is_disk_error(error):
                    raise output_error(self.folder, error) from None
                raise StudyError(f"notebook {name} could not be run: {error}. Run the same command again.") from None
            else:
                temporary.replace(target)
            finally:
                temporary.unlink(missing_ok=True)
        target.with_suffix(".failed.ipynb").unlink(missing_ok=True)
        self._remember(name)

    def _prepare(self, temporary: Path) -> None:
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            temporary.unlink(missing_ok=True)
        except OSError as error:
            raise output_error(self.folder, error) from None

    def _failure(self, name: str, error, kept: Path) -> StudyError:
        if error.ename == "OutputError":
            return OutputError(error.evalue)
        return StudyError(
            f"notebook {name}, cell {error.exec_count}: {error.ename}: {error.evalue} "
            f"What ran before it is kept; see {kept}, correct the cause and run again."
        )

    def _key(self, name: str) -> str:
        """Hash of all that an executed notebook depends on: its source, its parameters, studylib, host.

        The last notebook reads stored results; the others make them, and the study knows whether those are complete.
        """
        digest = hashlib.sha256((root() / "notebooks" / f"{name}.ipynb").read_bytes())
        facts = (self._parameters, sources_hash((".",)), self.study.host.id)
        digest.update(json.dumps(facts, sort_keys=True).encode())
        if name == _READS:
            for file in sorted(self.study.results.raw.rglob("*.json")):
                digest.update(file.relative_to(self.study.folder).as_posix().encode())
        return digest.hexdigest()

    def _remember(self, name: str) -> None:
        write_text(self.folder / "keys.json", json.dumps(self._keys() | {name: self._state(name)}, indent=1))

    def _keys(self) -> dict[str, str]:
        try:
            keys = json.loads((self.folder / "keys.json").read_text(encoding="utf-8"))
        except (OSError, ValueError, RecursionError):
            return {}
        return keys if isinstance(keys, dict) else {}


@contextlib.contextmanager
def _stderr_to(path: Path):
    """What kernels write past Jupyter, when they are stopped for example, goes to a file and not among our own words."""
    sys.stderr.flush()
    kept = os.dup(2)
    with path.open("ab") as file:
        os.dup2(file.fileno(), 2)
    try:
        yield
    finally:
        os.dup2(kept, 2)
        os.close(kept)


class _listening:
    """Hands the progress lines of papermill's log to ``write`` and keeps the rest off the terminal."""

    def __init__(self, write: Callable[[str], None]):
        self.handler = _LineHandler(write)
        self.logger = logging.getLogger("papermill")

    def __enter__(self) -> None:
        self.before = self.logger.level, self.logger.propagate
        self.logger.setLevel(logging.INFO)
        self.logger.propagate = False
        self.logger.addHandler(self.handler)

    def __exit__(self, *_) -> None:
        self.logger.removeHandler(self.handler)
        self.logger.level, self.logger.propagate = self.before


class _LineHandler(logging.Handler):
    def __init__(self, write: Callable[[str], None]):
        super().__init__()
        self._write = write

    def emit(self, record: logging.LogRecord) -> None:
        for line in record.getMessage().splitlines():
            if _PROGRESS.search(line):
                self._write(line)
