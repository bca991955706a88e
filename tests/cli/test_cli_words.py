"""What a stranger reads: mistakes on the command line, told with what, where and what next; help at any width."""

from __future__ import annotations

import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import httpx2
import pytest
from cli_lab import baton, shell

from baton.cli.main import build_parser
from baton.cli.parser import parsers
from baton.errors import ReadError
from baton.gateways.kube import KubeGateway

MISTAKES = [
    ((), 2, "baton: missing: COMMAND\n\nsee `baton --help`"),
    (("plan",), 2, "baton plan: missing: --to\n\nsee `baton plan --help`"),
    (("plna",), 2, "baton: there is no command plna; did you mean plan?"),
    (("dance",), 2, "baton: there is no command dance; there are demo, inspect, check, plan"),
    (
        ("plan", "--to", "1.35", "--nodes-evry-hop"),
        2,
        "hint: did you mean --nodes-every-hop?\n\nsee `baton plan --help`",
    ),
    (("check", "--to", "1.35", "extra"), 2, "baton check: there is no argument extra"),
    (("gate", "--stage", "1"), 2, "baton gate: missing: PLAN"),
    (("check",), 2, "baton: where to?\n\nhint: add --to VERSION, for example --to 1.35\n\nsee `baton check --help`"),
    (("plan", "--to", "newest"), 2, "baton: 'newest' is not a Kubernetes version\n\nhint: write it as MAJOR.MINOR"),
    (("check", "--explain", "BTN999"), 2, "hint: `baton check --explain all` lists them"),
    (("check", "--to", "1.35", "--waive", "XY1"), 2, "baton: there is no check XY1"),
    (
        ("plan", "--to", "1.35", "-C", "nowhere"),
        3,
        "baton: nowhere: there is no such directory\n\nhint: name the Terraform",
    ),
    (
        ("plan", "--to", "1.35", "--snapshot", "none.gz"),
        3,
        "baton: none.gz: there is no such file\n\nhint: check the path",
    ),
    (("inspect", "nowhere"), 3, "baton: nowhere: there is no such directory"),
    (("report", "none.json"), 3, "baton: none.json: cannot be read: No such file or directory\n\nhint: check the path"),
    (("gate", "none.json", "--stage", "1"), 2, "hint: add --plan FILE, or name a kind: --stage node-group"),
    (("explain-pod",), 2, "baton: which pod of which dump?\n\nhint: baton explain-pod NS/NAME --dump FILE"),
    (("snapshot",), 2, "baton: where to?\n\nhint: add -o FILE"),
]


@pytest.mark.parametrize(("words", "code", "text"), MISTAKES, ids=[" ".join(m[0]) or "nothing" for m in MISTAKES])
def test_a_mistake_is_told(
    capsys: pytest.CaptureFixture[str],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    words: tuple[str, ...],
    code: int,
    text: str,
) -> None:
    """A slip of the pen would end in a screenful of usage, in a traceback, or without a word on what to do."""
    monkeypatch.chdir(tmp_path)
    with shell({}):
        said = baton(capsys, *words)
    assert (said.code, said.out) == (code, "")
    assert text in said.err
    assert len(said.err.splitlines()) <= 6


@pytest.mark.parametrize(
    ("environment", "text"),
    [
        ({}, "no AWS region is set\n\nhint: pass --region or set AWS_REGION"),
        ({"AWS_REGION": "us-east-1"}, "eks:ListClusters: no AWS credentials were found\n\nhint: set AWS_PROFILE"),
        (
            {
                "AWS_REGION": "us-east-1",
                "AWS_ACCESS_KEY_ID": "x",
                "AWS_SECRET_ACCESS_KEY": "y",
                "AWS_ENDPOINT_URL": "http://127.0.0.1:9",
            },
            "AWS did not answer",
        ),
        ({"BATON_CLOCK": "http://127.0.0.1:9/clock"}, "the emulator's clock does not answer"),
        ({"AWS_REGION": "us-east-1", "AWS_PROFILE": "nobody"}, "The config profile (nobody) could not be found"),
    ],
)
@pytest.mark.parametrize("command", ["plan", "check"])
def test_aws_out_of_reach(
    capsys: pytest.CaptureFixture[str],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    command: str,
    environment: dict[str, str],
    text: str,
) -> None:
    """Without region, credentials or network a newcomer's first command would end in boto3's own traceback."""
    monkeypatch.chdir(tmp_path)
    quiet = {
        "AWS_EC2_METADATA_DISABLED": "true",
        "AWS_CONFIG_FILE": str(tmp_path / "config"),
        "AWS_SHARED_CREDENTIALS_FILE": str(tmp_path / "credentials"),
        "AWS_MAX_ATTEMPTS": "1",
    }
    with shell({**quiet, **environment}):
        said = baton(capsys, command, "--to", "1.35")
    assert said.code in (2, 3)
    assert text in said.err
    assert "hint: " in said.err
    assert "Traceback" not in said.err


@pytest.mark.parametrize("columns", [80, 120])
def test_help_keeps_to_the_width(monkeypatch: pytest.MonkeyPatch, columns: int) -> None:
    """Descriptions would break in mid-word on a narrow terminal. Examples may be wider: they are to be copied."""
    monkeypatch.setenv("COLUMNS", str(columns))
    for parser in parsers(build_parser()):
        text = parser.format_help()
        assert text.startswith("usage: baton")
        wide = [line for line in text.splitlines() if len(line) > columns and not line.startswith("  ")]
        assert wide == [], parser.prog


def test_every_check_is_listed(capsys: pytest.CaptureFixture[str]) -> None:
    """Codes could be found on the web page only."""
    said = baton(capsys, "check", "--explain", "all")
    assert said.code == 0
    assert len(said.out.splitlines()) > 60
    assert "BTN301  block   Custom AMI, EKS version and Kubernetes version fit together" in said.out


HALF = b'{"schema": 1, "cluster": "demo", "stag'


@pytest.mark.parametrize(
    ("words", "text"),
    [
        (("stage", "1", "--plan", "half.json"), "half.json: is not JSON: Unterminated string"),
        (("stage", "1", "--plan", "half.json"), "hint: make one with `baton plan -o FILE`"),
        (("gate", "half.json", "--stage", "node-group"), "hint: use the output of `terraform show -json FILE`"),
        (("gate", "list.json", "--stage", "node-group"), "list.json: this is not the JSON of a Terraform plan"),
        (("report", "half.json"), "hint: `baton apply` writes report.json; is the file whole?"),
        (("report", "list.json"), "list.json: is not a report of a run"),
        (("explain-pod", "shop/cart", "--dump", "half.json"), "half.json: it is not JSON: Unterminated string"),
        (("snapshot", "show", "half.json"), "half.json: it is not JSON"),
        (("inspect", "."), "broken.tf:1:"),
    ],
)
def test_half_a_file(
    capsys: pytest.CaptureFixture[str],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    words: tuple[str, ...],
    text: str,
) -> None:
    """A download that broke off, or the wrong file, would end in a traceback or in advice for another command."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "half.json").write_bytes(HALF)
    (tmp_path / "list.json").write_text("[]")
    (tmp_path / "broken.tf").write_text('module "eks" {')
    with shell({}):
        said = baton(capsys, *words)
    assert (said.code, said.out) == (3, "")
    assert text in said.err
    assert "hint: " in said.err


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("clusters: [\n", "while parsing a flow node"),
        ("[]", "it is not of a kubeconfig's shape"),
        ("", "it is not of a kubeconfig's shape"),
        ("clusters: 5\n", "it is not of a kubeconfig's shape"),
        ("current-context: x\nclusters:\n- name: c\n", "it is not of a kubeconfig's shape"),
        ("clusters: []\ncontexts: []\nusers: []\ncurrent-context: x\n", "Context 'x' not found"),
    ],
)
def test_a_broken_kubeconfig(tmp_path: Path, text: str, why: str) -> None:
    """Half a kubeconfig would end in the YAML reader's own traceback."""
    path = tmp_path / "config"
    path.write_text(text)
    with pytest.raises(ReadError) as caught:
        KubeGateway.from_kubeconfig(str(path))
    assert caught.value.where == str(path)
    assert f"the kubeconfig cannot be used: {why}" in caught.value.message
    assert "\n" not in caught.value.message
    assert "aws eks update-kubeconfig" in (caught.value.hint or "")


@pytest.mark.parametrize(
    ("command", "why"),
    [
        ("no-such-command", "no credentials: there is no command no-such-command"),
        ("false", "no credentials: Exec false returned 1"),
        ("echo", "no credentials: Expecting value"),
    ],
)
def test_an_exec_plugin_that_gives_no_token(tmp_path: Path, command: str, why: str) -> None:
    """Where the AWS CLI of the kubeconfig is not installed, a traceback would be all that one sees."""
    path = tmp_path / "config"
    user = f'exec: {{apiVersion: client.authentication.k8s.io/v1beta1, command: "{command}"}}'
    path.write_text(
        'clusters: [{name: c, cluster: {server: "https://127.0.0.1:9", insecure-skip-tls-verify: true}}]\n'
        "contexts: [{name: x, context: {cluster: c, user: u}}]\n"
        f"users: [{{name: u, user: {{{user}}}}}]\n"
        "current-context: x\n"
    )
    gateway = KubeGateway.from_kubeconfig(str(path))
    with pytest.raises(ReadError) as caught:
        gateway.list("nodes")
    gateway.close()
    assert caught.value.message.startswith(why)
    assert caught.value.hint


def test_a_proxy_that_answers_in_html() -> None:
    """A log-in page in place of the Kubernetes API would end in a JSON reader's traceback."""

    class Page(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200)
            self.end_headers()
            self.wfile.write(b"<html>please log in</html>")

        def log_message(self, *words: object) -> None: ...

    with ThreadingHTTPServer(("127.0.0.1", 0), Page) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        gateway = KubeGateway(httpx2.Client(base_url=f"http://127.0.0.1:{server.server_port}"), "Kubernetes API")
        with pytest.raises(ReadError, match="its answer is not JSON"):
            gateway.list("nodes")
        gateway.close()
        server.shutdown()
