"""How many connections a client has."""

from __future__ import annotations

import pytest

from appliance.web.clients import Clients, client_of


@pytest.mark.parametrize(
    ("one", "other", "same"),
    [
        ("192.0.2.1", "192.0.2.1", True),
        ("192.0.2.1", "192.0.2.2", False),
        ("::ffff:192.0.2.1", "192.0.2.1", True),
        ("::ffff:192.0.2.1", "::ffff:192.0.2.2", False),
        ("2001:db8:0:1::1", "2001:db8:0:1:ffff::2", True),
        ("2001:db8:0:1::1", "2001:db8:0:2::1", False),
        ("fe80::1%eth0", "fe80::2%eth0", True),
    ],
)
def test_who_is_one_client(one: str, other: str, same: bool) -> None:
    assert (client_of(one) == client_of(other)) is same


def test_each_has_so_many_and_gets_them_back() -> None:
    clients = Clients(2)
    assert [clients.enter("a"), clients.enter("a"), clients.enter("a")] == [True, True, False]
    assert clients.enter("b")
    clients.leave("a")
    assert clients.enter("a")
    assert not clients.enter("a")
    assert [clients.is_news("a"), clients.is_news("a"), clients.is_news("b")] == [True, False, True]
    for _ in range(2):
        clients.leave("a")
    assert clients.is_news("a")
    clients.leave("b")
    assert not clients._connections


def test_none_is_refused_where_no_limit_is_set() -> None:
    clients = Clients(0)
    assert all(clients.enter("a") for _ in range(10_000))
