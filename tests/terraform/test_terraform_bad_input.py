"""Files that cannot be read as they are: told by file, line and column, and never edited."""

from __future__ import annotations

from pathlib import Path

import pytest

from baton.errors import BatonError, ReadError
from baton.model.plan import Edit
from baton.terraform.edit import apply
from baton.terraform.inspect import inspect

CLUSTER = """resource "aws_eks_cluster" "main" {
  name     = "demo"
  version  = %s
  role_arn = "arn:aws:iam::123456789012:role/cluster"
  vpc_config {
    subnet_ids = []
  }
}
"""


def write(root: Path, **files: str | bytes) -> Path:
    for name, text in files.items():
        path = root / (name.replace("__", "/").replace("_tfvars", ".tfvars") + ("" if "tfvars" in name else ".tf"))
        path.write_bytes(text.encode() if isinstance(text, str) else text)
    return root


@pytest.mark.parametrize(
    ("text", "where", "words"),
    [
        ("x = 1 y = 2\n", "main.tf:1:7", "something else ends or begins on this line"),
        ("locals {\n  x = 1 }\n", "main.tf:2:9", "this } is on the line of an argument"),
        ("locals { x = 1\n}\n", "main.tf:1:10", "something else ends or begins on this line"),
        ("locals {}  module {}\n", "main.tf:1:12", "something else ends or begins on this line"),
        ("locals\n{\n}\n", "main.tf:1:1", "the { of this block is not on its line"),
        ("locals {\n  x =\n  1\n}\n", "main.tf:2:3", "the value does not begin on this line"),
        ("locals {\n  x = 1\n  x = 2\n}\n", "main.tf:3:3", "x is set twice"),
        ("locals {\n  x = [\n    1,\n    2\n    3,\n  ]\n}\n", "main.tf:5:5", "a comma is missing before this"),
        ('locals {\n  x = ["a" "b"]\n}\n', "main.tf:2:12", "a comma is missing before this"),
        ("locals {\n  x = merge({} local.y)\n}\n", "main.tf:2:16", "a comma is missing before this"),
        ('locals {\n  x = { a = 1 b = 2 }\n}\nmodule "a" {\n  source = "./${local.x.a}"\n}\n', "main.tf:2:15", "comma"),
    ],
)
def test_what_terraform_refuses_is_refused_where_it_is(text: str, where: str, words: str, tmp_path: Path) -> None:
    """A file that Terraform does not take would be edited as if it were fine, and the apply would fail afterwards."""
    root = write(tmp_path, main=text + CLUSTER % '"1.34"')
    with pytest.raises(ReadError) as caught:
        inspect(root)
    assert caught.value.where == where
    assert words in caught.value.message
    assert caught.value.message.splitlines()[-1].strip() == "^"


@pytest.mark.parametrize(
    "text",
    [
        "locals { x = 1 }\n",
        "locals {\n  x = { a = 1, b = 2 }\n  y = {\n    a = 1\n    b = 2, c = 3\n  }\n}\n",
        "locals {\n  x = [for a in [1, 2] : a if a > 1]\n  y = (\n    1 +\n    2\n  )\n}\n",
        'locals {\n  x = "a ${join(",", [\n    "b",\n  ])}"\n  y = <<-EOT\n    a\n  EOT\n  z = 1 // c\n}\n',
    ],
)
def test_what_terraform_takes_is_taken(text: str, tmp_path: Path) -> None:
    """A root that Terraform applies every day would be refused for its style."""
    root = write(tmp_path, main=text + CLUSTER % '"1.34"')
    assert inspect(root).clusters[0].version.value == "1.34"


def test_a_byte_order_mark_does_not_move_the_edits(tmp_path: Path) -> None:
    """A file from a Windows editor would be cut three bytes away from the value."""
    root = write(tmp_path, main=b"\xef\xbb\xbf" + (CLUSTER % '"1.34"').encode())
    span = inspect(root).clusters[0].version.span
    assert span is not None
    assert (root / "main.tf").read_bytes()[span.start : span.end] == b"1.34"


def test_a_huge_line_is_shown_around_its_fault(tmp_path: Path) -> None:
    """An error in a generated line of 200,000 characters would fill the terminal, or not show the place at all."""
    items = ", ".join(f'"{n}"' for n in range(30_000))
    root = write(tmp_path, main=f'locals {{\n  x = [{items} "last", {items}]\n}}\n')
    with pytest.raises(ReadError) as caught:
        inspect(root)
    shown, caret = caught.value.message.splitlines()[1:]
    assert len(shown) <= 130 and shown[len(caret) - 1 :].startswith('"last"')


def test_an_encrypted_variables_file_makes_its_variables_unknown(tmp_path: Path) -> None:
    """A default would be taken for the value although the encrypted file sets another one."""
    root = write(
        tmp_path,
        main='variable "k8s" {\n  default = "1.33"\n}\n' + CLUSTER % "var.k8s",
        terraform_tfvars=b"\x00GITCRYPT\x00\x12\x34\x00",
    )
    found = inspect(root)
    assert found.clusters[0].version.value is None
    assert "git-crypt unlock" in found.clusters[0].version.why
    assert [u.where for u in found.unresolved][:1] == ["terraform.tfvars"]


def test_a_circle_through_modules_ends(tmp_path: Path) -> None:
    """Two modules that call each other would hang the inspection."""
    for name, other in (("a", "b"), ("b", "a")):
        (tmp_path / name).mkdir()
        (tmp_path / name / "main.tf").write_text(f'module "{other}" {{\n  source = "../{other}"\n}}\n')
    root = write(
        tmp_path,
        main='module "a" {\n  source = "./a"\n}\n'
        + CLUSTER % "local.a"
        + "locals {\n  a = upper(local.b)\n  b = local.a\n}\n",
    )
    found = inspect(root)
    assert any("nest too deep" in u.why for u in found.unresolved)
    assert "refers to itself" in found.clusters[0].version.why


def test_no_file_changes_when_one_is_read_only(tmp_path: Path) -> None:
    """Half of a stage would be written before the file that cannot be."""
    root = write(tmp_path, a="a = 1\n", b="b = 1\n")
    (root / "b.tf").chmod(0o444)
    edits = [Edit(f"{n}.tf", 4, 5, "1", "2", 1, "test") for n in ("a", "b")]
    with pytest.raises(ReadError) as caught:
        apply(root, edits)
    assert str(caught.value.where).endswith("b.tf")
    assert (root / "a.tf").read_text() == "a = 1\n" and (root / "b.tf").read_text() == "b = 1\n"
    assert sorted(p.name for p in root.iterdir()) == ["a.tf", "b.tf"]


@pytest.mark.parametrize("data", [b"\x00\x01", b"\xff\xfe", b"x = \xe4\n"])
def test_bytes_that_are_no_text_are_refused_by_name(data: bytes, tmp_path: Path) -> None:
    """A traceback of the decoder would not say which of three hundred files it is."""
    with pytest.raises(BatonError) as caught:
        inspect(write(tmp_path, odd=data))
    assert str(caught.value.where).startswith("odd.tf")
