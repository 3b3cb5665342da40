"""What a run of lfx can do to the server when the operator lets flows bring their own code: nothing.

The code of these flows says what it has found, or tries what the fence is there to stop.
"""

from __future__ import annotations

import json
import logging
import os
import socket
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
from flask import Flask

from tests.conftest import SECRET
from tests.http.api.conftest import newcomer
from tests.lfx.conftest import MEGABYTE, store, text_of
from tests.support import lfx
from tests.support.client import Api
from tests.support.waiting import until

TRY = """
def attempt(name, work):
    try:
        found[name] = repr(work())[:200]
    except BaseException as error:
        found[name] = "refused: " + type(error).__name__
"""


@pytest.fixture(scope="module")
def app(start: Callable[..., Flask]) -> Flask:
    """An application whose flows may bring code, with small limits."""
    return start(
        allow_custom_components=True, lfx_memory_mb=300, lfx_max_output_bytes=MEGABYTE, run_timeout=20.0,
        lfx_max_runs=3,
    )  # fmt: skip


@pytest.fixture
def found(mine: Api) -> Callable[..., dict[str, Any]]:
    """Runs lines of Python in a flow and returns what they have found."""

    def run(*lines: str, given: str = "") -> dict[str, Any]:
        store(mine, lfx.probe(*lines))
        return dict(json.loads(text_of(mine.post("/run/flow", json={"input_value": given}))))

    return run


@pytest.fixture
def refusal(mine: Api) -> Callable[..., tuple[int, str]]:
    """Runs lines of Python that end the run, and returns the answer's status and text."""

    def run(*lines: str) -> tuple[int, str]:
        store(mine, lfx.probe(*lines))
        answer = mine.post("/run/flow", json={"input_value": "x"})
        return answer.status_code, json.loads(answer.json["detail"])["message"]

    return run


def processes_of(app: Flask) -> list[int]:
    """Every process that lfx has forked for a run and that is not gone."""
    forker = app.extensions["keyturn"].lfx.forker.pid
    return [int(entry.name) for entry in Path("/proc").iterdir() if entry.name.isdigit() and _parent(entry) == forker]


def _parent(entry: Path) -> int:
    try:
        return int((entry / "stat").read_text().rpartition(")")[2].split()[1])
    except (OSError, IndexError):
        return -1


def folders_of(app: Flask) -> list[Path]:
    """The folders of runs that are there."""
    folder = app.extensions["keyturn"].lfx.forker.folder
    return [entry for entry in folder.iterdir() if entry.is_dir() and len(entry.name) == 32]


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
        "import os", "from pathlib import Path", TRY,
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
    seen = found("import os", TRY, f"""
for name in {[str(name) for name in names]}:
    attempt(name, lambda: os.listdir(name) if os.path.isdir(name) else open(name, "rb").read())
""")  # fmt: skip
    assert set(seen.values()) == {"refused: PermissionError"}


def test_only_the_runs_own_folder_can_be_written(found: Callable[..., dict[str, Any]]) -> None:
    seen = found("import os, tempfile", TRY, """
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
    seen = found("import ctypes, os", TRY, """
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
        seen = found("import socket", TRY, f"""
attempt("tcp", lambda: socket.create_connection(("127.0.0.1", {server.getsockname()[1]}), 5))
attempt("udp", lambda: socket.socket(socket.AF_INET, socket.SOCK_DGRAM))
attempt("unix", lambda: socket.socket(socket.AF_UNIX))
attempt("netlink", lambda: socket.socket(socket.AF_NETLINK, socket.SOCK_RAW))
""")  # fmt: skip
    assert set(seen.values()) == {"refused: PermissionError"}


def test_no_process_and_no_program_can_be_started(found: Callable[..., dict[str, Any]]) -> None:
    seen = found("import os, subprocess, multiprocessing", TRY, """
attempt("fork", os.fork)
attempt("program", lambda: subprocess.run(["/bin/true"]))
attempt("shell", lambda: os.system("true"))
attempt("exec", lambda: os.execv("/bin/true", ["true"]))
attempt("session", os.setsid)
""")  # fmt: skip
    assert seen.pop("shell") in ("-1", "32512")
    assert set(seen.values()) == {"refused: PermissionError"}


def test_threads_come_to_an_end(app: Flask, found: Callable[..., dict[str, Any]]) -> None:
    seen = found(
        "import threading",
        """
threading.stack_size(65536)
go_on, found["started"] = threading.Event(), 0
try:
    for _ in range(2000):
        threading.Thread(target=go_on.wait, daemon=True).start()
        found["started"] += 1
except RuntimeError:
    pass
go_on.set()
""",
    )
    # The kernel does not count the threads of root, for whom memory is the only limit.
    most = 2000 if app.extensions["keyturn"].settings.lfx_user == "root" else 256
    assert 0 < seen["started"] <= most


def test_signals_reach_nobody_else(found: Callable[..., dict[str, Any]]) -> None:
    seen = found("import os", TRY, f"""
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


def test_too_much_memory_is_a_failure_of_that_run(refusal: Callable[..., tuple[int, str]]) -> None:
    status, text = refusal("kept = [bytearray(10_000_000) for _ in range(1000)]")
    assert (status, text) == (500, "The run needed more memory than it may use.")


def test_an_endless_loop_ends_with_the_runs_time(start: Callable[..., Flask], app: Flask) -> None:
    slow = start(allow_custom_components=True, run_timeout=3.0)
    api = Api.of_superuser(slow)
    store(api, lfx.probe("while True: pass"))
    answer = api.post("/run/flow", json={"input_value": "x"})
    assert (answer.status_code, json.loads(answer.json["detail"])["message"]) == (
        504, "The run took longer than 3 seconds.",
    )  # fmt: skip


def test_a_flood_of_output_is_cut_off(refusal: Callable[..., tuple[int, str]]) -> None:
    status, text = refusal("return Message(text='x' * 5_000_000)")
    assert (status, text) == (500, f"The run put out more than {MEGABYTE} bytes.")


def test_a_flood_of_printed_text_harms_nobody(found: Callable[..., dict[str, Any]]) -> None:
    seen = found("import sys", "for _ in range(200): sys.stderr.write('x' * 100_000); print('y' * 100_000)",
                 "found['done'] = True")  # fmt: skip
    assert seen == {"done": True}


def test_nothing_that_a_run_prints_gets_into_the_log(
    found: Callable[..., dict[str, Any]], caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    found("import sys", "sys.stderr.write('printed-7d1'); print('printed-7d1')")
    assert "printed-7d1" not in caplog.text


@pytest.mark.parametrize(
    "code",
    ["import os; os._exit(0)", "import os; os._exit(7)", "import os; os.kill(os.getpid(), 11)",
     "import ctypes; ctypes.string_at(0)", "import os; os.abort()"],
)  # fmt: skip
def test_a_crash_is_a_clean_failure(refusal: Callable[..., tuple[int, str]], code: str) -> None:
    status, text = refusal(code)
    assert status == 500
    assert text == "The process that ran this flow ended unexpectedly."


@pytest.mark.parametrize("line", ["[]", '{"end": 1}', '{"end": {"outputs": [1]}}', "nonsense", "[" * 100_000])
def test_nonsense_on_the_wire_is_a_clean_failure(refusal: Callable[..., tuple[int, str]], line: str) -> None:
    status, text = refusal(f"import os, time; os.write(10, {line!r}.encode() + b'\\n'); time.sleep(60)")
    assert (status, text) == (500, "The process that ran this flow gave an answer that cannot be read.")


def test_a_made_up_failure_brings_no_text_into_an_answer(refusal: Callable[..., tuple[int, str]]) -> None:
    told = {"failed": {"kind": "component", "node": f"{lfx.PROBE}-p", "type": "<b>/etc/secret</b>", "where": "sk-1"}}
    line = json.dumps(told)
    _, text = refusal(f"import os, time; os.write(10, {line!r}.encode() + b'\\n'); time.sleep(60)")
    assert text == "Error building Component Escape Probe: The component failed (Exception)."


def test_the_text_of_a_failure_is_told_to_nobody(
    refusal: Callable[..., tuple[int, str]], caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    status, text = refusal("raise ValueError('sk-in-the-text ' + '/etc/passwd')")
    assert (status, text) == (500, "Error building Component Escape Probe: The component failed (ValueError).")
    assert "sk-in-the-text" not in caplog.text


def test_no_run_sees_what_another_has_left(found: Callable[..., dict[str, Any]], mine: Api) -> None:
    left = "import builtins, os; builtins.left = 1; open(os.path.join(os.environ['HOME'], 'left'), 'w').write('x')"
    store(mine, lfx.probe(left, "found['left'] = True"), "first")
    assert text_of(mine.post("/run/first", json={"input_value": "x"}))
    seen = found("import builtins, os; found['left'] = hasattr(builtins, 'left')",
                 "found['file'] = os.path.exists(os.path.join(os.environ['HOME'], 'left'))")  # fmt: skip
    assert seen == {"left": False, "file": False}


def test_runs_go_on_side_by_side_and_one_too_many_is_told_to_come_back(app: Flask, mine: Api) -> None:
    store(mine, lfx.probe("import time; time.sleep(2); found['given'] = given"))

    def run(text: str) -> Any:
        return Api(app, mine.key, mine.user_id).post("/run/flow", json={"input_value": text})

    with ThreadPoolExecutor(6) as pool:
        answers = list(pool.map(run, "abcdef"))
    served = [answer for answer in answers if answer.status_code == 200]
    assert {answer.status_code for answer in answers} == {200, 503}
    assert 1 <= len(served) <= 5
    assert all(json.loads(text_of(a))["given"] == a.json["outputs"][0]["inputs"]["input_value"] for a in served)
    assert all(a.headers["Retry-After"] for a in answers if a.status_code == 503)


def test_nothing_is_left_of_runs_that_have_ended(app: Flask, refusal: Callable[..., tuple[int, str]]) -> None:
    refusal("import os; os.makedirs('a/b'); open('a/b/c', 'w').close(); os.chmod('a/b', 0); os.chmod('a', 0)",
            "import threading, time; threading.Thread(target=time.sleep, args=(60,), daemon=True).start()",
            "os._exit(1)")  # fmt: skip
    until(lambda: (processes_of(app), folders_of(app)), lambda left: left == ([], []), 30)


def test_lfx_is_started_again_when_it_has_been_killed(app: Flask, mine: Api) -> None:
    store(mine, lfx.probe("found['ok'] = True"))
    assert text_of(mine.post("/run/flow", json={"input_value": "x"}))
    os.kill(app.extensions["keyturn"].lfx.forker.pid, 9)
    until(lambda: app.extensions["keyturn"].lfx.forker, lambda one: one is None, 30)
    assert text_of(mine.post("/run/flow", json={"input_value": "x"}))


def test_only_the_ports_that_the_operator_lists_are_reached(start: Callable[..., Flask]) -> None:
    with socket.create_server(("127.0.0.1", 0)) as open_door, socket.create_server(("127.0.0.1", 0)) as shut_door:
        port, other = open_door.getsockname()[1], shut_door.getsockname()[1]
        api = Api.of_superuser(start(allow_custom_components=True, lfx_ports=(port,)))
        store(api, lfx.probe("import socket", TRY, f"""
attempt("listed", lambda: socket.create_connection(("127.0.0.1", {port}), 30).close())
attempt("other", lambda: socket.create_connection(("127.0.0.1", {other}), 30).close())
attempt("server", lambda: socket.create_server(("127.0.0.1", 0)))
attempt("unix", lambda: socket.socket(socket.AF_UNIX))
"""))  # fmt: skip
        seen = json.loads(text_of(api.post("/run/flow", json={"input_value": "x"})))
    assert seen.pop("listed") == "None"
    assert set(seen.values()) == {"refused: PermissionError"}
