"""What roles and scopes may, together."""

from __future__ import annotations

from itertools import chain, combinations

import pytest

from appliance.permissions import EVERY_SCOPE, OF_ROLE, OWN, Permission, Role, Scope, permitted

MIXTURES = list(chain.from_iterable(combinations(Scope, size) for size in range(1, 5)))


@pytest.mark.parametrize("role", Role)
def test_scopes_narrow_a_role_and_never_widen_it(role: Role) -> None:
    assert permitted(role, EVERY_SCOPE) == permitted(role, [Scope.ADMIN]) == OF_ROLE[role]
    for scopes in MIXTURES:
        assert permitted(role, scopes) <= OF_ROLE[role]
        for further in Scope:
            assert permitted(role, scopes) <= permitted(role, [*scopes, further])


def test_only_the_scope_admin_administers() -> None:
    for scopes in MIXTURES:
        may = Permission.ADMINISTER in permitted(Role.ADMIN, scopes)
        assert may == (Scope.ADMIN in scopes)


def test_what_a_leaked_upload_key_may() -> None:
    for role in Role:
        assert permitted(role, [Scope.UPLOAD]) <= {Permission.SELF, Permission.UPLOAD}


def test_the_roles_are_as_they_are_documented() -> None:
    assert OF_ROLE[Role.USER] == OWN
    assert OF_ROLE[Role.VIEWER] == {Permission.SELF, Permission.READ, Permission.READ_ALL}
    assert OF_ROLE[Role.OPERATOR] == set(Permission) - {Permission.ADMINISTER}
    assert OF_ROLE[Role.ADMIN] == set(Permission)


def test_without_a_scope_there_is_nothing() -> None:
    assert permitted(Role.ADMIN, []) == frozenset()
