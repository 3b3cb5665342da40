"""What the operator lets runs of lfx use; ``lfx_child/fence.py`` builds it."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True, slots=True)
class Fence:
    """What runs of lfx may use.

    Args:
        python: the interpreter of an environment that has lfx.
        user: whom the server changes to where it is root.
        ports: TCP ports that a run may connect to; empty: no network; None: all of them.
        memory: bytes of address space of a run, beyond what lfx itself takes.
        seconds: that a run may take, by the clock and of the processor.
        file: bytes of the largest file that a run may write.
        hosts: that lfx's own components may reach although they are not public.
        allow_code: components run what the flow's JSON brings as their source.
    """

    python: Path
    user: str = "nobody"
    ports: tuple[int, ...] | None = ()
    memory: int = 1024 * 1024 * 1024
    seconds: float = 300.0
    file: int = 100_000_000
    hosts: tuple[str, ...] = ()
    allow_code: bool = False

    def environment(self) -> dict[str, str]:
        """All that a run's environment has: where programs are, and what keeps lfx quiet, small and shut."""
        return {
            "PATH": "/usr/bin:/bin",
            "LANG": "C.UTF-8",
            "DO_NOT_TRACK": "true",
            "LANGFLOW_DO_NOT_TRACK": "true",
            "LANGFLOW_LOG_LEVEL": "critical",
            "LANGFLOW_FALLBACK_TO_ENV_VAR": "false",
            # Landlock restricts it; lfx's own rule would refuse the copies of uploads as well.
            "LANGFLOW_RESTRICT_LOCAL_FILE_ACCESS": "false",
            "LANGFLOW_SSRF_PROTECTION_ENABLED": "true",
            "LANGFLOW_SSRF_ALLOWED_HOSTS": ",".join(self.hosts),
            "LANGFLOW_ALLOW_CUSTOM_COMPONENTS": str(self.allow_code).lower(),
            "LANGFLOW_BLOCK_CODE_INTERPRETER_COMPONENTS": str(not self.allow_code).lower(),
            "OMP_NUM_THREADS": "1",
            "OPENBLAS_NUM_THREADS": "1",
            "MALLOC_ARENA_MAX": "2",
        }
