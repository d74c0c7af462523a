"""Load on servers with certificates: an authority of one's own, none checked, and what is told otherwise."""

import asyncio
import json
from collections.abc import Iterator
from pathlib import Path

import pytest
from certificates import secure_server, write_certificate

from sparsemill.errors import UserError
from sparsemill.serving import address
from sparsemill.serving.load import Burst, Target, send


@pytest.fixture
def certificate(tmp_path: Path) -> Path:
    return write_certificate(tmp_path)[0]


@pytest.fixture
def url(certificate: Path) -> Iterator[str]:
    with secure_server(certificate, certificate.with_name("key.pem")) as running:
        yield running


def test_a_certificate_is_trusted_by_name_or_not_checked_at_all(url: str, certificate: Path) -> None:
    target, burst = Target([url], [b"{}"]), Burst(clients=2, requests=4, seconds=10)
    for trusting in (target._replace(ca_file=str(certificate)), target._replace(verify=False)):
        assert len(asyncio.run(send(trusting, burst)).milliseconds) == 4
    with pytest.raises(UserError, match=f"^{url}: ClientConnectorCertificateError: .*certificate") as caught:
        asyncio.run(send(target, burst))
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("content", [None, b"no certificate"])
def test_a_file_without_certificates_is_named(tmp_path: Path, content: bytes | None) -> None:
    path = tmp_path / "authority.pem"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(UserError, match=f"^{path}: cannot be read as certificates") as caught:
        asyncio.run(send(Target(["https://127.0.0.1:9"], [b""], ca_file=str(path)), Burst(1, 1, 1)))
    assert "\n" not in str(caught.value)


def test_a_server_at_an_address_with_an_authority_of_its_own(
    tmp_path: Path, url: str, certificate: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "asked.jsonl").write_text("{}\n")
    asked = [part for name in ("nothing", "bm25") for part in ("--ask", name, url, str(tmp_path / "asked.jsonl"))]
    little = ["--clients", "1", "--requests", "2", "--rounds", "1", "--warmup", "1"]
    assert address.main([*asked, *little]) == 2
    assert "ClientConnectorCertificateError" in capsys.readouterr().err
    assert address.main([*asked, *little, "--ca-file", str(certificate)]) == 0
    assert json.loads(capsys.readouterr().out)["bm25:p50/bm25@1-clients"] == 1
