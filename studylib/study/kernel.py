"""The process in which the notebooks of a study run, one after the other."""

import tempfile
from types import TracebackType

# Names, figures and numbers of cells of the notebook before; libraries stay loaded.
_EMPTY = "get_ipython().reset(new_session=True)"
_TIMEOUT_S = 60


class Kernel:
    """One Jupyter kernel for all notebooks of a run; each finds it empty, but for the libraries, whose loading takes seconds.

    papermill starts it with the first notebook: give it ``manager`` as ``km``. Its sockets lie in a private folder instead of open
    ports: nobody else on the machine can reach it (docs/decisions/0006).
    """

    def __enter__(self) -> "Kernel":
        from jupyter_client import AsyncKernelManager
        from traitlets.config import Config

        self._sockets = tempfile.TemporaryDirectory(prefix="studylib-")
        address = {"transport": "ipc", "ip": f"{self._sockets.name}/kernel"}
        self.manager = AsyncKernelManager(kernel_name="python3", config=Config({"KernelManager": address}))
        return self

    def __exit__(self, kind: type | None, error: BaseException | None, traceback: TracebackType | None) -> None:
        from jupyter_core.utils import run_sync

        if self.manager.has_kernel:
            run_sync(self.manager.shutdown_kernel)()
        self._sockets.cleanup()

    def empty(self) -> None:
        """Forget what a notebook left, as if the kernel were new. Raises nbclient's `DeadKernelError` where that cannot be."""
        from jupyter_core.utils import run_sync
        from nbclient.exceptions import DeadKernelError

        if not self.manager.has_kernel:
            return
        try:
            reply = run_sync(self._emptied)()
        except (RuntimeError, TimeoutError) as error:  # it died, or does not answer
            raise DeadKernelError(str(error)) from None
        if reply["content"]["status"] != "ok":
            raise DeadKernelError(f"it could not be emptied: {reply['content']}")

    async def _emptied(self) -> dict:
        client = self.manager.client()
        client.start_channels()
        try:
            await client.wait_for_ready(timeout=_TIMEOUT_S)
            return await client.execute_interactive(_EMPTY, silent=True, timeout=_TIMEOUT_S)
        finally:
            client.stop_channels()
