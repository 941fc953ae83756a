"""GET /dashboard/settings: what is in force, and what is never shown."""

from __future__ import annotations

from pathlib import Path

from appliance.config import SETTINGS, Config, load
from tests.conftest import ADMIN_KEY, Serve
from tests.web.pages import HTML, page

SECRET = "0123456789abcdef-never-shown-0123456789"


def read(tmp_path: Path, **variables: str) -> Config:
    environ = {f"APPLIANCE_{name.upper()}": value for name, value in variables.items()}
    (tmp_path / "appliance.toml").write_text("drain_s = 12\nport = 9001\n")
    return load(environ, flags={"port": "9002"}, toml_path=tmp_path / "appliance.toml")


def test_each_setting_says_where_it_came_from(tmp_path: Path) -> None:
    config = read(tmp_path, max_retries="5", port="9000", data_dir=str(tmp_path))
    found = {one.variable: (one.value, one.source) for one in config.in_force}
    assert list(found) == [setting.variable for setting in SETTINGS]
    assert found["APPLIANCE_PORT"] == ("9002", "flag")  # over the environment and the file
    assert found["APPLIANCE_MAX_RETRIES"] == ("5", "environment")
    assert found["APPLIANCE_DRAIN_S"] == ("12", "file")
    assert found["APPLIANCE_HOST"] == ("127.0.0.1", "default")
    assert found["APPLIANCE_DATABASE_URL"] == (f"sqlite:///{tmp_path}/appliance.db", "default")
    assert found["APPLIANCE_PUBLIC_URL"] == (None, "default")


def test_no_secret_is_carried_to_where_it_is_shown(tmp_path: Path) -> None:
    config = read(
        tmp_path,
        admin_key=SECRET,
        jwt_jwks_url=f"https://me:{SECRET}@sso.example.org/certs",
        jwt_issuer="https://sso.example.org",
        jwt_audience="uploads",
        database_url=f"postgresql://appliance:{SECRET}@db.example.org/appliance",
        notify_urls=f"json://{SECRET}@example.org",
    )
    assert SECRET not in str(config.in_force)
    found = {one.variable: one for one in config.in_force}
    assert found["APPLIANCE_JWT_JWKS_URL"].value == "https://…@sso.example.org/certs"
    assert found["APPLIANCE_ADMIN_KEY"].is_set
    assert not found["APPLIANCE_JWT_SECRET"].is_set


async def test_the_page_shows_every_setting_and_no_secret(serve: Serve) -> None:
    served = await serve(max_retries="7")
    shown = await page(served, "/dashboard/settings")
    words = shown.words()
    for setting in SETTINGS:
        assert setting.variable in words
    assert "APPLIANCE_MAX_RETRIES The environment 7" in words
    assert "APPLIANCE_ADMIN_KEY The environment set" in words
    assert "APPLIANCE_JWT_SECRET Default not set" in words
    async with served.admin.get("/dashboard/settings", headers=HTML) as response:
        assert ADMIN_KEY not in await response.text()
    presets = (await served.json("GET", "/presets"))["presets"]
    assert presets
    for one in presets:
        assert f"{one['name']} version {one['version']}" in words
    assert not list(shown.acts())


async def test_what_is_not_reached_is_named(serve: Serve) -> None:
    served = await serve(reserve_bytes="999999TB")
    words = (await page(served, "/dashboard/settings")).words()
    assert "1 part needs a look." in words
