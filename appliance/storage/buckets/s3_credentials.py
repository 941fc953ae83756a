"""Where the keys for S3 come from: the environment, else what the machine is given by its cloud.

The variables are AWS's own. A container (ECS, EKS) is told where to ask by them; a machine of EC2
asks the instance's metadata service, version 2. What is given so expires and is asked for anew.
Source: https://docs.aws.amazon.com/sdkref/latest/guide/standardized-credentials.html
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from pathlib import Path
from typing import Any

import aiohttp

from appliance.errors import ConfigurationError
from appliance.storage.buckets.requests import TryAgain
from appliance.storage.buckets.signature import Credentials
from appliance.threads import in_thread

METADATA = "http://169.254.169.254"
CONTAINER_HOST = "http://169.254.170.2"
ROLE = "/latest/meta-data/iam/security-credentials/"
BEFORE_S = 300.0
"""So long before they expire, new ones are asked for."""
TIMEOUT_S = 3.0


class CredentialSource:
    def __init__(self, environ: Mapping[str, str]) -> None:
        """Raises ConfigurationError."""
        self._environ = environ
        self._given: Credentials | None = None
        self._until = float("inf")
        key, secret = environ.get("AWS_ACCESS_KEY_ID"), environ.get("AWS_SECRET_ACCESS_KEY")
        if any((key, secret)) and not all((key, secret)):
            raise ConfigurationError(
                ["AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY: set both of them, or none."]
            )
        if key and secret:
            self._given = Credentials(key, secret, environ.get("AWS_SESSION_TOKEN"))

    async def current(self, now: float) -> Credentials:
        """`now` is the time by the store's clock. Raises StorageUnavailable."""
        if self._given is None or now > self._until - BEFORE_S:
            async with aiohttp.ClientSession(
                timeout=aiohttp.ClientTimeout(total=TIMEOUT_S)
            ) as session:
                try:
                    document = await self._asked(session)
                    self._given = Credentials(
                        document["AccessKeyId"], document["SecretAccessKey"], document["Token"]
                    )
                    expires = document["Expiration"].replace("Z", "+00:00")
                    self._until = datetime.fromisoformat(expires).timestamp()
                except (aiohttp.ClientError, TimeoutError, OSError, KeyError, ValueError) as error:
                    raise TryAgain(
                        "There are no keys for S3: set AWS_ACCESS_KEY_ID and "
                        "AWS_SECRET_ACCESS_KEY, or give this machine a role "
                        f"(its metadata service says: {error or 'nothing'})."
                    ) from error
        return self._given

    async def _asked(self, session: aiohttp.ClientSession) -> Any:
        url, headers = self._container()
        if url is None:
            asked = {"X-aws-ec2-metadata-token-ttl-seconds": "300"}
            origin = self._environ.get("AWS_EC2_METADATA_SERVICE_ENDPOINT", METADATA).rstrip("/")
            async with session.put(f"{origin}/latest/api/token", headers=asked) as response:
                response.raise_for_status()
                headers = {"X-aws-ec2-metadata-token": await response.text()}
            async with session.get(origin + ROLE, headers=headers) as response:
                response.raise_for_status()
                url = origin + ROLE + (await response.text()).split("\n")[0]
        token_file = self._environ.get("AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE")
        if token_file:
            headers["Authorization"] = await in_thread(Path(token_file).read_text, "ascii")
        async with session.get(url, headers=headers) as response:
            response.raise_for_status()
            return await response.json(content_type=None)

    def _container(self) -> tuple[str | None, dict[str, str]]:
        relative = self._environ.get("AWS_CONTAINER_CREDENTIALS_RELATIVE_URI")
        url = self._environ.get("AWS_CONTAINER_CREDENTIALS_FULL_URI")
        return (CONTAINER_HOST + relative if relative else url), {}
