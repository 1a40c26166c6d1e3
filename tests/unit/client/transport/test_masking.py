"""Of a command, secrets are hidden and nothing else is."""

from __future__ import annotations

import time

import pytest
from boardd_client.transport.masking import MAX_COMMAND, masked


@pytest.mark.parametrize(
    ("argv", "shown"),
    [
        # the argument behind an option, whatever it begins with
        (["--key", "hidden"], ["--key", "***"]),
        (["--pass", "hidden"], ["--pass", "***"]),
        (["--api-key", "hidden"], ["--api-key", "***"]),
        (["--openai_key", "hidden"], ["--openai_key", "***"]),
        (["--apiKey", "hidden"], ["--apiKey", "***"]),
        (["--api-keys", "hidden"], ["--api-keys", "***"]),
        (["-W", "--wandb_password", "hidden"], ["-W", "--wandb_password", "***"]),
        (["--password", "-hidden2"], ["--password", "***"]),
        (["--token", "--api-key", "hidden"], ["--token", "***", "***"]),
        # name=value
        (["--token=hidden"], ["--token=***"]),
        (["--wandb-key=hidden,too=hidden"], ["--wandb-key=***"]),
        (["MY_SECRET=hidden"], ["MY_SECRET=***"]),
        (["PGPASSWORD=hidden"], ["PGPASSWORD=***"]),
        (["+aws.access_key=hidden"], ["+aws.access_key=***"]),
        # within an argument
        (["--env", "A=1,HF_TOKEN=hidden"], ["--env", "A=1,HF_TOKEN=***"]),
        (["--env=HF_TOKEN=hidden,A=1"], ["--env=HF_TOKEN=***,A=1"]),
        (["--config", '{"api_key": "hidden"}'], ["--config", '{"api_key": ***']),
        (
            ['--config={"auth": ["hidden", "hidden"], "lr": 1}'],
            ['--config={"auth": *** "lr": 1}'],
        ),
        ([r'"{\"api_key\": \"hidden\", \"lr\": 1}"'], [r'"{\"api_key\": *** \"lr\": 1}"']),
        (["-c", "x=1; password='hid, den=1'; y=2"], ["-c", "x=1; password=*** y=2"]),
        (["-c", 'env["HF_TOKEN"] = "hidden"\nx = 1'], ["-c", 'env["HF_TOKEN"] = ***\nx = 1']),
        (["--header", "Authorization: Bearer hidden"], ["--header", "Authorization: ***"]),
        (["-H", "Bearer hidden"], ["-H", "Bearer ***"]),
        (["-c", "train --token -hidden --lr 1"], ["-c", "train --token *** --lr 1"]),
        # URLs
        (["--data=https://h/x?token=hidden&a=1"], ["--data=https://h/x?token=***&a=1"]),
        (["https://user:hidden@host/path"], ["https://***host/path"]),
        (["postgresql://u:hid@den@h"], ["postgresql://***h"]),
        (["postgresql://u:hid/den@h"], ["postgresql://***h"]),
        # tokens as services hand them out
        (["hf_hidden1234567890"], ["***"]),
    ],
)
def test_secrets_are_hidden(argv: list[str], shown: list[str]) -> None:
    assert masked(["train.py", *argv, "--lr", "0.1"]) == ["train.py", *shown, "--lr", "0.1"]


@pytest.mark.parametrize(
    "argv",
    [
        ["--max-tokens", "4096"],
        ["--num_tokens=5"],
        ["--tokenizer", "bert-base"],
        ["--pad-token", "<pad>"],
        ["--num-key-value-heads", "8"],
        ["--key-dim=64"],
        ["--author", "me"],
        ["--monkey=1", "--passes", "3"],
        ["--no-auth", "data.csv"],
        ["--config", '{"lr": 0.1, "tokens": 5, "name": "a=b"}'],
        ["https://host/a@b", "https://host:8080/a@b", "host:80"],
        ["-c", "x = 1; print(x, sep=': ')"],
    ],
    ids=" ".join,
)
def test_what_is_no_secret_is_shown(argv: list[str]) -> None:
    assert masked(["train.py", *argv, "--lr", "0.1"]) == ["train.py", *argv, "--lr", "0.1"]


@pytest.mark.parametrize("text", ["-", "a", " ", "://a:b", "a= ", "a=key=, ", "-a ", 'key="', "[{"])
def test_long_arguments_take_bounded_time(text: str) -> None:
    begin = time.process_time()
    masked(["x " + text * (1 << 20)])
    assert time.process_time() - begin < 5
    assert len(masked(["x" * (1 << 20)])[0]) == 2 * MAX_COMMAND
