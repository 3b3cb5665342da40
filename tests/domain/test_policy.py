"""The whole truth table of the policy, written down a second time: by hand, one line for each case."""

from __future__ import annotations

from itertools import product

import pytest

from service.domain.policy import TABLE, Era, Kind, Outcome, Policy, without_credential

OLD, MIDDLE, NEW = Era.BEFORE_1_5, Era.FROM_1_5, Era.FROM_2_0
YES, NO = True, False

#: era, AUTO_LOGIN, SKIP_AUTH_AUTO_LOGIN -> what API, RUN and SUPERUSER endpoints do; then MCP, open and closed.
EXPECTED = {
    (OLD, YES, YES): ("as the superuser", "as the superuser", "as the superuser"),
    (OLD, YES, NO): ("as the superuser", "as the superuser", "as the superuser"),
    (OLD, NO, YES): ("as the superuser", "as the superuser", "as the superuser"),
    (OLD, NO, NO): ("refuse", "refuse", "refuse"),
    (MIDDLE, YES, YES): ("as the superuser, with a warning", "anonymous", "refuse"),
    (MIDDLE, YES, NO): ("refuse, a key is needed since 1.5", "anonymous", "refuse"),
    (MIDDLE, NO, YES): ("refuse", "anonymous", "refuse"),
    (MIDDLE, NO, NO): ("refuse", "anonymous", "refuse"),
    (NEW, YES, YES): ("refuse", "anonymous", "refuse"),
    (NEW, YES, NO): ("refuse", "anonymous", "refuse"),
    (NEW, NO, YES): ("refuse", "anonymous", "refuse"),
    (NEW, NO, NO): ("refuse", "anonymous", "refuse"),
}


def expected(kind: Kind, policy: Policy) -> str:
    api, mcp, mcp_closed = EXPECTED[policy.era, policy.auto_login, policy.skip_auth_auto_login]
    return {
        Kind.PUBLIC: "anonymous",
        Kind.OPTIONAL: "anonymous",
        Kind.API: api,
        Kind.RUN: api,
        Kind.SUPERUSER: api,
        Kind.WEBHOOK: "refuse",
        Kind.SESSION: "refuse",
        Kind.PAGE: "refuse",
        Kind.ADMIN_PAGE: "refuse",
        Kind.MCP: mcp_closed if policy.mcp_require_api_key else mcp,
        Kind.MCP_OWN: mcp_closed,
    }[kind]


POLICIES = [
    Policy(era, auto_login, skip, mcp_closed)
    for era, auto_login, skip, mcp_closed in product(Era, (YES, NO), (YES, NO), (YES, NO))
]


def name_of(policy: Policy) -> str:
    switches = {
        "auto_login": policy.auto_login,
        "skip": policy.skip_auth_auto_login,
        "mcp_needs_key": policy.mcp_require_api_key,
    }
    return "-".join([policy.era.name.lower(), *(name for name, on in switches.items() if on)])


@pytest.mark.parametrize("policy", POLICIES, ids=name_of)
@pytest.mark.parametrize("kind", Kind, ids=lambda kind: kind.value)
def test_without_credential_answers_as_the_truth_table_says(kind: Kind, policy: Policy) -> None:
    assert without_credential(kind, policy).value == expected(kind, policy)


@pytest.mark.parametrize("policy", POLICIES, ids=name_of)
def test_exactly_one_line_of_the_table_speaks_of_each_policy(policy: Policy) -> None:
    assert sum(row.covers(policy) for row in TABLE) == 1


@pytest.mark.parametrize(
    ("version", "era"),
    [
        ((0, 6), OLD),
        ((1, 0), OLD),
        ((1, 4), OLD),
        ((1, 5), MIDDLE),
        ((1, 13), MIDDLE),
        ((1, 99), MIDDLE),
        ((2, 0), NEW),
        ((2, 1), NEW),
        ((10, 0), NEW),
    ],
)
def test_a_version_belongs_to_its_era(version: tuple[int, int], era: Era) -> None:
    assert Era.of(version) is era


def test_the_default_policy_admits_nobody_to_an_api_endpoint() -> None:
    assert without_credential(Kind.API, Policy(MIDDLE)) is Outcome.REFUSE


@pytest.mark.parametrize("outcome", Outcome, ids=lambda outcome: outcome.name.lower())
def test_only_two_outcomes_act_as_the_superuser(outcome: Outcome) -> None:
    assert outcome.acts_as_superuser is (outcome.value in {"as the superuser", "as the superuser, with a warning"})
