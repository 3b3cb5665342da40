"""Whether lfx can be used here, asked once at each start, so that no run finds out."""

from __future__ import annotations

import json
import os
import pwd
import subprocess  # the interpreter that the operator names, never a shell # nosec B404
from pathlib import Path
from typing import Any

from service.adapters.lfx_child import fence

#: Versions that the tests run against. Its inside is no promise of lfx's, so others are refused.
TESTED = ("1.13",)
_PROBE = (
    "import importlib.metadata as m, json, sys; "
    "print(json.dumps([list(sys.version_info[:2]), m.version('lfx')]))"
)  # fmt: skip
_SECONDS = 60


def problem(python: Path, user: str, ports: tuple[int, ...] | None) -> str | None:
    """Return one line that says what is wrong and what to do, or None.

    Args:
        python: KEYTURN_LFX_PYTHON.
        user: KEYTURN_LFX_USER.
        ports: KEYTURN_LFX_PORTS.
    """
    missing = _fence_problem(ports)
    if missing:
        return f"{missing}: run Keyturn on such a machine, or set LANGFLOW_FLOW_ENGINE=embedded"
    whom: dict[str, Any] = {}
    if os.getuid() == 0:
        try:
            account = pwd.getpwnam(user)
        except KeyError:
            return f"KEYTURN_LFX_USER is {user!r}, which is no user of this machine: make one, or name another"
        whom = {"user": account.pw_uid, "group": account.pw_gid, "extra_groups": ()}
    else:
        user = pwd.getpwuid(os.getuid()).pw_name if _has_name() else str(os.getuid())
    try:
        done = subprocess.run(  # noqa: S603 - the operator's own interpreter # nosec B603
            [python, "-I", "-c", _PROBE], capture_output=True, text=True, timeout=_SECONDS, cwd="/", env={}, **whom,
            check=False,
        )  # fmt: skip
        (major, minor), version = json.loads(done.stdout)
    except OSError:
        return f"KEYTURN_LFX_PYTHON is {python}, which {user} cannot run: check the path and its permissions"
    except subprocess.TimeoutExpired:
        return f"KEYTURN_LFX_PYTHON is {python}, which does not answer"
    except ValueError:
        hint = f"{python} -m pip install lfx=={TESTED[-1]}.0"
        return f"KEYTURN_LFX_PYTHON is {python}, in which {user} finds no lfx: {hint}"
    if (major, minor) < (3, 10):
        return f"KEYTURN_LFX_PYTHON is Python {major}.{minor}: lfx needs 3.10 or newer"
    if not version.startswith(tuple(f"{one}." for one in TESTED)):
        return f"KEYTURN_LFX_PYTHON has lfx {version}: Keyturn works with {', '.join(TESTED)}"
    return None


def _has_name() -> bool:
    try:
        pwd.getpwuid(os.getuid())
    except KeyError:
        return False
    return True


def _fence_problem(ports: tuple[int, ...] | None) -> str | None:
    if not fence.has_seccomp():
        return "lfx needs Linux with seccomp, on x86_64 or aarch64"
    version = fence.landlock_version()
    if version < 1:
        return "lfx needs a kernel with Landlock (Linux 5.13 or newer)"
    if ports and version < 4:
        return "KEYTURN_LFX_PORTS needs Linux 6.7 or newer; leave it empty or say all"
    return None
