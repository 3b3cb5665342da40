"""What happens once before the server answers, also when several processes do it at the same time."""

from __future__ import annotations

import multiprocessing
import stat
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from sqlalchemy import URL, func, select, text, update
from sqlalchemy.orm import Session

from service import boot
from service.adapters.vault import FernetVault
from service.boot import BootError
from service.settings import Settings
from service.storage import Flow, SecretCheck, User
from service.storage.engine import create_engine
from service.storage.variables import Variable
from tests.conftest import SECRET, SUPERUSER

OTHER_SECRET = "another-secret-9876543210-zyxwvu"
Make = Callable[..., Settings]


@contextmanager
def opened(url: URL) -> Iterator[Session]:
    engine = create_engine(url)
    with Session(engine) as session:
        yield session
        session.commit()
    engine.dispose()


def refusal(settings: Settings) -> str:
    """The text with which the boot refuses; a traceback must not hang on it."""
    with pytest.raises(BootError) as caught:
        boot.prepare(settings)
    assert "\n" not in str(caught.value)
    return str(caught.value)


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


def boot_at_the_same_time(settings: Settings, start, results) -> None:
    start.wait()
    try:
        results.put(boot.prepare(settings).made_password is not None)
    except BaseException as error:
        results.put(repr(error))


def test_four_processes_that_start_together_bootstrap_once(make_settings: Make, database_url: URL) -> None:
    settings = make_settings(database_url, superuser_password="", secret_key="")
    context = multiprocessing.get_context("spawn")
    start, results = context.Barrier(4), context.Queue()
    processes = [context.Process(target=boot_at_the_same_time, args=(settings, start, results)) for _ in range(4)]
    for process in processes:
        process.start()
    outcomes = [results.get(timeout=60) for _ in processes]
    for process in processes:
        process.join()
    assert sorted(outcomes, key=str) == [False, False, False, True]


def test_a_boot_waits_for_the_one_before_it(make_settings: Make, database_url: URL) -> None:
    settings = make_settings(database_url)
    engine = boot.open_engine(settings)
    second = threading.Thread(target=boot.prepare, args=(settings,))
    with boot._lock(engine, database_url):
        second.start()
        second.join(0.5)
        waited = second.is_alive()
    second.join(30)
    engine.dispose()
    assert (waited, second.is_alive()) == (True, False)


def test_the_first_boot_makes_the_superuser(make_settings: Make, database_url: URL) -> None:
    boot.prepare(make_settings(database_url))
    with opened(database_url) as session:
        user = session.scalars(select(User)).one()
        assert (user.username, user.is_superuser, user.is_active) == (SUPERUSER, True, True)


def test_a_second_boot_changes_nothing(make_settings: Make, database_url: URL) -> None:
    first = boot.prepare(make_settings(database_url))
    assert boot.prepare(make_settings(database_url)) == first


def test_a_later_password_in_the_settings_is_no_way_in(make_settings: Make, database_url: URL) -> None:
    boot.prepare(make_settings(database_url))
    with opened(database_url) as session:
        before = session.scalars(select(User.password_hash)).one()
    boot.prepare(make_settings(database_url, superuser_password="somethingelse"))
    with opened(database_url) as session:
        assert session.scalars(select(User.password_hash)).one() == before


def test_a_password_is_made_and_told_once_where_none_is_given(make_settings: Make, sqlite_url: URL) -> None:
    settings = make_settings(sqlite_url, superuser_password="")
    told = [boot.prepare(settings).made_password, boot.prepare(settings).made_password]
    assert told[0]
    assert told[1] is None


def test_a_made_password_is_not_in_the_repr(make_settings: Make, sqlite_url: URL) -> None:
    facts = boot.prepare(make_settings(sqlite_url, superuser_password=""))
    assert facts.made_password not in repr(facts)


def test_a_newer_schema_is_refused(make_settings: Make, database_url: URL) -> None:
    boot.prepare(make_settings(database_url))
    with opened(database_url) as session:
        session.execute(text("UPDATE alembic_version SET version_num = '9999'"))
    assert "newer than this Keyturn" in refusal(make_settings(database_url))


def test_an_empty_database_is_left_alone_where_migrating_is_off(make_settings: Make, database_url: URL) -> None:
    assert "keyturn db upgrade" in refusal(make_settings(database_url, auto_migrate=False))


@pytest.mark.parametrize("table", ['"user"', "flow", "variable", "alembic_version"])
def test_a_database_with_another_programs_tables_is_refused(
    make_settings: Make, database_url: URL, table: str
) -> None:
    with opened(database_url) as session:
        session.execute(text(f"CREATE TABLE {table} (version_num VARCHAR(32))"))
        session.execute(text(f"INSERT INTO {table} VALUES ('1b8b740a6fa3')"))
    assert "LANGFLOW_DATABASE_URL" in refusal(make_settings(database_url))


def test_another_programs_tables_are_not_touched(make_settings: Make, database_url: URL) -> None:
    with opened(database_url) as session:
        session.execute(text('CREATE TABLE "user" (name VARCHAR(32))'))
        session.execute(text("INSERT INTO \"user\" VALUES ('theirs')"))
    refusal(make_settings(database_url))
    with opened(database_url) as session:
        assert session.execute(text('SELECT * FROM "user"')).all() == [("theirs",)]


def test_a_wrong_secret_is_refused_at_boot(make_settings: Make, database_url: URL) -> None:
    boot.prepare(make_settings(database_url))
    assert "KEYTURN_PREVIOUS_SECRET_KEYS" in refusal(make_settings(database_url, secret_key=OTHER_SECRET))


def test_a_refusal_does_not_tell_the_secret(make_settings: Make, sqlite_url: URL) -> None:
    boot.prepare(make_settings(sqlite_url))
    said = refusal(make_settings(sqlite_url, secret_key=OTHER_SECRET))
    assert (SECRET in said, OTHER_SECRET in said) == (False, False)


def test_a_previous_secret_heals_it(make_settings: Make, database_url: URL) -> None:
    boot.prepare(make_settings(database_url))
    healed = make_settings(database_url, secret_key=OTHER_SECRET, previous_secret_keys=(SECRET,))
    assert boot.prepare(healed).users == 1


def test_a_damaged_secret_check_is_refused(make_settings: Make, sqlite_url: URL) -> None:
    boot.prepare(make_settings(sqlite_url))
    with opened(sqlite_url) as session:
        session.execute(update(SecretCheck).values(ciphertext=FernetVault(SECRET).encrypt("something else")))
    assert "restore a backup" in refusal(make_settings(sqlite_url))


def test_a_secret_check_that_does_not_open_is_refused(make_settings: Make, sqlite_url: URL) -> None:
    boot.prepare(make_settings(sqlite_url))
    with opened(sqlite_url) as session:
        session.execute(update(SecretCheck).values(ciphertext="kt1:junk"))
    assert "restore a backup" in refusal(make_settings(sqlite_url))


def stored(url: URL, name: str) -> tuple[str, str]:
    """(type, value) of a variable."""
    with opened(url) as session:
        row = session.scalars(select(Variable).where(Variable.name == name)).one()
        return row.type, FernetVault(SECRET).decrypt(row.ciphertext)


def test_names_of_the_environment_become_credentials(make_settings: Make, database_url: URL) -> None:
    boot.prepare(make_settings(database_url, environment={"OPENAI_API_KEY": "first"}))
    assert stored(database_url, "OPENAI_API_KEY") == ("Credential", "first")


def test_a_changed_value_of_the_environment_is_followed(make_settings: Make, database_url: URL) -> None:
    boot.prepare(make_settings(database_url, environment={"OPENAI_API_KEY": "first"}))
    boot.prepare(make_settings(database_url, environment={"OPENAI_API_KEY": "second"}))
    assert stored(database_url, "OPENAI_API_KEY")[1] == "second"


def test_a_users_own_value_stays(make_settings: Make, database_url: URL) -> None:
    boot.prepare(make_settings(database_url, environment={"OPENAI_API_KEY": "first"}))
    with opened(database_url) as session:
        session.execute(update(Variable).values(source="user", ciphertext=FernetVault(SECRET).encrypt("mine")))
    boot.prepare(make_settings(database_url, environment={"OPENAI_API_KEY": "second"}))
    assert stored(database_url, "OPENAI_API_KEY")[1] == "mine"


def test_the_environment_is_left_out_where_that_is_switched_off(make_settings: Make, sqlite_url: URL) -> None:
    environment = {"OPENAI_API_KEY": "first"}
    boot.prepare(make_settings(sqlite_url, environment=environment, store_environment_variables=False))
    with opened(sqlite_url) as session:
        assert session.scalar(select(func.count()).select_from(Variable)) == 0


def test_a_generated_secret_file_is_its_owners_alone(make_settings: Make, sqlite_url: URL, tmp_path: Path) -> None:
    boot.prepare(make_settings(sqlite_url, secret_key=""))
    assert mode(tmp_path / "secret_key") == 0o600


@pytest.mark.parametrize("given", ["", OTHER_SECRET])
def test_a_secret_file_is_never_overwritten(make_settings: Make, sqlite_url: URL, tmp_path: Path, given: str) -> None:
    file = tmp_path / "secret_key"
    file.write_text("the-only-copy-0123456789-abcdefghijk", "utf-8")
    boot.prepare(make_settings(sqlite_url, secret_key=given))
    assert file.read_text("utf-8") == "the-only-copy-0123456789-abcdefghijk"


def test_a_damaged_secret_file_is_refused_and_kept(make_settings: Make, sqlite_url: URL, tmp_path: Path) -> None:
    (tmp_path / "secret_key").write_text("short", "utf-8")
    assert "restore it from your backup" in refusal(make_settings(sqlite_url, secret_key=""))
    assert (tmp_path / "secret_key").read_text("utf-8") == "short"


def test_no_draft_of_the_secret_is_left_behind(make_settings: Make, sqlite_url: URL, tmp_path: Path) -> None:
    boot.prepare(make_settings(sqlite_url, secret_key=""))
    assert list(tmp_path.glob(".secret_key-*")) == []


def test_the_database_file_is_its_owners_alone(make_settings: Make, sqlite_url: URL, tmp_path: Path) -> None:
    boot.prepare(make_settings(sqlite_url))
    assert {path.name: mode(path) for path in tmp_path.glob("keyturn.db*") if mode(path) != 0o600} == {}


def test_a_directory_made_for_the_database_is_its_owners_alone(make_settings: Make, tmp_path: Path) -> None:
    settings = make_settings(URL.create("sqlite", database=str(tmp_path / "new" / "keyturn.db")))
    boot.prepare(settings)
    assert mode(tmp_path / "new") == 0o700


def test_demo_flows_are_loaded_once(make_settings: Make, database_url: URL) -> None:
    settings = make_settings(database_url, demo_flows=True)
    boot.prepare(settings)
    with opened(database_url) as session:
        first = sorted(session.scalars(select(Flow.name)))
    assert first
    assert boot.prepare(settings).flows == len(first)


def test_a_database_that_cannot_be_reached_is_told_without_its_password(make_settings: Make) -> None:
    url = URL.create("postgresql+psycopg", "me", "canary", "127.0.0.1", 9, "keyturn")
    said = refusal(make_settings(url))
    assert ("cannot be used" in said, "canary" in said) == (True, False)


def test_an_open_server_needs_a_superuser_to_act_as(make_settings: Make, sqlite_url: URL) -> None:
    boot.prepare(make_settings(sqlite_url))
    assert "LANGFLOW_SUPERUSER" in refusal(make_settings(sqlite_url, auto_login=True, superuser="nobody"))


def test_a_refusal_ends_the_process_with_status_3(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit, match="3"), boot.exit_on_error():
        raise BootError("what is wrong: what to do")
    assert capsys.readouterr().err == "keyturn: what is wrong: what to do\n"
