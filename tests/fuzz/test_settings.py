"""Settings: whatever the environment holds, the start goes on or ends with lines that say what to do."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from service.environment import SettingsError
from service.settings import KNOWN_NAMES, Settings
from tests.fuzz.strategies import SOUND_TEXT

#: Their values are never repeated.
SECRETS = {
    "LANGFLOW_SECRET_KEY", "KEYTURN_PREVIOUS_SECRET_KEYS", "LANGFLOW_SUPERUSER_PASSWORD", "LANGFLOW_DATABASE_URL",
    "KEYTURN_REDIS_URL", "KEYTURN_BROKER_URL",
}  # fmt: skip
#: An environment holds no NUL.
VALUES = st.text(st.characters(codec="utf-8", exclude_characters="\x00"), max_size=60).filter(
    lambda text: "canary" not in text  # hypothesis tries the texts of this file too
)
_ODD = [
    "true", "false", "0", "-1", "1e9", "9" * 5000, "nan", "inf", "[", '["a"', '["a", 1]', "{}", ",", "~nobody/x",
    "~", "/", "*", "postgresql://u:canary-pass@h:port/db", "postgresql://[::1", "sqlite://", "mysql://x",
    "postgresql://u:canary-pass@[::1]:99999/db?x=%zz", "://", "redis://u:canary-pass@h:x/0", "redis://[", "amqp://",
    "http://u:canary-pass@h", "none", "LAX", "1.13", "999.999.999", "²", "\uff11\uff12", "1_000", "+5", " 5 ", "0x10",
]  # fmt: skip


@pytest.fixture(scope="module", autouse=True)
def without_an_env_file(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(tmp_path_factory.mktemp("nothing"))
        yield


def _with_canaries(environ: dict[str, str]) -> dict[str, str]:
    """The values of secrets, and only those, hold a word that is looked for."""
    return {
        name: value.replace("canary-pass", "x")
        if name not in SECRETS
        else value
        if value in _ODD
        else f"canary-pass{value}"
        for name, value in environ.items()
    }


@given(
    st.dictionaries(st.sampled_from(sorted(KNOWN_NAMES)), VALUES | st.sampled_from(_ODD), max_size=6).map(
        _with_canaries
    )
)
@example({"LANGFLOW_DATABASE_URL": "postgresql://u:canary-pass@h:port/db"})
@example({"LANGFLOW_CONFIG_DIR": "~nobody-of-this-name/x"})
@example({"KEYTURN_MAX_NODES": "9" * 5000})
@example({"KEYTURN_LFX_PORTS": "9" * 5000})
def test_any_environment_makes_settings_or_is_refused_in_lines(environ: dict[str, str]) -> None:
    try:
        settings = Settings.from_env(environ)
    except SettingsError as error:
        told = str(error)
        assert all(problem and "\n" not in problem for problem in error.problems)
    else:
        told = repr(settings)
    assert "canary-pass" not in told


@given(st.dictionaries(st.text("ABCDEFGHIJKLMNOPQRSTUVWXYZ_", min_size=1,
       max_size=30).map("KEYTURN_{}".format), VALUES,
                       min_size=1, max_size=3))  # fmt: skip
def test_a_name_that_nobody_reads_is_refused(environ: dict[str, str]) -> None:
    if environ.keys() & KNOWN_NAMES:
        return
    with pytest.raises(SettingsError, match="is not a setting"):
        Settings.from_env(environ)


@given(st.binary(max_size=200) | SOUND_TEXT.map(str.encode))
def test_any_env_file_is_read_or_refused_in_lines(content: bytes) -> None:
    file = Path("env")
    file.write_bytes(content)
    try:
        Settings.from_env({}, env_file=file)
    except SettingsError as error:
        assert all(problem and "\n" not in problem for problem in error.problems)
