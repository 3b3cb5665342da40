"""Settings: where a value comes from, what is refused, and what is said about it."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from service.environment import SettingsError
from service.settings import KNOWN_NAMES, Settings, is_loopback

GOOD_SECRET = "0123456789abcdef0123456789abcdef"
Read = Callable[..., Settings]


@pytest.fixture
def read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Read:
    """Read settings from names given as words; ``file`` is the text of an env file."""
    monkeypatch.chdir(tmp_path)

    def reader(file: str | None = None, options: dict[str, object] | None = None, **environ: str) -> Settings:
        path = None
        if file is not None:
            path = tmp_path / "given.env"
            path.write_text(file, "utf-8")
        return Settings.from_env(environ, env_file=path, **(options or {}))

    return reader


def problems(read: Read, **environ: str) -> list[str]:
    with pytest.raises(SettingsError) as refusal:
        read(**environ)
    return refusal.value.problems


def test_the_env_file_wins_over_the_process_environment(read: Read) -> None:
    assert read("LANGFLOW_PORT=8001\n", LANGFLOW_PORT="8000").port == 8001


def test_the_env_file_in_the_current_directory_is_read(read: Read) -> None:
    Path(".env").write_text("LANGFLOW_PORT=8003\n", "utf-8")
    assert read(LANGFLOW_PORT="8000").port == 8003


def test_an_option_wins_over_the_env_file_and_the_environment(read: Read) -> None:
    assert read("LANGFLOW_PORT=8001\n", {"port": 8002}, LANGFLOW_PORT="8000").port == 8002


def test_an_option_that_was_not_given_changes_nothing(read: Read) -> None:
    assert read("LANGFLOW_PORT=8001\n", {"port": None}).port == 8001


@pytest.mark.parametrize(
    ("option", "value", "says"),
    [
        ("port", 0, "LANGFLOW_PORT is 0: it must be a whole number, from 1 to 65535"),
        ("port", 99_999, "LANGFLOW_PORT is 99999: it must be a whole number, from 1 to 65535"),
        ("workers", -1, "LANGFLOW_WORKERS is -1: it must be a whole number, 1 or more"),
        ("worker_timeout", 0, "LANGFLOW_WORKER_TIMEOUT is 0: it must be a whole number, 1 or more"),
    ],
)
def test_an_option_is_judged_as_its_setting_is(read: Read, option: str, value: int, says: str) -> None:
    with pytest.raises(SettingsError) as refusal:
        read(None, {option: value})
    assert refusal.value.problems == [says]


@pytest.mark.parametrize(
    ("name", "value", "says"),
    [
        ("LANGFLOW_PORT", "many", "LANGFLOW_PORT is 'many': it must be a whole number"),
        ("LANGFLOW_BACKEND_ONLY", "perhaps", "LANGFLOW_BACKEND_ONLY is 'perhaps': it must be true or false"),
    ],
)
def test_what_is_of_another_kind_is_shown_with_what_should_be_there(
    read: Read, name: str, value: str, says: str
) -> None:
    assert problems(read, **{name: value}) == [says]


def test_the_process_environment_counts_where_the_file_is_silent(read: Read) -> None:
    assert read("LANGFLOW_HOST=127.0.0.1\n", LANGFLOW_PORT="8000").port == 8000


def test_an_empty_value_means_not_set(read: Read) -> None:
    assert read(LANGFLOW_PORT="").port == 7860


def test_a_missing_env_file_is_refused(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match="there is no such file"):
        Settings.from_env({}, env_file=tmp_path / "absent.env")


def test_an_unknown_name_is_refused_with_a_hint(read: Read) -> None:
    assert problems(read, LANGFLOW_SUPERUSER_PASWORD="pw") == [
        "LANGFLOW_SUPERUSER_PASWORD is not a setting: did you mean LANGFLOW_SUPERUSER_PASSWORD?"
    ]


def test_an_unknown_name_that_is_like_no_other_is_refused_too(read: Read) -> None:
    assert problems(read, KEYTURN_XYZZY="1")[0].startswith("KEYTURN_XYZZY is not a setting: remove it")


def test_names_of_other_programs_are_nobodys_business(read: Read) -> None:
    assert read(FLASK_DEBUG="1", PATH_TO_NOWHERE="x").port == 7860


def test_all_problems_are_told_at_once(read: Read) -> None:
    found = problems(
        read,
        LANGFLOW_PORT="many",
        LANGFLOW_WORKERS="0",
        LANGFLOW_AUTO_LOGIN="perhaps",
        LANGFLOW_SECRET_KEY="short",
        LANGFLOW_DATABASE_URL="nonsense",
        LANGFLOW_LOG_LEVEL="loud",
        LANGFLOW_NAME_NOBODY_KNOWS="1",
    )
    named = {problem.split(" ")[0].rstrip(":") for problem in found}
    assert named == {
        "LANGFLOW_PORT",
        "LANGFLOW_WORKERS",
        "LANGFLOW_AUTO_LOGIN",
        "LANGFLOW_SECRET_KEY",
        "LANGFLOW_DATABASE_URL",
        "LANGFLOW_LOG_LEVEL",
        "LANGFLOW_NAME_NOBODY_KNOWS",
    }


def test_each_problem_is_one_line(read: Read) -> None:
    found = problems(read, LANGFLOW_PORT="many", LANGFLOW_SECRET_KEY="short", LANGFLOW_VERSION="new")
    assert [problem.count("\n") for problem in found] == [0, 0, 0]


@pytest.mark.parametrize(
    "environ",
    [
        {"LANGFLOW_AUTO_LOGIN": "true", "LANGFLOW_HOST": "0.0.0.0"},
        {"LANGFLOW_SKIP_AUTH_AUTO_LOGIN": "true", "LANGFLOW_VERSION": "1.4.0", "LANGFLOW_HOST": "::"},
        {"LANGFLOW_CORS_ORIGINS": "*", "LANGFLOW_CORS_ALLOW_CREDENTIALS": "true"},
        {"LANGFLOW_CORS_ORIGINS": "https://a.example,*", "LANGFLOW_CORS_ALLOW_CREDENTIALS": "true"},
        {"LANGFLOW_CORS_ORIGINS": "*", "LANGFLOW_AUTO_LOGIN": "true"},
        {"LANGFLOW_CORS_ORIGINS": "*", "LANGFLOW_SKIP_AUTH_AUTO_LOGIN": "true", "LANGFLOW_VERSION": "1.4.0"},
        {"KEYTURN_METRICS": "127.0.0.1:7860"},
        {"LANGFLOW_ACCESS_SAME_SITE": "none"},
        {"LANGFLOW_REFRESH_SAME_SITE": "none", "LANGFLOW_REFRESH_SECURE": "false"},
        {"LANGFLOW_SUPERUSER_PASSWORD": "langflow"},
        {"KEYTURN_SOCKET": "/run/keyturn/http.sock"},
        {"LANGFLOW_RATE_LIMIT_TRUST_PROXY": "true"},
        {"LANGFLOW_FLOW_ENGINE": "lfx"},
    ],
    ids=str,
)
def test_settings_that_contradict_each_other_are_refused(read: Read, environ: dict[str, str]) -> None:
    assert len(problems(read, **environ)) == 1


def test_an_option_can_contradict_the_file(read: Read) -> None:
    with pytest.raises(SettingsError, match="lets anybody in"):
        read("LANGFLOW_AUTO_LOGIN=true\n", {"host": "0.0.0.0"})


@pytest.mark.parametrize(
    "environ",
    [
        {"LANGFLOW_AUTO_LOGIN": "true"},
        {"LANGFLOW_AUTO_LOGIN": "true", "LANGFLOW_HOST": "0.0.0.0", "KEYTURN_ALLOW_UNAUTHENTICATED": "true"},
        {"LANGFLOW_SKIP_AUTH_AUTO_LOGIN": "true", "LANGFLOW_HOST": "0.0.0.0"},
        {"LANGFLOW_CORS_ORIGINS": "*"},
        {"LANGFLOW_CORS_ORIGINS": "https://a.example", "LANGFLOW_AUTO_LOGIN": "true"},
        {"LANGFLOW_ACCESS_SAME_SITE": "none", "LANGFLOW_ACCESS_SECURE": "true"},
        {"KEYTURN_SOCKET": "/run/keyturn/http.sock", "KEYTURN_TRUSTED_PROXIES": "1"},
    ],
    ids=str,
)
def test_settings_that_go_together_are_accepted(read: Read, environ: dict[str, str]) -> None:
    assert read(**environ).port == 7860


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("LANGFLOW_WEBHOOK_AUTH_ENABLE", "false"),
        ("LANGFLOW_API_KEY_SOURCE", "env"),
        ("LANGFLOW_SSL_CERT_FILE", "/etc/tls/cert.pem"),
        ("LANGFLOW_SSL_KEY_FILE", "/etc/tls/key.pem"),
        ("LANGFLOW_REMOVE_API_KEYS", "true"),
        ("LANGFLOW_ROOT_PATH", "/a b"),
        ("LANGFLOW_ROOT_PATH", "/a\nevent: x"),
        ("LANGFLOW_ROOT_PATH", "https://keyturn.example/langflow"),
        ("LANGFLOW_CORS_ORIGINS", "null"),
        ("LANGFLOW_CORS_ORIGINS", "https://*.a.example"),
        ("LANGFLOW_CORS_ORIGINS", "https://a.example/path"),
        ("LANGFLOW_CORS_ORIGINS", "a.example"),
        ("KEYTURN_METRICS", "on"),
        ("KEYTURN_METRICS", "9090"),
        ("KEYTURN_METRICS", "metrics.example:9090"),
        ("KEYTURN_METRICS", "127.0.0.1:0"),
        ("KEYTURN_METRICS", "127.0.0.1:65536"),
        ("KEYTURN_METRICS", ":9090"),
        ("LANGFLOW_VARIABLES_TO_GET_FROM_ENVIRONMENT", "LANGFLOW_SECRET_KEY"),
        ("LANGFLOW_VARIABLES_TO_GET_FROM_ENVIRONMENT", '["KEYTURN_PREVIOUS_SECRET_KEYS"]'),
        ("LANGFLOW_VARIABLES_TO_GET_FROM_ENVIRONMENT", "DATABASE_URL"),
        ("LANGFLOW_VARIABLES_TO_GET_FROM_ENVIRONMENT", "PGPASSWORD"),
    ],
)
def test_what_would_be_unsafe_is_refused(read: Read, name: str, value: str) -> None:
    assert len(problems(read, **{name: value})) == 1


#: A value that is fit for each name that does not simply take a yes or a no.
VALUES = {
    "LANGFLOW_VERSION": "1.5.1",
    "LANGFLOW_SUPERUSER": "boss",
    "LANGFLOW_SUPERUSER_PASSWORD": "pw-of-boss",
    "LANGFLOW_SECRET_KEY": GOOD_SECRET,
    "KEYTURN_PREVIOUS_SECRET_KEYS": GOOD_SECRET,
    "LANGFLOW_CONFIG_DIR": "config",
    "LANGFLOW_DATABASE_URL": "postgresql://me@db/keyturn",
    "LANGFLOW_COOKIE_DOMAIN": "keyturn.example",
    "LANGFLOW_ACCESS_SAME_SITE": "strict",
    "LANGFLOW_REFRESH_SAME_SITE": "strict",
    "LANGFLOW_HOST": "127.0.0.1",
    "KEYTURN_SOCKET": "http.sock",
    "LANGFLOW_LOG_ENV": "container",
    "LANGFLOW_LOG_LEVEL": "debug",
    "LANGFLOW_LOG_FILE": "log",
    "LANGFLOW_CORS_ORIGINS": "https://a.example",
    "KEYTURN_MCP_ALLOWED_ORIGINS": "https://a.example",
    "KEYTURN_METRICS": "127.0.0.1:9090",
    "LANGFLOW_VARIABLES_TO_GET_FROM_ENVIRONMENT": "MINE",
    "LANGFLOW_TWEAKS_POLICY": "declared",
    "LANGFLOW_FLOW_ENGINE": "embedded",
    "KEYTURN_LFX_PYTHON": "/opt/lfx/bin/python",
    "KEYTURN_LFX_USER": "lfx",
    "KEYTURN_LFX_PORTS": "443,80",
    "KEYTURN_LFX_MEMORY_MB": "512",
    "LANGFLOW_API_KEY_SOURCE": "db",
    "KEYTURN_OPENAI_BASE_URL": "https://models.example/v1",
    "KEYTURN_MODEL_BASE_URLS": "https://models.example/v1",
    "KEYTURN_DEFAULT_MODEL": "OpenAI/gpt-4o-mini",
    "KEYTURN_REDIS_URL": "redis://127.0.0.1:6379/0",
    "KEYTURN_BROKER_URL": "amqp://127.0.0.1:5672//",
    "KEYTURN_LOGIN_LIMIT_WHEN_AWAY": "refuse",
    "KEYTURN_REQUEST_LIMIT_WHEN_AWAY": "refuse",
    "KEYTURN_RUN_LIMIT_WHEN_AWAY": "refuse",
    "LANGFLOW_MCP_BASE_URL": "https://keyturn.example",
    "LANGFLOW_ROOT_PATH": "/langflow",
    "LANGFLOW_REMOVE_API_KEYS": "false",
    "KEYTURN_SERVICE_URLS": "arxiv=https://mirror.example/api/query",
}
#: What a setting is not accepted without.
NEEDED = {name: {"KEYTURN_TRUSTED_PROXIES": "1"} for name in ("KEYTURN_SOCKET", "LANGFLOW_RATE_LIMIT_TRUST_PROXY")}
#: Langflow's, known to be refused.
REFUSED = {"LANGFLOW_SSL_CERT_FILE", "LANGFLOW_SSL_KEY_FILE"}


@pytest.mark.parametrize("name", sorted(KNOWN_NAMES - REFUSED))
def test_every_setting_is_accepted(read: Read, name: str) -> None:
    assert read(**{name: VALUES.get(name, "1")}, **NEEDED.get(name, {})).without_effect == ()


def test_a_certificate_is_refused_with_one_line(read: Read) -> None:
    found = problems(read, LANGFLOW_SSL_CERT_FILE="cert.pem", LANGFLOW_SSL_KEY_FILE="key.pem")
    assert len(found) == 1
    assert "docs/deployment/nginx.conf" in found[0]


@pytest.mark.parametrize("text", ["langflow", "/langflow", "/langflow/"])
def test_the_front_of_a_path_is_understood_with_and_without_slashes(read: Read, text: str) -> None:
    assert read(LANGFLOW_ROOT_PATH=text).root_path == "/langflow"


def test_a_socket_whose_path_is_longer_than_the_system_takes_is_refused(read: Read) -> None:
    found = problems(read, KEYTURN_SOCKET="/run/" + "x" * 103, KEYTURN_TRUSTED_PROXIES="1")
    assert found == ["KEYTURN_SOCKET has more than 107 bytes: choose a shorter path"]


@pytest.mark.parametrize("secret", ["a", GOOD_SECRET[:31], "x" * 64, "ab" * 20])
@pytest.mark.parametrize("name", ["LANGFLOW_SECRET_KEY", "KEYTURN_PREVIOUS_SECRET_KEYS"])
def test_a_secret_that_is_short_or_can_be_guessed_is_refused(read: Read, name: str, secret: str) -> None:
    found = problems(read, **{name: secret})
    assert len(found) == 1
    assert "openssl rand -hex 32" in found[0]


@pytest.mark.parametrize("name", ["LANGFLOW_SECRET_KEY", "LANGFLOW_DATABASE_URL"])
def test_a_refusal_does_not_repeat_what_may_be_secret(read: Read, name: str) -> None:
    assert "hunter2" not in "".join(problems(read, **{name: "hunter2"}))


@pytest.mark.parametrize(
    ("text", "driver"),
    [
        ("postgresql://me:pw@db:5432/keyturn", "postgresql+psycopg"),
        ("postgres://me:pw@db:5432/keyturn", "postgresql+psycopg"),
        ("postgresql+psycopg2://me@db/keyturn", "postgresql+psycopg"),
        ("postgresql+asyncpg://me@db/keyturn", "postgresql+psycopg"),
        ("sqlite:///keyturn.db", "sqlite"),
        ("sqlite+aiosqlite:///keyturn.db", "sqlite"),
    ],
)
def test_a_database_url_in_any_usual_form_is_understood(read: Read, text: str, driver: str) -> None:
    assert read(LANGFLOW_DATABASE_URL=text).database_url.drivername == driver


def test_the_database_is_a_file_in_the_config_directory_by_default(read: Read, tmp_path: Path) -> None:
    assert read(LANGFLOW_CONFIG_DIR=str(tmp_path)).database_url.database == str(tmp_path / "keyturn.db")


@pytest.mark.parametrize("text", ["mysql://me@db/keyturn", "nonsense", "://"])
def test_a_database_of_another_kind_is_refused(read: Read, text: str) -> None:
    assert problems(read, LANGFLOW_DATABASE_URL=text)[0].startswith("LANGFLOW_DATABASE_URL")


def test_names_that_only_langflow_reads_have_no_effect_and_are_listed(read: Read) -> None:
    settings = read(LANGFLOW_A2A_ENABLED="true", LANGFLOW_ALGORITHM="HS256", LANGFLOW_PORT="8000")
    assert settings.without_effect == ("LANGFLOW_A2A_ENABLED", "LANGFLOW_ALGORITHM")


@pytest.mark.parametrize(
    "name", ["DB_POOL_SIZE", "DB_MAX_OVERFLOW", "ENABLE_LOG_RETRIEVAL", "LOG_ROTATION", "REDIS_PASSWORD"]
)
def test_a_name_that_langflow_documents_and_no_longer_declares_does_not_stop_the_start(read: Read, name: str) -> None:
    assert read(**{f"LANGFLOW_{name}": "1"}).without_effect == (f"LANGFLOW_{name}",)


def test_no_name_is_both_read_and_without_effect() -> None:
    path = Path(__file__).parents[1] / "service" / "langflow_settings.txt"
    without_effect = {
        f"LANGFLOW_{line}" for line in path.read_text("utf-8").splitlines() if line[:1] not in ("", "#")
    }
    assert without_effect & KNOWN_NAMES == set()


def test_secrets_are_not_in_the_repr(read: Read) -> None:
    shown = repr(
        read(
            LANGFLOW_SECRET_KEY="canary-secret-0123456789-abcdefghi",
            KEYTURN_PREVIOUS_SECRET_KEYS="canary-former-0123456789-abcdefghi",
            LANGFLOW_SUPERUSER_PASSWORD="canary-password",
            LANGFLOW_DATABASE_URL="postgresql://me:canary-database@db/keyturn",
            OPENAI_API_KEY="canary-credential",
        )
    )
    assert "canary" not in shown


def test_only_listed_names_of_the_environment_are_kept(read: Read) -> None:
    settings = read(OPENAI_API_KEY="a", MINE="b", OTHERS="c", LANGFLOW_VARIABLES_TO_GET_FROM_ENVIRONMENT="MINE")
    assert settings.environment == {"OPENAI_API_KEY": "a", "MINE": "b"}


@pytest.mark.parametrize("text", ["ONE,TWO", " ONE , TWO ", '["ONE", "TWO"]'])
def test_a_list_may_be_written_with_commas_or_as_json(read: Read, text: str) -> None:
    assert read(KEYTURN_MODEL_BASE_URLS=text).model_base_urls == ("ONE", "TWO")


def test_origins_for_cors_are_as_browsers_write_them(read: Read) -> None:
    found = read(LANGFLOW_CORS_ORIGINS="https://Ours.example:443, http://ours.example:80, http://ours.example:8080")
    assert found.cors_origins == ("https://ours.example", "http://ours.example", "http://ours.example:8080")


@pytest.mark.parametrize(
    ("text", "address"),
    [("off", None), ("KEY", None), ("127.0.0.1:9090", ("127.0.0.1", 9090)), ("[::1]:9090", ("::1", 9090))],
)
def test_metrics_have_an_address_only_where_one_is_given(read: Read, text: str, address: object) -> None:
    assert read(KEYTURN_METRICS=text).metrics_address == address


@pytest.mark.parametrize("host", ["127.0.0.1", "127.8.9.1", "::1", "[::1]", "localhost", "LOCALHOST"])
def test_loopback_names_are_known(host: str) -> None:
    assert is_loopback(host)


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "", "localhost.evil.example", "192.168.0.1", "127.0.0.1.evil"])
def test_other_names_are_not_loopback(host: str) -> None:
    assert not is_loopback(host)


@pytest.mark.parametrize("text", ["gpt-4o", "OpenAI/", "/gpt-4o"])
def test_a_default_model_names_provider_and_model(read: Read, text: str) -> None:
    with pytest.raises(SettingsError, match="write it as Provider/model"):
        read(KEYTURN_DEFAULT_MODEL=text)


def test_origins_for_mcp_are_compared_in_lower_case(read: Read) -> None:
    found = read(KEYTURN_MCP_ALLOWED_ORIGINS="https://Ours.example, http://[2001:DB8::1]:8080")
    assert found.mcp_allowed_origins == ("https://ours.example", "http://[2001:db8::1]:8080")


@pytest.mark.parametrize("origin", ["*", "ours.example", "https://ours.example/", "https://*.example", "https://a@b"])
def test_what_is_no_origin_stops_the_start(read: Read, origin: str) -> None:
    assert problems(read, KEYTURN_MCP_ALLOWED_ORIGINS=origin) == [
        f"KEYTURN_MCP_ALLOWED_ORIGINS names '{origin}': write an origin such as https://keyturn.example:8443, "
        "without a path or a pattern"
    ]


@pytest.mark.parametrize(
    "address", ["keyturn.example", "https://user:word@keyturn.example", "https://a.example/?k=1"]
)
def test_a_public_address_is_a_whole_one_without_a_secret(read: Read, address: str) -> None:
    assert problems(read, LANGFLOW_MCP_BASE_URL=address)[0].startswith("LANGFLOW_MCP_BASE_URL is no address")


def test_a_public_address_is_told_without_its_last_slash(read: Read) -> None:
    assert read(LANGFLOW_MCP_BASE_URL="https://keyturn.example/mcp/").mcp_base_url == "https://keyturn.example/mcp"


@pytest.mark.parametrize(("text", "ports"), [("", ()), ("443", (443,)), ("443, 80", (443, 80)), ("all", None)])
def test_ports_of_lfx_are_numbers_or_all_of_them(read: Read, text: str, ports: tuple[int, ...] | None) -> None:
    assert read(KEYTURN_LFX_PORTS=text).lfx_ports == ports


@pytest.mark.parametrize("text", ["https", "0", "70000", "443,all", "-1"])
def test_what_is_no_port_stops_the_start(read: Read, text: str) -> None:
    assert problems(read, KEYTURN_LFX_PORTS=text)[0].startswith("KEYTURN_LFX_PORTS is a list of TCP ports")


@pytest.mark.parametrize("address", ["postgresql://user@host:port/name", "postgresql://user@[::1/name"])
def test_a_database_address_that_cannot_be_read_stops_the_start(read: Read, address: str) -> None:
    assert problems(read, LANGFLOW_DATABASE_URL=address)[0].startswith("LANGFLOW_DATABASE_URL is not a URL")


@pytest.mark.parametrize("name", ["LANGFLOW_CONFIG_DIR", "KEYTURN_LFX_PYTHON", "KEYTURN_SOCKET"])
def test_the_home_of_nobody_stops_the_start(read: Read, name: str) -> None:
    found = problems(read, **{name: "~nobody-of-this-name/x"})
    assert found == [f"{name} is '~nobody-of-this-name/x': there is no such user; write the whole path"]


def test_an_env_file_that_is_no_text_stops_the_start(tmp_path: Path) -> None:
    file = tmp_path / "env"
    file.write_bytes(b"A=\x80")
    with pytest.raises(SettingsError, match="cannot be read: it must be text in UTF-8"):
        Settings.from_env({}, env_file=file)
