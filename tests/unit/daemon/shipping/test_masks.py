"""What errors of stores quote is told without secrets."""

from __future__ import annotations

import pytest
from boardd.shipping.masks import masked

SECRET = "S3cr3t/of+the~store=="


@pytest.mark.parametrize(
    "text",
    [
        f"https://store/a?X-Amz-Signature={SECRET}&x=1",
        f"https://store/a?sv=2024&sig={SECRET}&se=1",
        f"https://user:{SECRET.replace('/', '')}@store/a",
        f"Authorization: Bearer {SECRET}",
        f"{{'Authorization': 'Bearer {SECRET}'}}",
        f'{{"access_token": "{SECRET}", "expires_in": 3599}}',
        f"{{'aws_secret_access_key': '{SECRET}'}}",
        f"AccountKey={SECRET};EndpointSuffix=core",
        f"the header was: Bearer {SECRET}",
        f"password: {SECRET}",
        f"x-amz-security-token: {SECRET}",
    ],
)
def test_a_secret_is_masked(text: str) -> None:
    shown = masked(text)
    assert "S3cr3t" not in shown
    assert "..." in shown


@pytest.mark.parametrize(
    "text",
    [
        "PermissionError: Access Denied",
        "NoSuchKey: The specified key does not exist.",
        "InvalidAccessKeyId: The AWS Access Key Id you provided is not known",
        "FileNotFoundError: The specified bucket does not exist: s3://bucket/runs",
        "ConnectionError: https://store:9000/bucket/runs/one is away",
        "it has 5 bytes of runs/one/events.out.tfevents.1700000000.host, which has 6",
    ],
)
def test_what_tells_the_reason_stays(text: str) -> None:
    assert masked(text) == text
