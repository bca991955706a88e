"""Functions compiled by numba once per machine, kept as object code, and loaded again without numba.

Loading numba and what it keeps of compiled functions takes some 0.5 s; a rehearsal of a hundred nodes is done before
that. llvmlite, which numba brings along, loads kept object code in a tenth of it. So what is compiled here takes whole
numbers and addresses only, allocates nothing and raises nothing: its code needs neither numba nor Python to run.
"""

from __future__ import annotations

import ctypes
import importlib
import importlib.util
import os
import re
import sys
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache, cached_property
from hashlib import sha256
from pathlib import Path
from typing import Any

OPTIONS: dict[str, Any] = {"nogil": True, "boundscheck": False, "error_model": "numpy"}
"""What compiled functions are compiled with. Division by zero gives what numpy gives: raising would need Python."""
_KINDS: dict[str, Any] = {"int64": ctypes.c_int64, "float64": ctypes.c_double}
_LIBRARY = re.compile(r"(memset|memcpy|memmove|sqrt|floor|log)$|llvm\.")
"""What compiled code may call: whatever every C library has."""
_OWNER = re.compile(r"^declare void @NRT_MemInfo_call_dtor\(ptr\).*$", re.MULTILINE)
"""Numba tells the owner of an array when nobody looks at it any more. Arrays by address have none."""
_DIGEST = sha256().digest_size
_loaded: dict[str, tuple[Any, Callable[..., Any]]] = {}


@cache
def installed() -> bool:
    """Whether numba is."""
    return importlib.util.find_spec("numba") is not None


@dataclass(frozen=True)
class Unit:
    """One function to compile: `entry` of `module`, which imports numba, with a signature as numba writes it.

    `sources` are all files whose contents decide what comes of it; when one of them changes it is compiled again.
    """

    module: str
    signature: str
    sources: tuple[Path, ...]

    @property
    def name(self) -> str:
        return self.module.rpartition(".")[2]

    def kept(self) -> bool:
        """Whether it is loaded, or compiled already for this machine."""
        return self.module in _loaded or (installed() and any(p.exists() for p in self._places))

    def load(self) -> Callable[..., Any]:
        """The function. Compiles it where that was not done before: half a minute for the larger ones."""
        found = _loaded.get(self.module)
        if found is None:
            code = next(filter(None, map(_read, self._places)), None) or self._compile()
            found = _loaded[self.module] = _link(code, _symbol(self.module), self.signature)
        return found[1]

    @cached_property
    def _places(self) -> list[Path]:
        """Where object code is looked for, and kept in the first of these that can be written to."""
        digest = sha256("\0".join((_machine(), self.module, self.signature)).encode())
        for path in (*self.sources, Path(__file__)):
            digest.update(path.read_bytes())
        file = f"{self.name}.{digest.hexdigest()[:20]}.o"
        home = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
        return [self.sources[0].parent / "__pycache__" / file, Path(home) / "baton" / file]

    def _compile(self) -> bytes:
        import numba

        module = importlib.import_module(self.module)
        made = numba.cfunc(self.signature, **OPTIONS)(module.entry)
        code = _object_code(made.inspect_llvm(), made.native_name, _symbol(self.module))
        for path in self._places:
            if _keep(path, code):
                for old in path.parent.glob(f"{self.name}.*.o"):
                    if old != path:
                        old.unlink(missing_ok=True)
                break
        return code


def jit(function: Callable[..., Any]) -> Any:
    """Compile a function that an entry calls; numba keeps nothing of it, the entry's object code holds it."""
    import numba

    return numba.njit(**OPTIONS)(function)


def _symbol(module: str) -> str:
    return module.replace(".", "_")


@cache
def _machine() -> str:
    """What object code depends on besides its sources."""
    import llvmlite
    import llvmlite.binding as llvm

    features = llvm.get_host_cpu_features().flatten()
    return "\0".join(
        (llvmlite.__version__, llvm.get_process_triple(), llvm.get_host_cpu_name(), features, sys.platform)
    )


@cache
def _target() -> Any:
    import llvmlite.binding as llvm

    llvm.initialize_native_target()
    llvm.initialize_native_asmprinter()
    return llvm.Target.from_triple(llvm.get_process_triple()).create_target_machine(
        cpu=llvm.get_host_cpu_name(),
        features=llvm.get_host_cpu_features().flatten(),
        opt=3,
        codemodel="jitdefault",
        jit=True,
    )


def _object_code(source: str, name: str, symbol: str) -> bytes:
    """Object code of LLVM's `source`, in which the function `name` becomes `symbol`.

    Raises RuntimeError where it would need numba or Python to run: something in it allocates or raises.
    """
    import llvmlite.binding as llvm

    source = source.replace(f"@{name}(", f"@{symbol}(")
    module = llvm.parse_assembly(
        _OWNER.sub(r"define internal void @NRT_MemInfo_call_dtor(ptr %0) { ret void }", source)
    )
    module.verify()
    for function in module.functions:
        if not function.is_declaration and function.name != symbol:
            function.linkage = "internal"
    passes = llvm.create_pass_builder(_target(), llvm.create_pipeline_tuning_options(speed_level=2))
    passes.getModulePassManager().run(module, passes)
    needed = [f.name for f in module.functions if f.is_declaration and not _LIBRARY.match(f.name)]
    if needed:
        raise RuntimeError(f"{symbol}: compiled code would call {', '.join(needed)}")
    return bytes(_target().emit_object(module))


def _link(code: bytes, symbol: str, signature: str) -> tuple[Any, Callable[..., Any]]:
    """(what must stay alive, the function)."""
    import llvmlite.binding as llvm

    engine = llvm.create_mcjit_compiler(llvm.parse_assembly(""), _target())
    engine.add_object_file(llvm.object_file.ObjectFileRef.from_data(code))
    engine.finalize_object()
    result, _, given = signature.rstrip(")").partition("(")
    prototype = ctypes.CFUNCTYPE(_KINDS[result], *(_KINDS[kind.strip()] for kind in given.split(",")))
    return engine, prototype(engine.get_function_address(symbol))


def _read(path: Path) -> bytes | None:
    """The code that was kept there; None where there is none, or not all of it: to run a part would end the process."""
    try:
        content = path.read_bytes()
    except OSError:
        return None
    digest, code = content[:_DIGEST], content[_DIGEST:]
    return code if sha256(code).digest() == digest else None


def _keep(path: Path, code: bytes) -> bool:
    """Write it whole or not at all; False where it cannot be written."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.NamedTemporaryFile(dir=path.parent, suffix=".part", delete=False) as part:
            part.write(sha256(code).digest() + code)
        os.replace(part.name, path)
    except OSError:
        return False
    return True
