"""What a run of lfx can do to the server when the operator lets flows bring their own code: nothing.

The code of these flows says what it has found, or tries what the fence is there to stop.
"""

from __future__ import annotations

import json
import os
import socket
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
from flask import Flask

from tests.conftest import SECRET
from tests.http.api.conftest import newcomer
from tests.lfx.conftest import store, text_of
from tests.support import lfx
from tests.support.client import Api


@pytest.fixture(scope="module")
def app(start: Callable[..., Flask]) -> Flask:
    """An application whose flows may bring code."""
    return start(allow_custom_components=True)


def test_the_environment_holds_nothing_of_the_servers(
    found: Callable[..., dict[str, Any]], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", "sk-of-the-server")
    monkeypatch.setenv("LANGFLOW_SECRET_KEY", SECRET)
    seen = found("import os", "found.update(os.environ)")
    assert set(seen) == {
        "PATH", "LANG", "HOME", "TMPDIR", "DO_NOT_TRACK", "LANGFLOW_DO_NOT_TRACK", "LANGFLOW_LOG_LEVEL",
        "LANGFLOW_FALLBACK_TO_ENV_VAR", "LANGFLOW_RESTRICT_LOCAL_FILE_ACCESS", "LANGFLOW_ALLOW_CUSTOM_COMPONENTS",
        "LANGFLOW_BLOCK_CODE_INTERPRETER_COMPONENTS", "LANGFLOW_SSRF_PROTECTION_ENABLED",
        "LANGFLOW_SSRF_ALLOWED_HOSTS", "OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MALLOC_ARENA_MAX",
    }  # fmt: skip
    assert SECRET not in str(seen)


def test_other_processes_cannot_be_looked_into(found: Callable[..., dict[str, Any]]) -> None:
    seen = found(
        "import os", "from pathlib import Path", lfx.TRY,
        f"""
for pid in ("self", os.getppid(), {os.getpid()}):
    for name in ("environ", "mem", "cmdline", "maps", "root", "fd"):
        attempt(f"{{pid}} {{name}}", lambda: os.listdir(f"/proc/{{pid}}/{{name}}") if name in ("root", "fd")
                else Path(f"/proc/{{pid}}/{{name}}").read_bytes())
""",
    )  # fmt: skip
    assert set(seen.values()) == {"refused: PermissionError"}


def test_the_files_of_the_server_cannot_be_read(app: Flask, found: Callable[..., dict[str, Any]]) -> None:
    folder = app.extensions["keyturn"].settings.config_dir
    (folder / "readable-by-all").write_text("x")
    names = [folder / "keyturn.db", folder / "readable-by-all", folder, Path.home(), "/etc/passwd", "/tmp", "/"]
    seen = found("import os", lfx.TRY, f"""
for name in {[str(name) for name in names]}:
    attempt(name, lambda: os.listdir(name) if os.path.isdir(name) else open(name, "rb").read())
""")  # fmt: skip
    assert set(seen.values()) == {"refused: PermissionError"}


def test_only_the_runs_own_folder_can_be_written(found: Callable[..., dict[str, Any]]) -> None:
    seen = found("import os, tempfile", lfx.TRY, """
attempt("own", lambda: tempfile.NamedTemporaryFile(dir=os.environ["HOME"]).write(b"x"))
attempt("default", lambda: tempfile.NamedTemporaryFile().write(b"x"))
for name in ("/tmp/x", "/dev/shm/x", "/var/tmp/x", os.path.dirname(os.environ["HOME"]) + "/x"):
    attempt(name, lambda: open(name, "w"))
""")  # fmt: skip
    assert (seen.pop("own"), seen.pop("default")) == ("1", "1")
    assert set(seen.values()) == {"refused: PermissionError"}


def test_no_handle_of_the_server_is_inherited(found: Callable[..., dict[str, Any]]) -> None:
    seen = found("""
import os
for number in range(1024):
    try:
        known = os.fstat(number)
    except OSError:
        continue
    found[str(number)] = [known.st_dev, known.st_ino]
""")
    own = set()
    for handle in Path("/proc/self/fd").iterdir():
        with suppress(OSError):
            known = handle.stat()
            # A handle without a file of its own shares one inode with all others of its kind.
            if not str(handle.readlink()).startswith(("anon_inode", "/dev/")):
                own.add((known.st_dev, known.st_ino))
    assert "10" in seen
    assert not own & {tuple(one) for one in seen.values()}


def test_the_user_is_the_one_that_the_operator_has_named(app: Flask, found: Callable[..., dict[str, Any]]) -> None:
    import pwd

    account = pwd.getpwnam(app.extensions["keyturn"].settings.lfx_user)
    seen = found("import os", "found.update(uid=os.getresuid(), gid=os.getresgid(), groups=os.getgroups())")
    assert seen["uid"] == [account.pw_uid] * 3
    assert seen["gid"] == [account.pw_gid] * 3
    assert seen["groups"] in ([], [account.pw_gid])


def test_there_are_no_privileges_to_use(found: Callable[..., dict[str, Any]]) -> None:
    seen = found("import ctypes, os", lfx.TRY, """
libc = ctypes.CDLL(None, use_errno=True)
attempt("setuid", lambda: os.setuid(0 if os.getuid() else 1))
attempt("chroot", lambda: os.chroot("/"))
attempt("chown", lambda: os.chown(os.environ["HOME"], 1, 1))
for name, call in (("mount", lambda: libc.mount(b"none", b"/", b"tmpfs", 0, None)),
                   ("unshare", lambda: libc.unshare(0x10000000)),
                   ("ptrace", lambda: libc.ptrace(16, os.getppid(), 0, 0)),
                   ("dumpable", lambda: libc.prctl(4, 1, 0, 0, 0)),
                   ("parent", lambda: libc.prctl(1, 0, 0, 0, 0))):
    found[name] = call()
""")  # fmt: skip
    assert {name: value for name, value in seen.items() if value not in (-1, "refused: PermissionError")} == {}


def test_no_socket_can_be_opened(found: Callable[..., dict[str, Any]]) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        seen = found("import socket", lfx.TRY, f"""
attempt("tcp", lambda: socket.create_connection(("127.0.0.1", {server.getsockname()[1]}), 5))
attempt("udp", lambda: socket.socket(socket.AF_INET, socket.SOCK_DGRAM))
attempt("unix", lambda: socket.socket(socket.AF_UNIX))
attempt("netlink", lambda: socket.socket(socket.AF_NETLINK, socket.SOCK_RAW))
""")  # fmt: skip
    assert set(seen.values()) == {"refused: PermissionError"}


def test_no_process_and_no_program_can_be_started(found: Callable[..., dict[str, Any]]) -> None:
    seen = found("import os, subprocess, multiprocessing", lfx.TRY, """
attempt("fork", os.fork)
attempt("program", lambda: subprocess.run(["/bin/true"]))
attempt("shell", lambda: os.system("true"))
attempt("exec", lambda: os.execv("/bin/true", ["true"]))
attempt("session", os.setsid)
""")  # fmt: skip
    assert seen.pop("shell") in ("-1", "32512")
    assert set(seen.values()) == {"refused: PermissionError"}


def test_signals_reach_nobody_else(found: Callable[..., dict[str, Any]]) -> None:
    seen = found("import os", lfx.TRY, f"""
for pid in (os.getppid(), {os.getpid()}, -1, 0, 1):
    attempt(str(pid), lambda: os.kill(pid, 0))
attempt("itself", lambda: os.kill(os.getpid(), 0))
""")  # fmt: skip
    assert seen.pop("itself") == "None"
    assert set(seen.values()) == {"refused: PermissionError"}


def test_only_the_values_of_this_flow_and_this_owner_arrive(app: Flask, mine: Api) -> None:
    other = newcomer(app)
    for api, value in ((mine, "of-mine-3f1c"), (other, "of-the-other-77ab")):
        for name in ("WANTED", "NOT_WANTED"):
            body = {"name": name, "value": f"{name}-{value}", "type": "Credential", "default_fields": []}
            assert api.post("/variables/", json=body).status_code == 201
    data = lfx.probe("""
import gc, sys
texts = [one for one in gc.get_objects() if isinstance(one, dict)]
found["seen"] = repr(self._attributes) + repr([list(one.values()) for one in texts if "WANTED" in repr(one)[:5000]])
""")
    template = data["nodes"][1]["data"]["node"]["template"]
    template["password"] = {
        "name": "password", "type": "str", "_input_type": "SecretStrInput", "password": True, "value": "WANTED",
        "load_from_db": True, "show": True, "list": False, "display_name": "Password",
    }  # fmt: skip
    store(mine, data)
    seen = text_of(mine.post("/run/flow", json={"input_value": "x"}))
    assert "WANTED-of-mine-3f1c" in seen
    assert "NOT_WANTED-of-mine-3f1c" not in seen
    assert "of-the-other" not in seen


def test_who_the_owner_is_does_not_arrive(app: Flask, mine: Api, found: Callable[..., dict[str, Any]]) -> None:
    seen = found("found['user'] = str(self.user_id)")
    assert seen["user"] == "00000000-0000-0000-0000-000000000000"
    assert mine.user_id != seen["user"]


def test_no_run_sees_what_another_has_left(found: Callable[..., dict[str, Any]], mine: Api) -> None:
    left = "import builtins, os; builtins.left = 1; open(os.path.join(os.environ['HOME'], 'left'), 'w').write('x')"
    store(mine, lfx.probe(left, "found['left'] = True"), "first")
    assert text_of(mine.post("/run/first", json={"input_value": "x"}))
    seen = found("import builtins, os; found['left'] = hasattr(builtins, 'left')",
                 "found['file'] = os.path.exists(os.path.join(os.environ['HOME'], 'left'))")  # fmt: skip
    assert seen == {"left": False, "file": False}


def test_only_the_ports_that_the_operator_lists_are_reached(start: Callable[..., Flask]) -> None:
    with socket.create_server(("127.0.0.1", 0)) as open_door, socket.create_server(("127.0.0.1", 0)) as shut_door:
        port, other = open_door.getsockname()[1], shut_door.getsockname()[1]
        api = Api.of_superuser(start(allow_custom_components=True, lfx_ports=(port,)))
        store(api, lfx.probe("import socket", lfx.TRY, f"""
attempt("listed", lambda: socket.create_connection(("127.0.0.1", {port}), 30).close())
attempt("other", lambda: socket.create_connection(("127.0.0.1", {other}), 30).close())
attempt("server", lambda: socket.create_server(("127.0.0.1", 0)))
attempt("unix", lambda: socket.socket(socket.AF_UNIX))
"""))  # fmt: skip
        seen = json.loads(text_of(api.post("/run/flow", json={"input_value": "x"})))
    assert seen.pop("listed") == "None"
    assert set(seen.values()) == {"refused: PermissionError"}
