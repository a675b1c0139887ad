"""Credentials that are written into source code are known, and what only has such a name is not."""

from __future__ import annotations

import pytest

from rollout_local.redaction.literals import credentials_in

KEY = "Zr7WvT5xKp2Lm9odd"


@pytest.mark.parametrize(
    "source",
    [
        f"client = Client(api_key='{KEY}')",
        f"API_KEY = '{KEY}'",
        f"API_KEY: str = '{KEY}'",
        f"a = OPENAI_API_KEY = '{KEY}'",
        f"if (password := '{KEY}'): pass",
        f"self.secret = b'{KEY}'",
        f"SETTINGS = {{'model': 'x', 'password': '{KEY}'}}",
        f"os.environ['X_ACCESS_TOKEN'] = '{KEY}'",
        f"os.environ.setdefault('X_API_KEY', '{KEY}')",
        f"api_key = os.environ.get('X_API_KEY') or '{KEY}'",
        f"api_key = os.environ.get('X_API_KEY', '{KEY}')",
        f"api_key = '{KEY}' if live else None",
        f"api_key = SecretStr('{KEY}')",
        f"headers = {{'Authorization': 'Bearer {KEY}'}}",
        f"get(url, auth=('svc', '{KEY}'))",
        f"AUTH = {{'auth': ('svc', '{KEY}')}}",
        f"token = '{KEY}'",
        f"SETTINGS = {{'token': '{KEY}'}}",
        f"TOKEN = '{KEY}'",
        f"headers = [('Authorization', 'Bearer {KEY}')]",
        f"headers = {{'Authorization': 'Bearer ' + '{KEY}'}}",
        f"def ask(text, api_key='{KEY}'): pass",
        f"def ask(text, *, api_key='{KEY}'): pass",
        f"lambda password='{KEY}': password",
        f"---\nname: agent\napi_key: {KEY}\n---\nDo: it.",
        f'  "password": "{KEY}",\nnot python',
        f"export X_API_KEY={KEY}  # mine\nno python".replace("export ", ""),
    ],
)
def test_a_literal_under_the_name_of_a_credential_is_one(source: str) -> None:
    assert credentials_in(source) == {KEY}


HALVES = (f"{KEY}-first", f"second-{KEY[::-1]}")


@pytest.mark.parametrize(
    "source",
    [
        "api_key = '{0}' + '{1}'",
        "api_key = ('{0}'\n  '{1}')",
        "api_key = ('{0}'  # the first half\n  b'{1}'.decode())".replace("b'{1}'.decode()", "'{1}'"),
        "password = f'{0}{{tenant}}{1}'",
        "password = ''.join(['{0}', '{1}'])",
        "secret = (b'{0}'\n  b'{1}')",
        "def ask(text, api_key='{0}' '{1}'): pass",
        "text = ('sk-proj-{0}'\n  '{1}')",  # a key by its shape, whatever it is called
        "text = f'sk-proj-{0}{{x}}{1}'",
        "text = 'sk-' + '{0}' + '{1}'",
    ],
)
def test_a_credential_over_several_literals_is_known_by_its_pieces_too(source: str) -> None:
    found = credentials_in(source.format(*HALVES))
    assert {half.removeprefix("sk-proj-") for half in found} >= set(HALVES)


@pytest.mark.parametrize(
    "source",
    [
        f"keywords = '{KEY}'",
        f"tokenizer = '{KEY}'",
        "api_key = 'not-needed'",
        "api_key = os.environ['X_API_KEY']",
        "api_key = read('secrets/of/production.json')",
        "password = 'Ask the customer for nothing but the order number.'",
        f"api_key == '{KEY}'",
        f"f(api_key, '{KEY}')",
        "token_limit = 4096",
        "def ask(text, api_key=None): pass",
        "prompt = ('Answer the customer kindly and briefly. '\n  'Give the order number in each answer.')",
        f"name = '{KEY}' + '{KEY}'",
        "token = '<|endoftext|>'",
        "token = 'beginning_of_the_sentence'",
        f"names = ('svc', '{KEY}')",
    ],
)
def test_what_is_no_credential_is_left(source: str) -> None:
    assert credentials_in(source) == set()
