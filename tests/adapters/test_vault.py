"""Encryption of stored values, and the file that holds the secret."""

from __future__ import annotations

import base64
import re
import threading
from pathlib import Path

import pytest
from cryptography.fernet import Fernet

from service.adapters.vault import FernetVault, secret_from
from service.domain.errors import NotDecryptable

SECRET, OTHER = "a-secret-for-tests-0123456789-abcdef", "another-secret-9876543210-zyxwvu"


@pytest.fixture
def vault() -> FernetVault:
    return FernetVault(SECRET)


@pytest.mark.parametrize("text", ["", "x", "with ünïcode 🗝", "line\nbreak", "kt1:looks:encrypted", "y" * 100_000])
def test_what_is_encrypted_comes_back(vault: FernetVault, text: str) -> None:
    assert vault.decrypt(vault.encrypt(text)) == text


def test_a_ciphertext_names_its_key(vault: FernetVault) -> None:
    assert re.fullmatch(rf"kt1:{vault.key_id}:[\w=-]+", vault.encrypt("value"))


def test_the_name_of_a_key_is_the_same_in_every_process() -> None:
    assert FernetVault(SECRET).key_id == FernetVault(SECRET).key_id


def test_the_name_of_a_key_does_not_tell_the_secret(vault: FernetVault) -> None:
    assert (vault.key_id in SECRET, SECRET in vault.key_id) == (False, False)


def test_two_secrets_have_two_names() -> None:
    assert FernetVault(SECRET).key_id != FernetVault(OTHER).key_id


def test_the_same_text_is_never_encrypted_to_the_same_ciphertext(vault: FernetVault) -> None:
    assert vault.encrypt("value") != vault.encrypt("value")


def test_a_ciphertext_does_not_hold_the_text(vault: FernetVault) -> None:
    assert "canary" not in vault.encrypt("canary")


def damaged(vault: FernetVault) -> dict[str, str]:
    """One stored value for each way in which it can be wrong."""
    good = vault.encrypt("value")
    form, key_id, token = good.split(":", 2)
    raw = base64.urlsafe_b64decode(token)
    flipped = {
        place: base64.urlsafe_b64encode(raw[:at] + bytes([raw[at] ^ 1]) + raw[at + 1 :]).decode()
        for place, at in {"version": 0, "time": 4, "nonce": 12, "text": 30, "mac": len(raw) - 1}.items()
    }
    return {
        "empty": "",
        "plain text": "value",
        "another form": f"kt2:{key_id}:{token}",
        "no form": f"{key_id}:{token}",
        "an unknown key": f"{form}:{'0' * 12}:{token}",
        "no token": f"{form}:{key_id}:",
        "no base64": f"{form}:{key_id}:!!!",
        "not ascii": f"{form}:{key_id}:é",
        "half of a surrogate pair": f"{form}:{key_id}:\ud800",
        "cut short": good[:-4],
        "another secret": FernetVault(OTHER).encrypt("value"),
        "another secret under this name": f"{form}:{key_id}:{FernetVault(OTHER).encrypt('value').split(':')[2]}",
        "a key made without derivation": (
            f"{form}:{key_id}:{Fernet(base64.urlsafe_b64encode(SECRET.encode()[:32])).encrypt(b'value').decode()}"
        ),
        **{f"flipped {place}": f"{form}:{key_id}:{token}" for place, token in flipped.items()},
    }


@pytest.mark.parametrize("cause", list(damaged(FernetVault(SECRET))))
def test_every_damage_is_one_error_with_one_text(vault: FernetVault, cause: str) -> None:
    with pytest.raises(NotDecryptable) as refusal:
        vault.decrypt(damaged(vault)[cause])
    assert str(refusal.value) == "A stored value cannot be decrypted with this server's secret."


def test_an_error_hides_its_cause(vault: FernetVault) -> None:
    with pytest.raises(NotDecryptable) as refusal:
        vault.decrypt("kt1:junk")
    assert refusal.value.__suppress_context__


def test_a_previous_secret_still_opens_what_it_closed() -> None:
    assert FernetVault(SECRET, [OTHER]).decrypt(FernetVault(OTHER).encrypt("value")) == "value"


def test_a_previous_secret_closes_nothing_new() -> None:
    assert FernetVault(SECRET, [OTHER]).encrypt("value").startswith(f"kt1:{FernetVault(SECRET).key_id}:")


def test_a_vault_knows_its_own_keys_alone(vault: FernetVault) -> None:
    assert vault.knows(vault.key_id)
    assert not vault.knows(FernetVault(OTHER).key_id)


def test_secrets_that_differ_at_the_end_alone_are_different_keys() -> None:
    with pytest.raises(NotDecryptable):
        FernetVault("x" * 64 + "1").decrypt(FernetVault("x" * 64 + "2").encrypt("value"))


def test_a_given_secret_makes_no_file(tmp_path: Path) -> None:
    assert secret_from(tmp_path, SECRET) == (SECRET, "LANGFLOW_SECRET_KEY")
    assert list(tmp_path.iterdir()) == []


def test_a_made_secret_is_long_and_kept(tmp_path: Path) -> None:
    made, _ = secret_from(tmp_path, "")
    assert len(made) >= 64
    assert secret_from(tmp_path, "")[0] == made


def test_threads_that_start_together_agree_on_the_secret(tmp_path: Path) -> None:
    barrier, found = threading.Barrier(16), []

    def start() -> None:
        barrier.wait()
        found.append(secret_from(tmp_path, "")[0])

    threads = [threading.Thread(target=start) for _ in range(16)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert (len(found), len(set(found))) == (16, 1)
