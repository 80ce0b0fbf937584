from __future__ import annotations

import time

import pytest

from runner.texts.redaction import is_secret_name, redact, secret_shape, secrets_of, shortened, without_credentials
from runner.texts.secret_shapes import TOKENS

NAMES = ["password", "db_password", "HF_TOKEN", "token", "api_key", "OPENAI_API_KEY", "clientSecret", "apiKey"]
NAMES += ["a.passwd", "db_pass", "smtpPass", "AccountKey", "sharedaccesskey", "Pwd", "CI_PAT", "SMTP_PASS", "DB_PWD"]
NAMES += [
    "HTTP_BASIC_AUTH",
    "NPM_AUTH_1",
    "AZURE_CONNECTION_STRING",
    "SLACK_WEBHOOK_URL",
    "SENTRY_DSN",
    "REDIS_CONNSTR",
]
JOINED = ["PGPASSWORD", "DBPASSWORD", "MYSECRET", "MYSQL_ROOTPASSWORD1", "MYPASSWD"]
OTHERS = ["key_dim", "num_heads", "max_tokens", "pad_token", "mask_token", "tokenizer", "keys", "units", "secretary"]
OTHERS += ["MAX_TOKENS", "PAD_TOKEN", "KEY_DIM", "OLDPWD", "PATH", "PWD", "SSH_AUTH_SOCK", "XAUTHORITY", "PASSES"]
OTHERS += [
    "forward_pass",
    "second_pass",
    "patience",
    "path",
    "author",
    "bypass",
    "pass",
    "compass",
    "PYTHONPATH",
    "key",
]


@pytest.mark.parametrize("name", NAMES + JOINED)
def test_a_secrets_name_is_known(name: str):
    assert is_secret_name(name)


@pytest.mark.parametrize("name", OTHERS)
def test_a_hyperparameters_name_is_no_secrets(name: str):
    assert not is_secret_name(name)


@pytest.mark.parametrize(
    ("uri", "shown"),
    [
        ("http://user:secret@127.0.0.1:9", "http://127.0.0.1:9"),
        ("https://token@host/path", "https://host/path"),
        ("http://user:p@ss@host", "http://host"),
        ("https://host:8080/a@b", "https://host:8080/a@b"),
        ("postgresql://me:a/b#c?d@host:5432/db", "postgresql://host:5432/db"),
        ("mysql+pymysql://host/db?ssl=1&password=secret", "mysql+pymysql://host/db?ssl=1&password=***"),
        ("sqlite:////tmp/a:b@c.db?timeout=3", "sqlite:////tmp/a:b@c.db?timeout=3"),
        ("sqlite:///mlflow.db", "sqlite:///mlflow.db"),
        ("databricks", "databricks"),
    ],
)
def test_an_address_loses_its_credentials_and_nothing_else(uri: str, shown: str):
    assert without_credentials(uri) == shown


def test_a_text_loses_credentials_and_the_environments_secrets():
    secrets = secrets_of(
        {"HF_TOKEN": "hf_abcdefgh", "API_KEY": "short", "SIGNING_KEY": "signing-key-1", "HOME": "/root"}
    )
    text = "python -m runner sweep 'tracking.uri=http://me:pw@host' a=hf_abcdefgh b=signing-key-1 c=short d=/root"
    shown = "python -m runner sweep 'tracking.uri=http://host' a=*** b=*** c=short d=/root"
    assert redact(text, secrets.values()) == shown


def test_a_file_that_holds_a_secret_is_not_one(tmp_path):
    environment = {"GOOGLE_CREDENTIALS": str(tmp_path), "AWS_SECRET_ACCESS_KEY": "/looks/like/a/path"}
    assert set(secrets_of(environment)) == {"AWS_SECRET_ACCESS_KEY"}


def test_of_two_secrets_that_begin_alike_the_longer_is_masked_whole():
    assert redact("12345678-more", secrets_of({"A_TOKEN": "12345678", "B_TOKEN": "12345678-more"}).values()) == "***"


def test_a_secret_in_a_variable_without_underscores_is_taken_out():
    secrets = secrets_of({"PGPASSWORD": "hunter22hunter", "MYSECRET": "s3cret-s3cret", "MAX_TOKENS": "100000000"})
    assert redact("hunter22hunter s3cret-s3cret 100000000", secrets.values()) == "*** *** 100000000"


@pytest.mark.parametrize("before", range(580, 601))
def test_a_text_that_was_cut_within_a_secret_shows_nothing_of_it_worth_having(before: int):
    secret = "hunter22-and-more"
    cut = shortened("x" * before + secret + "y" * 100)
    shown = redact(f"train: ValueError: {cut} (tried again)", [secret])
    assert "hunt" not in shown
    assert shown.endswith(" … (tried again)")


@pytest.mark.parametrize("before", range(560, 601))
def test_a_text_that_is_cut_within_an_address_shows_no_credentials(before: int):
    assert "hunter" not in shortened("x" * before + " postgresql://me:hunter22@host/db " + "y" * 600)


def test_a_short_text_is_not_cut():
    assert shortened("no such layer") == "no such layer"


# --- the form of a secret ---------------------------------------------------------------------------------------------

# Put together here, so that no scanner takes this file for a leak.
A, D, H, M = "abcdefghij" * 30, "0123456789" * 4, "0123456789abcdef" * 16, "Ab3dEf6hIj" * 30
PEM = (
    "-----BEGIN {0}PRIVATE KEY{1}-----{2}"
    + "MIIEpAIBAAKCAQEA" * 4
    + "{2}"
    + "c2VjcmV0" * 3
    + "=={2}-----END {0}PRIVATE KEY{1}-----"
)
SECRETS = {
    "AWS": "AKIA" + "IOSFODNN7EXAMPLE",
    "AWS, temporary": "ASIA" + "IOSFODNN7EXAMPLE",
    **{f"GitHub {kind}": f"gh{kind}_" + M[:36] for kind in "pousr"},
    "GitHub, fine-grained": "github_pat_" + M[:22] + "_" + M[:59],
    "GitLab": "glpat-" + M[:20],
    "Slack, bot": "xox" + "b-123456789012-123456789012-" + M[:24],
    "Slack, user": "xox" + "p-123456789012-123456789012-" + H[:32],
    "Google": "AIza" + "SyA-" + M[:31],
    "Google, OAuth": "ya29." + M[:60],
    "OpenAI, old": "sk-" + M[:20] + "T3BlbkFJ" + M[:20],
    "OpenAI, project": "sk-proj-" + M[:40] + "-_" + M[:40],
    "Anthropic": "sk-ant-" + "api03-" + M[:93] + "AA",
    "Hugging Face": "hf_" + A[:34],
    "Stripe": "sk_live_" + M[:24],
    "JWT": "eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxMjM0In0." + M[:43],
    "npm": "npm_" + M[:36],
    "PyPI": "pypi-" + "AgEIcHlwaS5vcmc" + M[:60],
    "Databricks": "dapi" + H[:32],
    "Databricks, cut": "dapi" + H[:32] + "-2",
    "W&B": "wandb_v1_" + M[:77],
    "Azure client": "abc8Q~" + M[:34],
    "Telegram": "123456789:AA" + M[:33],
    "SendGrid": "SG." + M[:22] + "." + M[:43],
    "Groq": "gsk_" + M[:52],
    "Replicate": "r8_" + M[:37],
    "Vault": "hvs." + M[:90],
    "DigitalOcean": "dop_v1_" + H[:64],
    "key": PEM.format("", "", "\n"),
    "RSA key": PEM.format("RSA ", "", "\n"),
    "OpenSSH key, in JSON": PEM.format("OPENSSH ", "", "\\n"),
    "PGP key, in one line": PEM.format("PGP ", " BLOCK", " "),
}  # fmt: skip


@pytest.mark.parametrize("kind", SECRETS)
@pytest.mark.parametrize(
    "around", ["{}", "key {}: refused", "a='{}'", '{{"k": "{}"}}', "f({}, 1)", "https://h/p?k={}&a=1", "\\n{}"]
)
def test_a_text_loses_what_has_the_form_of_a_secret(kind: str, around: str):
    secret = SECRETS[kind]
    shown = redact(around.format(secret))
    assert shown == around.format("***")
    assert secret_shape(around.format(secret))
    assert secret_shape(shown) is None


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("Server=h;User Id=me;Password=pw;Encrypt=yes", "Server=h;User Id=me;Password=***;Encrypt=yes"),
        ("Server=h;Uid=me;Pwd=a,b&c", "Server=h;Uid=me;Pwd=***"),
        (f"AccountName=n;AccountKey={M[:86]}==;EndpointSuffix=e", "AccountName=n;AccountKey=***;EndpointSuffix=e"),
        (f"Endpoint=sb://h/;SharedAccessKeyName=n;SharedAccessKey={M[:43]}=", "Endpoint=sb://h/;SharedAccessKeyName=n;SharedAccessKey=***"),
        ("host=h user=me password=pw dbname=d", "host=h user=me password=*** dbname=d"),
        (f"https://a.blob.core.windows.net/c?sv=1&sig={M[:40]}%3D&se=2", "https://a.blob.core.windows.net/c?sv=1&sig=***&se=2"),
        (f"s3?X-Amz-Expires=9&X-Amz-Signature={H[:64]}", "s3?X-Amz-Expires=9&X-Amz-Signature=***"),
        (f"https://hooks.slack.com/services/T00/B00/{M[:24]} failed", "https://hooks.slack.com/services/*** failed"),
        (f"https://discord.com/api/webhooks/123456/{M[:68]}", "https://discord.com/api/webhooks/***"),
        ("https://x.webhook.office.com/webhookb2/1b@2c/IncomingWebhook/3d/4e", "https://x.webhook.office.com/webhookb2/***"),
        (f"Authorization: Basic {M[:12]}", "Authorization: Basic ***"),
        (f"{{'Authorization': 'Bearer {M[:20]}'}}", "{'Authorization': 'Bearer ***'}"),
        (f"WANDB_API_KEY={D}", "WANDB_API_KEY=***"),
        (f"wandb.login(key='k', api_key='{H[:40]}')", "wandb.login(key='k', api_key='***')"),
        ("{'user': 'me', 'password': 'pw', 'port': 1}", "{'user': 'me', 'password': '***', 'port': 1}"),
        (f"args=token={M[:20]}", "args=token=***"),
        ('{"client_secret": "correct-horse-battery"}', '{"client_secret": "***"}'),
        ("token: 'correct-horse-battery'", "token: '***'"),
        ("f(api_key='correcthorsebattery', n=1)", "f(api_key='***', n=1)"),
        ("GITHUB_TOKEN=correcthorse python a.py", "GITHUB_TOKEN=*** python a.py"),
        ("export API_TOKEN=my_secret", "export API_TOKEN=***"),
        ("password: swordfish1", "password: ***"),
        ("amqp://me:pw@h/v, redis://:p@w@h", "amqp://h/v, redis://h"),
    ],
)  # fmt: skip
def test_a_named_value_is_masked_and_what_stands_around_it_is_not(text: str, shown: str):
    assert redact(text) == shown
    assert redact(shown) == shown


ORDINARY = [
    "token = tokenizer.encode(text)[0]", "if password == stored:", "def f(token: str = 'x', pad_token='<pad>'): ...",
    "token=hello", "secret: 2 validation errors", "password: wrong", "build_model(password=None)",
    "KeyError: 'password'", "token: the first of the sentence", "password: authentication failed",
    "Client(api_key=config.api_key, token=hf_token)", "secret: 'no such key in the store'",
    "Authorization: required", "Basic internationalization", "the bearer of this",
    "-----BEGIN PRIVATE KEY----- is missing",
    "risk-sk-learn-compatible-pipelines-of-several-steps", "sk-learn-compatible-estimators-with-pipelines",
    "dapi", "hf_hub_download_with_retries_and_backoff", "npm_config_registry", "xoxb-", "eyJ.eyJ", "AKIA", "SG.a.b",
    "/home/me/.cache/npm_/r8_models/hvs.d/file.py:12", "Key: 12345678", "key_dim=12345678", "max_tokens=100000000",
    "commit 0123456789abcdef0123456789abcdef01234567", "digits-20261123-031901-336e trial 003", "ratio 3://4",
    "a@b.org wrote to c@d.org: https://host:8080/path", "?page=2&sort=key", "accuracy=0.98 loss: 1.2e-05",
    "sha256:" + "0a" * 32, "123e4567-e89b-12d3-a456-426614174000", "12:30:45 AM", "10:AA", "git@github.com:me/repo.git",
]  # fmt: skip


@pytest.mark.parametrize("text", ORDINARY)
def test_an_ordinary_text_is_left_as_it_is(text: str):
    assert redact(text) == text
    assert secret_shape(text) is None


def test_the_password_in_an_address_of_the_environment_is_a_secret_of_it():
    secrets = secrets_of({"DATABASE_URL": "postgresql://me:hunter22hunter@h/d", "HOMEPAGE": "https://h:8080/a"})
    assert redact("login of hunter22hunter", secrets.values()) == "login of ***"
    assert set(secrets) == {"DATABASE_URL"}


def test_a_way_to_log_in_is_no_secret():
    assert not secrets_of({"PROXY_AUTH": "negotiate", "PWD": "/no/such/folder", "BASIC_AUTH": "disabled"})


def test_the_time_to_look_for_a_shape_grows_with_a_texts_length_alone():
    """A pattern that is tried at every place, and reads on from there to the end, would take ten seconds here."""
    for shape in TOKENS:
        for text in (part * (150_000 // len(part)) for marker in shape.markers for part in (marker, f"{marker}1-")):
            began_s = time.process_time()
            shape.pattern.sub("", text)
            assert time.process_time() - began_s < 2.0, text[:40]


@pytest.mark.parametrize(
    "part", ["://a:", "://@", "@://", "?a", "&a=", "password=", "a=", "a.", "token: ", "-----BEGIN "]
)
def test_the_time_to_mask_grows_with_a_texts_length_alone(part: str):
    began_s = time.process_time()
    redact(part * (300_000 // len(part)))
    assert time.process_time() - began_s < 5.0
