"""Secrets never reach the disk: planted everywhere, found nowhere."""

from __future__ import annotations

import base64
import json
import urllib.parse

import httpx
import pytest

from rollout_local.recordings import open_recording, scan, show
from rollout_local.redaction import Redactor, environment_secrets, forms, is_plain, secret_patterns

SECRETS = {
    "bearer": "sk-proj-AbCdEf0123456789AbCdEf",
    "x_api_key": "sk-ant-api03-zzYYxx998877665544",
    "api_key_header": "0f1e2d3c4b5a69788796a5b4c3d2e1f0",
    "google_header": "AIzaSyA1234567890abcdefghijklmnopqrstuv",
    "cookie": "cf-bm-cookie-value-8f7a6b",
    "basic": "correct horse battery 9 staple",
    "query_key": "query-key-5d41402abc4b2a76",
    "query_token": "tok/with+odd=chars&9f86d081884c",
    "url_password": "p4ssw0rd-in-url-77",
    "environment": 'env "quoted" \\ secret/ü-1',
    "environment_2": "hexvalue0badc0ffee0ddf00d",
    "aws": "AKIAIOSFODNN7EXAMPLE",
    "aws_session": "FwoGZXIvYXdzEBYaDExampleSessionToken1234",
    "github": "ghp_abcdefghijklmnopqrstuvwxyz0123456789",
    "huggingface": "hf_abcdefghijklmnopqrstuvwxyzABCDEF",
    "slack": "xoxb-123456789012-abcdefGHIJKL",
    "jwt": "eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxMjM0NTY3ODkwIn0.dozjgNryP4J3jVmNHl0w5N",
    "private_key": "MIIEvQIBADANBgkqhkiG9w0BAQEFAASCBKcwggSjAgEAAoIBAQ",
    "json_field": "s3cr3t-of-a-client-4711",
    "organization": "org-a1b2c3d4e5f6g7h8",
    "set_cookie": "session-cookie-from-server-31337",
    "oauth_answer": "fresh-access-token-000111222",
}  # fmt: skip


def _variants(secret: str) -> set[bytes]:
    raw = secret.encode()
    return {raw, json.dumps(secret)[1:-1].encode(), urllib.parse.quote(secret, safe="").encode(), base64.b64encode(raw)}


def _plant(provider, monkeypatch) -> None:
    s = SECRETS
    monkeypatch.setenv("MY_SERVICE_KEY", s["environment"])
    monkeypatch.setenv("DB_PASSWORD", s["environment_2"])
    monkeypatch.setenv("TOKENIZERS_PARALLELISM", "false")
    # the server's own secrets are known by their place alone: a Set-Cookie header, a field named access_token
    seen = {name: secret for name, secret in s.items() if name not in ("set_cookie", "oauth_answer", "private_key")}
    known = {name: seen[name] for name in ("bearer", "query_key", "environment", "organization")}
    answer = json.dumps({
        "echo": seen,
        "text": json.dumps({"nested": seen}),
        "zip": base64.b64encode(json.dumps(known, ensure_ascii=False).encode()).decode(),
        "access_token": s["oauth_answer"],
    }).encode()  # fmt: skip
    headers = {"set-cookie": f"a={s['set_cookie']}", "x-request-id": f"id-{s['bearer']}", "x-internal": s["json_field"]}
    quiet = (200, headers, b"{}")
    provider.script["/v1/chat"] = [quiet, quiet, (200, headers, answer)]
    provider.script["/moved"] = [(302, {"location": f"/v1/chat?key={s['query_key']}"}, b"")]


def _send(provider) -> None:
    s = SECRETS
    host = provider.url.removeprefix("http://")
    headers = {
        "authorization": f"Bearer {s['bearer']}",
        "x-api-key": s["x_api_key"],
        "api-key": s["api_key_header"],
        "x-goog-api-key": s["google_header"],
        "cookie": f"__cf_bm={s['cookie']}; theme=dark",
        "openai-organization": s["organization"],
        "x-amz-security-token": s["aws_session"],
        "x-custom-secret-header": s["json_field"],
    }
    pem = f"-----BEGIN RSA PRIVATE KEY-----\n{s['private_key']}\n-----END RSA PRIVATE KEY-----"
    words = {
        k: v for k, v in s.items() if k not in ("private_key", "set_cookie", "oauth_answer", "basic", "json_field")
    }
    body = {
        "messages": [{"role": "user", "content": f"my keys: {json.dumps(words)} and {pem}"}],
        "client_secret": s["json_field"],
        "tool": json.dumps({"password": s["json_field"]}),
        "false": "false stays false",
        "blob": base64.b64encode(f"..{s['environment']}..{s['bearer']}".encode()).decode(),
    }
    token = urllib.parse.quote(s["query_token"], safe="")
    url = f"http://someone:{s['url_password']}@{host}"
    with httpx.Client(trust_env=False, headers=headers) as client:
        client.get(f"{url}/v1/chat", auth=("me", s["basic"]), params={"q": s["basic"]})
        client.post(f"{url}/v1/chat?key={s['query_key']}&token={token}&X-Amz-Signature=abc", json={})
        client.post(provider.url + "/v1/chat", json=body)
        client.get(provider.url + "/moved", follow_redirects=True)
        aws = f"AWS4-HMAC-SHA256 Credential={s['aws']}/20260101/us-east-1/bedrock/aws4_request, Signature=ff"
        client.post(provider.url + "/v1/chat", content=f"plain {s['aws']}", headers={"authorization": aws})


def test_22_planted_secrets_are_in_no_byte_of_the_recording(provider, path, monkeypatch):
    _plant(provider, monkeypatch)
    told = []
    with open_recording(path, sink=told.append):
        _send(provider)
    raw = path.read_bytes()
    for name, secret in SECRETS.items():
        for variant in _variants(secret):
            assert variant not in raw, (name, variant)
    assert scan([path]) == []
    assert b"false stays false" in raw
    everything = repr(told)
    assert not [name for name, secret in SECRETS.items() if secret in everything]


def test_a_seeded_leak_is_found(tmp_path):
    (tmp_path / "log.txt").write_text(f"one\ntwo {SECRETS['bearer']}\n")
    leaks = scan([tmp_path])
    assert [(leak.line, leak.shown) for leak in leaks] == [(2, "sk-pro…")]


def test_a_replay_with_another_key_finds_what_was_recorded(provider, path, monkeypatch):
    _plant(provider, monkeypatch)
    url = provider.url + "/v1/chat"
    with open_recording(path):
        key = SECRETS["bearer"]
        first = httpx.post(url, json={"q": f"I am {key}"}, headers={"authorization": f"Bearer {key}"}, trust_env=False)
    with open_recording(path, "none", strict=True):
        key = "another-key-987654321"
        again = httpx.post(url, json={"q": f"I am {key}"}, headers={"authorization": f"Bearer {key}"}, trust_env=False)
    assert again.status_code == first.status_code


@pytest.mark.parametrize(
    "value", ["", "short", "false", "password", "not-needed", "SIMULATED", "Placeholder", "1234567890", "2026-01-01"]
)
def test_these_are_no_secrets(value):
    assert is_plain(value)


@pytest.mark.parametrize(
    "value", ["abcdefgh1", "correcthorsebatterystaple", "not-needed-9", "aB3$efgh", "sk-dummy-key-1"]
)
def test_these_are_secrets(value):
    assert not is_plain(value)


def test_only_secret_names_with_secret_values_are_taken_from_the_environment():
    environ = {
        "OPENAI_API_KEY": "sk-1234567890",
        "HOME": "/home/somebody-long",
        "TOKENIZERS_PARALLELISM": "false",
        "SSL_KEY_FILE": "/etc/ssl/private/key.pem",
        "TOKEN_URL": "https://login.example.com/token",
        "CREDENTIALS_URL": "https://me:pass@example.com",
        "MAX_TOKENS": "100000000",
        "SECRET": "short",
        "DB_PASSWORD": " padded-secret-1 ",
    }
    assert environment_secrets(environ) == ["sk-1234567890", "https://me:pass@example.com", "padded-secret-1"]


@pytest.mark.parametrize("before", ["", "x", "xy", "xyz"])
@pytest.mark.parametrize("secret", ["plain-secret-123", "ünï-çødé-secret", 'quo"te\\back/slash\n9'])
def test_base64_of_a_text_that_holds_a_secret_does_not_hold_it(before, secret):
    redactor = Redactor({"A_KEY": secret})
    for encode in (base64.b64encode, base64.urlsafe_b64encode):
        code = encode(f"{before}{secret} and more".encode())
        clean = redactor.clean(code)
        assert clean != code
        assert b"[redacted]" in clean


def test_the_forms_of_a_secret_are_long_enough_not_to_hit_by_chance():
    assert all(len(form) >= 8 for form in forms("12345678"))


def test_clean_data_comes_back_as_the_same_object():
    data = b"nothing to see, not even a sk- or AKIA or a key"
    assert Redactor({"A_KEY": "some-secret-value"}).body(data) is data


def test_urls_lose_what_is_secret_and_keep_what_is_not():
    url = Redactor({}).url
    assert url("http://h/p?a=1&b=2#f") == "http://h/p?a=1&b=2#f"
    assert url("http://h/p?a=1&api_key=xyz") == "http://h/p?a=1&api_key=REDACTED"
    assert url("http://me:secret-pass-1@h:81/p") == "http://h:81/p"
    assert url("http://me@h/p") == "http://h/p"


def test_credentials_are_learned_from_headers_in_every_scheme():
    redactor = Redactor({})
    pair = base64.b64encode(b"user:basic-password-1").decode()
    kept = redactor.watch([
        ("Authorization", f"Basic {pair}"),
        ("Proxy-Authorization", "Basic not*base64!"),
        ("X-API-Key", "raw-key-without-scheme-1"),
        ("Api-Key", "simulated"),
        ("Content-Type", "application/json"),
        ("User-Agent", "x"),
    ])  # fmt: skip
    assert kept == (("content-type", "application/json"),)
    assert redactor.text(f"{pair} basic-password-1 raw-key-without-scheme-1") == "[redacted] [redacted] [redacted]"
    assert redactor.text("a simulated answer") == "a simulated answer"


def test_overlapping_shapes_are_taken_out_once():
    text = b"bearer eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxMjM0NTY3ODkwIn0.dozjgNryP4J3jVmNHl0w5N end"
    assert secret_patterns.remove(text, b"#").count(b"#") == 1


def test_a_foreign_cassette_is_redacted_on_the_way_in(tmp_path, path, provider):
    import vcr

    url = provider.url + "/v1/chat?key=query-secret-123456"
    headers = {"authorization": "Bearer header-secret-123456"}
    source = tmp_path / "foreign.yaml"
    with vcr.use_cassette(str(source)):
        httpx.post(url, json={"said": "header-secret-123456"}, headers=headers, trust_env=False)
    assert b"header-secret" in source.read_bytes()
    source.rename(path)
    with open_recording(path):
        pass
    assert b"secret-123456" not in path.read_bytes()
    assert len(show(path).interactions) == 1
