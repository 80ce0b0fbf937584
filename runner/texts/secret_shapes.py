"""Patterns of secrets that are recognised by their form alone, taken from the rules of public scanners.

A pattern is searched for only if one of its markers is in the text. Plain searches find the markers, so that megabytes
of text take milliseconds. No match of a pattern can start within what another match reads, and the parts of a
pattern are bounded or possessive, so that its time is linear in the length of the text.

Source: https://github.com/gitleaks/gitleaks, `config/gitleaks.toml`, and the services' own documentation.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field

_ALNUM = "[A-Za-z0-9]"
_WORD = "[A-Za-z0-9_-]"
_ALONE = r"(?:(?<![A-Za-z0-9_-])|(?<=\\[nrt]))"  # a token starts here, not within a longer word
_WITH_DIGIT = r"(?=[A-Za-z_-]{0,200}\d)"  # words have no digits, tokens do


@dataclass(frozen=True, kw_only=True, slots=True)
class Shape:
    """One kind of secret.

    Args:
        what: its name in an error.
        markers: each secret of the kind has one of these texts.
        pattern: matches the whole secret; if it has a group `secret`, only the group is masked.
    """

    what: str
    markers: tuple[str, ...]
    pattern: re.Pattern[str] = field(repr=False)

    def is_possible(self, text: str) -> bool:
        """False if the text cannot have a secret of this kind."""
        return any(marker in text for marker in self.markers)


def _token(what: str, begins: str | tuple[str, ...], rest: str) -> Shape:
    """The shape of a token that begins with one of these texts; `rest` is the pattern of what follows."""
    markers = (begins,) if isinstance(begins, str) else begins
    alternatives = "|".join(re.escape(marker) for marker in markers)
    return Shape(what=what, markers=markers, pattern=re.compile(f"{_ALONE}(?:{alternatives}){rest}"))


def _webhook(what: str, marker: str, before: str, secret: str) -> Shape:
    return Shape(what=what, markers=(marker,), pattern=re.compile(f"{before}(?P<secret>{secret})"))


_BREAK = r"(?:\s|\\[rn]){1,8}+"
_PRIVATE_KEY = re.compile(
    r"-----BEGIN [A-Z0-9 ]{0,30}PRIVATE KEY(?: BLOCK)?-----"
    r"(?:[^-]{0,20000}+(?:-(?!----)[^-]{0,20000}+){0,20}+-----END [A-Z0-9 ]{0,30}PRIVATE KEY(?: BLOCK)?-----"
    rf"|(?:{_BREAK}[A-Za-z0-9+/=]{{40,}}+)++(?:{_BREAK}[A-Za-z0-9+/=]{{1,39}}+(?![\w ]))?)"  # cut within the key
)

TOKENS = (
    _token("an AWS access key", ("AKIA", "ASIA", "ABIA", "ACCA"), r"[A-Z2-7]{16}(?![A-Za-z0-9_-])"),
    _token("a GitHub token", ("ghp_", "gho_", "ghu_", "ghs_", "ghr_"), f"{_ALNUM}{{36,}}+"),
    _token("a GitHub token", "github_pat_", r"\w{22,}+"),
    _token("a GitLab token", ("glpat-", "gldt-", "glrt-", "glcbt-", "glptt-", "glsoat-"), f"{_WORD}{{20,}}+"),
    _token("a Slack token", ("xoxa-", "xoxb-", "xoxe-", "xoxo-", "xoxp-", "xoxr-", "xoxs-", "xapp-"),
           rf"{_WITH_DIGIT}{_WORD}{{10,}}+"),
    _token("a Google API key", "AIza", f"{_WORD}{{35}}(?!{_WORD})"),
    _token("a Google token", "ya29.", r"[A-Za-z0-9_.-]{20,}+"),
    _token("a Google client secret", "GOCSPX-", f"{_WORD}{{28}}"),
    _token("an API key", ("sk-proj-", "sk-svcacct-", "sk-admin-", "sk-ant-", "sk-or-"),
           rf"{_WITH_DIGIT}{_WORD}{{32,}}+"),
    _token("an API key", "sk-", rf"(?=[A-Za-z]{{0,100}}\d){_ALNUM}{{32,128}}+(?!{_WORD})"),
    _token("a Hugging Face token", ("hf_", "api_org_"), f"{_ALNUM}{{30,60}}+(?![A-Za-z0-9_])"),
    _token("a Stripe key", ("sk_live_", "sk_test_", "sk_prod_", "rk_live_", "rk_test_", "rk_prod_"),
           rf"(?=[A-Za-z]{{0,100}}\d){_ALNUM}{{16,}}+"),
    _token("a webhook's secret", "whsec_", r"(?=[A-Za-z+/]{0,100}\d)[A-Za-z0-9+/=]{24,100}+"),
    _token("a JSON web token", "eyJ", f"{_WORD}{{10,}}+\\.eyJ{_WORD}{{8,}}+(?:\\.{_WORD}{{0,}}+)?"),
    _token("a Neptune token", "eyJhcGlfYWRkcmVzcyI6", r"[A-Za-z0-9+/=_-]{20,}+"),
    _token("an npm token", "npm_", f"{_ALNUM}{{36}}(?![A-Za-z0-9_])"),
    _token("a PyPI token", "pypi-AgEI", f"{_WORD}{{50,}}+"),
    _token("a Databricks token", "dapi", r"[a-f0-9]{32}(?![A-Za-z0-9_])(?:-\d)?"),
    _token("a W&B key", "wandb_v1_", r"\w{40,}+"),
    _token("a LangSmith key", ("lsv2_pt_", "lsv2_sk_"), r"[a-f0-9]{32}_[a-f0-9]{10}"),
    _token("a Groq key", "gsk_", f"{_ALNUM}{{48,64}}+"),
    _token("a Replicate token", "r8_", f"{_ALNUM}{{37}}(?![A-Za-z0-9_])"),
    _token("an NVIDIA key", "nvapi-", f"{_WORD}{{60,80}}+"),
    _token("a Kaggle token", "KGAT_", r"[a-f0-9]{32}"),
    _token("a Docker token", ("dckr_pat_", "dckr_oat_"), f"{_WORD}{{27,64}}+"),
    _token("a Vault token", ("hvs.", "hvb.", "hvr."), f"{_WITH_DIGIT}{_WORD}{{24,}}+"),
    _token("a DigitalOcean token", ("dop_v1_", "doo_v1_", "dor_v1_"), "[a-f0-9]{64}"),
    _token("a Grafana token", "glsa_", r"[A-Za-z0-9]{32}_[A-Fa-f0-9]{8}"),
    _token("a Sentry token", "sntryu_", "[a-f0-9]{64}"),
    _token("an Atlassian token", "ATATT3", "[A-Za-z0-9_=-]{40,}+"),
    _token("a SendGrid key", "SG.", rf"{_WORD}{{22}}\.{_WORD}{{43}}"),
    _token("an age key", "AGE-SECRET-KEY-1", "[A-Z0-9]{58}"),
    Shape(what="an Azure client secret", markers=("Q~",),
          pattern=re.compile(r"(?:(?<![A-Za-z0-9_~.-])|(?<=\\[nrt]))[A-Za-z0-9_~.]{3}\dQ~[A-Za-z0-9_~.-]{31,34}(?![A-Za-z0-9_~.-])")),
    Shape(what="a Telegram bot's token", markers=(":AA",),
          pattern=re.compile(rf"(?:(?<![0-9A-Za-z])|(?<=\\[nrt]))(?:bot)?(?P<secret>\d{{8,10}}:AA{_WORD}{{33}})(?!{_WORD})")),
    Shape(what="a private key", markers=("PRIVATE KEY",), pattern=_PRIVATE_KEY),
    Shape(what="a bearer token", markers=("earer ", "EARER "),
          pattern=re.compile(r"(?<!\w)(?i:bearer) {1,4}(?P<secret>(?=[A-Za-z._~+/-]{0,200}\d)[\w.~+/=-]{16,}+)")),
    Shape(what="an authorization header", markers=("uthorization", "UTHORIZATION"),
          pattern=re.compile(r"(?i:authorization)['\"]?\s{0,3}[:=]\s{0,3}['\"]?(?i:basic|bearer|token|apikey) {1,4}"
                             r"(?P<secret>(?=[a-z._~+/-]{0,200}[A-Z0-9=])[\w.~+/=-]{8,}+)")),
    _webhook("a Slack webhook", "hooks.slack.com/", r"hooks\.slack\.com/(?:services|workflows|triggers)/",
             r"[\w/+-]{8,}+"),
    _webhook("a Discord webhook", "/webhooks/", r"discord(?:app)?\.com/api(?:/v\d{1,2})?/webhooks/", r"[\w/-]{8,}+"),
    _webhook("a Teams webhook", "/webhookb2/", r"\.office\.com/webhookb2/", r"[\w@/-]{8,}+"),
    _webhook("a Teams webhook", "outlook.office.com/webhook/", r"outlook\.office\.com/webhook/", r"[\w@/-]{8,}+"),
    _webhook("a Zapier webhook", "hooks.zapier.com/", r"hooks\.zapier\.com/hooks/catch/", r"[\w/-]{5,100}+"),
    _webhook("an IFTTT webhook", "maker.ifttt.com/", r"/with/key/", f"{_WORD}{{10,100}}+"),
)  # fmt: skip
"""All shapes; `redaction` finds credentials in addresses and values after a secret's name itself."""
