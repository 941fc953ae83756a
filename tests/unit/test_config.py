from __future__ import annotations

import contextlib
from collections.abc import Callable
from dataclasses import fields
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from appliance.config import SETTINGS, Config, Setting, load
from appliance.errors import ConfigurationError
from appliance.setting_values import (
    PoolSize,
    parse_bytes,
    parse_media_types,
    parse_pool,
    parse_public_url,
    parse_seconds,
)

BAD: dict[str, str] = {
    "host": " ",
    "port": "70000",
    "data_dir": "",
    "presets_dir": " ",
    "public_url": "files.example.org",
    "tls_certificate_file": " ",
    "tls_key_file": " ",
    "trusted_proxies": "10.0.0.1/8",
    "database_url": "postgresql://db/appliance?password=x",
    "storage_url": "ftp://store",
    "cold_storage_url": "az://files",
    "cold_after_days": "monthly",
    "hot_usd_per_gb": "-1",
    "cold_usd_per_gb": "0,01",
    "scrub_bytes_per_s": "slow",
    "scrub_every_days": "monthly",
    "backup_url": "ftp://store",
    "backup_every_s": "daily",
    "backup_keep": "0",
    "backup_prove_every_s": "-1",
    "storage_redirect": "yes",
    "admin_key": "short",
    "jwt_secret": "x" * 31,
    "jwt_jwks_url": "issuer.example/keys",
    "jwt_issuer": " ",
    "jwt_audience": "",
    "jwt_roles_claim": "",
    "oidc_issuer": "sso.example.org",
    "oidc_client_id": " ",
    "oidc_client_secret": "",
    "oidc_scopes": " ",
    "oidc_name": "",
    "oidc_groups_claim": "",
    "oidc_roles": "family=boss",
    "oidc_default_role": "guest",
    "outgoing": "some",
    "encryption_key": "short",
    "encryption_key_file": "",
    "max_upload_bytes": "a lot",
    "max_type_bytes": "images=200MB",
    "quota_bytes": "some",
    "quota_files": "0",
    "rate_uploads": "many/min",
    "rate_requests": "10",
    "rate_anonymous": "0/s",
    "reserve_bytes": "-1",
    "allowed_types": "pictures",
    "max_retries": "three",
    "max_open_uploads": "many",
    "upload_expiry_s": "0",
    "max_connections_per_client": "few",
    "delete_after_days": "a year",
    "delete_results_after_days": "-1",
    "heartbeat_timeout_s": "0",
    "stale_after_s": "-5",
    "drain_s": "soon",
    "workers_image": "4-1",
    "workers_pdf": "many",
    "workers_video": "-1",
    "workers_any": "1-",
    "job_timeout_s": "nan",
    "job_idle_timeout_s": "inf",
    "job_memory_bytes": "2 gigs",
    "sandbox": "perhaps",
    "clamd_url": "clamav:3310",
    "scan": "sometimes",
    "scan_max_bytes": "much",
    "notify_urls": "ops",
    "log_format": "xml",
    "log_level": "loud",
}
"""For every setting something that it cannot be."""


def faults(environ: dict[str, str], toml: Path | None = None) -> list[str]:
    with pytest.raises(ConfigurationError) as refused:
        load(environ, toml_path=toml)
    return refused.value.faults


@pytest.fixture(autouse=True)
def _elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without an appliance.toml that somebody left in the working directory."""
    monkeypatch.chdir(tmp_path)


@pytest.mark.parametrize("setting", SETTINGS, ids=lambda setting: setting.name)
def test_each_setting_refuses_what_it_cannot_be_and_says_what_it_can(setting: Setting) -> None:
    assert setting.name in BAD, "add something that this setting cannot be"
    (fault,) = faults({setting.variable: BAD[setting.name]})
    shown = "what is set" if setting.secret else repr(BAD[setting.name])
    assert fault.startswith(f"{setting.variable}: {shown} is not valid; ")
    assert len(fault.partition(" is not valid; ")[2]) > 10


def test_all_faults_are_told_at_once() -> None:
    environ = {setting.variable: BAD[setting.name] for setting in SETTINGS}
    told = faults({**environ, "APPLIANCE_PRT": "1", "APPLIANCE_NONSENSE_AT_ALL": "1"})
    for variable in (*environ, "APPLIANCE_PRT", "APPLIANCE_NONSENSE_AT_ALL"):
        assert [fault for fault in told if fault.startswith(f"{variable}:")], variable
    assert len(told) == len(SETTINGS) + 2


@given(st.sets(st.sampled_from([setting.name for setting in SETTINGS]), min_size=1))
def test_as_many_faults_as_there_are(names: set[str]) -> None:
    told = faults({f"APPLIANCE_{name.upper()}": BAD[name] for name in names})
    assert sorted(fault.partition(":")[0] for fault in told) == sorted(
        f"APPLIANCE_{name.upper()}" for name in names
    )


def test_a_misspelt_name_is_met_with_the_right_one() -> None:
    (fault,) = faults({"APPLIANCE_MAX_UPLOAD_BYTE": "1"})
    assert "APPLIANCE_MAX_UPLOAD_BYTES" in fault


def test_the_clients_variables_are_no_settings() -> None:
    load({"APPLIANCE_SERVER": "http://x", "APPLIANCE_KEY": "k", "PATH": "/bin"})


def test_settings_that_contradict_each_other() -> None:
    (fault,) = faults({"APPLIANCE_HEARTBEAT_TIMEOUT_S": "60", "APPLIANCE_STALE_AFTER_S": "30"})
    assert "APPLIANCE_HEARTBEAT_TIMEOUT_S" in fault
    both = {"APPLIANCE_JOB_MEMORY_BYTES": "1MiB", "APPLIANCE_MAX_UPLOAD_BYTES": "0"}
    assert len(faults(both)) == 2
    tokens = {"APPLIANCE_JWT_SECRET": "x" * 32, "APPLIANCE_JWT_JWKS_URL": "https://a.example/keys"}
    assert len(faults(tokens)) == 3  # both at once, no issuer, no audience
    for one in tokens:
        told = faults({one: tokens[one], "APPLIANCE_JWT_ISSUER": "https://a.example"})
        assert [fault.partition(":")[0] for fault in told] == ["APPLIANCE_JWT_AUDIENCE"]


def test_without_any_setting_everything_has_its_default(tmp_path: Path) -> None:
    config = load({})
    assert (config.host, config.port, config.url) == ("127.0.0.1", 8080, "http://127.0.0.1:8080")
    assert config.data_dir == tmp_path / "data"
    assert config.database_url == f"sqlite:///{tmp_path}/data/appliance.db"
    assert config.storage_url == f"file://{tmp_path}/data/files"
    assert config.max_upload_bytes == 10 * 1024**3
    assert (config.max_retries, config.heartbeat_timeout_s, config.stale_after_s) == (3, 60, 300)
    assert config.admin_key is None
    assert {field.name for field in fields(Config)} == {setting.name for setting in SETTINGS} | {
        "cloud_environ",
        "in_force",
    }


def test_what_clouds_say_is_handed_on_and_not_shown() -> None:
    config = load({"AWS_SECRET_ACCESS_KEY": "hidden", "HOME": "/root"})
    assert config.cloud_environ == {"AWS_SECRET_ACCESS_KEY": "hidden"}
    assert "hidden" not in repr(config)


@pytest.mark.parametrize("name", ["a b", "a#b", "a?b", "a%20b", "ä", "[x]"])
def test_a_data_directory_may_have_any_name(tmp_path: Path, name: str) -> None:
    config = load({"APPLIANCE_DATA_DIR": str(tmp_path / name)})
    for url, kept in ((config.storage_url, "files"), (config.database_url, "appliance.db")):
        assert Path(unquote(urlsplit(url).path)).resolve() == tmp_path / name / kept


def test_flags_come_before_the_environment_before_the_file_before_the_default(
    tmp_path: Path,
) -> None:
    file = tmp_path / "appliance.toml"
    file.write_text("port = 1\nhost = '0.0.0.0'\nlog_level = 'debug'\n")
    environ = {"APPLIANCE_PORT": "2", "APPLIANCE_HOST": "::"}
    config = load(environ, flags={"port": "3", "host": None})
    assert (config.port, config.host, config.log_level, config.log_format) == (
        3, "::", "debug", "console",
    )  # fmt: skip
    assert config.url == "http://localhost:3"


def test_faults_name_where_they_come_from(tmp_path: Path) -> None:
    file = tmp_path / "appliance.toml"
    file.write_text("port = 'x'\nprot = 1\n")
    told = faults({}, toml=file)
    assert [fault for fault in told if fault.startswith("appliance.toml: port: 'x' is not valid")]
    assert [fault for fault in told if "unknown setting 'prot'" in fault and "port" in fault]
    with pytest.raises(ConfigurationError) as refused:
        load({}, flags={"max_retries": "x"}, toml_path=_empty(tmp_path))
    assert refused.value.faults[0].startswith("--max-retries: 'x'")


@pytest.mark.parametrize("content", [b"port = \n", b"\xff\xfe", b"[section"])
def test_a_file_that_cannot_be_read_is_one_fault_among_the_others(
    tmp_path: Path, content: bytes
) -> None:
    file = tmp_path / "appliance.toml"
    file.write_bytes(content)
    told = faults({"APPLIANCE_PORT": "x"}, toml=file)
    assert len(told) == 2
    assert "is not valid TOML" in told[0]
    told = faults({"APPLIANCE_PORT": "x"}, toml=tmp_path / "missing.toml")
    assert len(told) == 2
    assert "cannot be read" in told[0]


def _empty(tmp_path: Path) -> Path:
    path = tmp_path / "empty.toml"
    path.touch()
    return path


# --- values ------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "size"),
    [
        ("0", 0), ("500", 500), ("1k", 1024), ("1KB", 1000), ("1KiB", 1024), ("2 MiB", 2 * 1024**2),
        ("1.5G", 3 * 2**29), ("10GiB", 10 * 1024**3), ("1TB", 10**12), (" 5 b ", 5),
    ],
)  # fmt: skip
def test_sizes(text: str, size: int) -> None:
    assert parse_bytes(text) == size


@pytest.mark.parametrize(
    "parse", [parse_bytes, parse_seconds, parse_pool, parse_public_url, parse_media_types]
)
@given(text=st.text(max_size=30))
@example(text="9" * 400)
@example(text="9" * 5000)
@example(text="https://[")
def test_any_text_is_a_value_or_a_value_error(parse: Callable[[str], Any], text: str) -> None:
    with contextlib.suppress(ValueError):
        parse(text)


def test_pools() -> None:
    assert parse_pool("2") == PoolSize(2, 2)
    assert parse_pool(" 1-4 ") == PoolSize(1, 4)
    assert parse_pool("0") == PoolSize(0, 0)
    assert str(PoolSize(1, 4)) == "1-4"


@pytest.mark.parametrize("url", ["https://a.example", "http://a.example:8080/", "http://[::1]:80"])
def test_public_addresses(url: str) -> None:
    assert parse_public_url(url) == url.rstrip("/")
    assert load({"APPLIANCE_PUBLIC_URL": url}).url == url.rstrip("/")


@pytest.mark.parametrize(
    "url", ["ftp://a", "https://", "a.example", "https://a.example/path", "https://[bad", "//a"]
)
def test_addresses_that_are_none(url: str) -> None:
    with pytest.raises(ValueError, match=r"."):
        parse_public_url(url)
