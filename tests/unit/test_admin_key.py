from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from appliance.admin_key import create_key, ensure_admin_key
from appliance.database import keys
from appliance.database.protocol import Database
from appliance.errors import ConfigurationError
from appliance.keys import ApiKey, hash_secret
from appliance.permissions import Role
from tests import databases

NOW = 1_000.0
FIRST, SECOND = "first-configured-key-000000", "second-configured-key-00000"


@pytest.fixture
async def database(tmp_path: Path) -> AsyncIterator[Database]:
    opened = await databases.opened(tmp_path)
    yield opened
    await opened.close()


async def key_of(database: Database, secret: str) -> ApiKey | None:
    return await database.read(keys.by_secret(hash_secret(secret)))


async def test_the_first_start_makes_a_key_and_a_link(database: Database, tmp_path: Path) -> None:
    key_file = tmp_path / "admin.key"
    token = await ensure_admin_key(database, key_file=key_file, configured=None, now=NOW)
    assert token is not None
    assert key_file.stat().st_mode & 0o777 == 0o600
    key = await key_of(database, key_file.read_text().strip())
    assert key is not None
    assert key.role is Role.ADMIN
    assert await database.write(keys.use_signin_link(hash_secret(token), now=NOW)) == key
    assert await database.write(keys.use_signin_link(hash_secret(token), now=NOW)) is None
    again = await ensure_admin_key(database, key_file=key_file, configured=None, now=NOW)
    assert again is None


async def test_a_user_key_made_before_is_no_admin(database: Database, tmp_path: Path) -> None:
    await create_key(database, name="phone", role=Role.USER, now=NOW)
    key_file = tmp_path / "admin.key"
    assert await ensure_admin_key(database, key_file=key_file, configured=None, now=NOW)


async def test_a_configured_key_takes_the_place_of_the_last_one(
    database: Database, tmp_path: Path
) -> None:
    key_file = tmp_path / "admin.key"
    for secret in (FIRST, FIRST, SECOND):
        assert (
            await ensure_admin_key(database, key_file=key_file, configured=secret, now=NOW) is None
        )
    first, second = await key_of(database, FIRST), await key_of(database, SECOND)
    assert first is not None
    assert second is not None
    assert (first.is_valid(NOW), second.is_valid(NOW)) == (False, True)
    assert not key_file.exists()
    with pytest.raises(ConfigurationError, match="revoked"):
        await ensure_admin_key(database, key_file=key_file, configured=FIRST, now=NOW)
