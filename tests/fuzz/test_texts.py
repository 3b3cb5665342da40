"""Templates, patterns and stored secrets: any text is taken or refused."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from service.adapters.vault import FernetVault
from service.domain.errors import NotDecryptable
from service.engine import patterns, templates
from tests.fuzz.strategies import ANY_TEXT, SOUND_TEXT

BRACES = st.text(st.sampled_from("{}[]().:!a b\n\"'\\\x00é"), max_size=60)


@given(BRACES | ANY_TEXT, st.booleans(), ANY_TEXT)
def test_any_template_is_filled_or_refused(template: str, columns: bool, value: str) -> None:
    try:
        parts = templates.parse(template, columns=columns)
    except ValueError as error:
        assert str(error)
        return
    values = dict.fromkeys(templates.names(parts), value)
    assert len(templates.fill(parts, values)) <= len(template) + len(values) * len(value) * len(template)


@given(BRACES | ANY_TEXT, ANY_TEXT)
def test_any_mustache_template_is_filled_or_refused(template: str, value: str) -> None:
    try:
        parts = templates.parse_mustache(template)
    except ValueError as error:
        assert str(error)
        return
    assert templates.fill(parts, {name: "{{" + name + "}}" for name in templates.names(parts)}) == template


@pytest.mark.parametrize("piece", ["{", "}", "{{", "{a}", "{a[", "{a.", "{!", "{:", "{{a}}", "{{{", "\x00"])
def test_a_template_of_a_million_characters_is_read_at_once(piece: str) -> None:
    # What grew with the square of the length would take hours here.
    template = piece * (1_000_000 // len(piece))
    for parse in (templates.parse, templates.parse_mustache):
        try:
            parse(template)
        except ValueError as error:
            assert len(str(error)) < 500


@given(
    st.text(st.sampled_from("ab()[]{}*+?|^$.\\d1,-=!<>:P"), max_size=25),
    st.text(st.sampled_from("ab1 \n"), max_size=40),
)
def test_any_pattern_matches_or_is_refused(pattern: str, text: str) -> None:
    for act in (patterns.matches, patterns.find_all):
        try:
            act(pattern, text)
        except ValueError as error:
            assert str(error)


@given(SOUND_TEXT | st.text(st.characters(codec="utf-8"), max_size=3000))
def test_every_text_comes_back_out_of_the_vault(text: str) -> None:
    vault = FernetVault("a-secret-for-tests-0123456789-abcdef")
    closed = vault.encrypt(text)
    assert text not in closed or len(text) < 4
    assert vault.decrypt(closed) == text


@given(ANY_TEXT | st.builds("kt1:{}:{}".format, ANY_TEXT, ANY_TEXT))
def test_whatever_is_no_ciphertext_does_not_open(text: str) -> None:
    with pytest.raises(NotDecryptable):
        FernetVault("a-secret-for-tests-0123456789-abcdef").decrypt(text)
