"""The Terraform engine: edit in place, plan to a file, judge the plan, apply exactly that file.

Sources of the behaviour: `terraform plan -detailed-exitcode` (0 nothing, 1 error, 2 changes), `terraform show -json`
(format version 1.x), and shared measurements of what the provider does (update calls are followed by polling).
"""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

from baton.conductor.engines import Progress, StageRun
from baton.errors import BatonError, HaltedError, ReadError, RefusedError, UsageError
from baton.model.plan import Plan, Stage

WORK = ".baton"


class Staging(Protocol):
    """What the engine must be told of a stage; conductor.staging answers from the Terraform room."""

    def before(self, plan: Plan, stage: Stage) -> Mapping[str, str]:
        """Digests of the files that the stage's edits will change; {} when they stand already, or do not fit."""
        ...

    def edit(self, plan: Plan, stage: Stage, before: Mapping[str, str]) -> Callable[[], None]:
        """Write the stage's edits into the root, all or none; returns how to undo them.

        Edits that stand already are undone as well when an earlier run made them, on files that were as `before` says.
        """
        ...

    def judge(self, plan: Plan, stage: Stage, plan_json: Mapping[str, Any], plan_file: Path) -> Sequence[str]:
        """The reasons to refuse this Terraform plan; empty when every change in it was expected."""
        ...


@dataclass(frozen=True, slots=True)
class Terraform:
    """The Terraform (or OpenTofu) command in one root. `environment` is added to the process's own."""

    root: Path
    program: str = "terraform"
    environment: Mapping[str, str] = field(default_factory=dict)
    var_files: tuple[str, ...] = ()

    @property
    def name(self) -> str:
        """`terraform` or `tofu`, for messages."""
        return Path(self.program).name

    def available(self) -> bool:
        return shutil.which(self.program) is not None

    def env(self) -> dict[str, str]:
        own = {"TF_IN_AUTOMATION": "1", "TF_INPUT": "0", "CHECKPOINT_DISABLE": "1"}
        return {**os.environ, **own, **self.environment}

    def command(self, *args: str) -> list[str]:
        return [self.program, f"-chdir={self.root}", *args]

    def need(self) -> None:
        """Raises UsageError when the program is not there."""
        if not self.available():
            raise UsageError(
                f"{self.program} is not installed",
                hint="install Terraform (or OpenTofu, --terraform tofu), or use --engine aws",
            )

    def run(self, *args: str, ok: Sequence[int] = (0,)) -> subprocess.CompletedProcess[str]:
        """Run to the end. Raises ReadError with Terraform's own words when the exit code is not in `ok`."""
        self.need()
        done = subprocess.run(self.command(*args), env=self.env(), capture_output=True, text=True, check=False)
        if done.returncode not in ok:
            raise ReadError(
                f"{self.program} {args[0]} failed:\n{clean(done.stderr or done.stdout)}",
                where=str(self.root),
                hint=_hint(done.stderr + done.stdout),
            )
        return done

    def init(self) -> None:
        self.run("init", "-input=false", "-no-color")

    def apply_all(self) -> None:
        """Plan and apply without a gate: only for a root that Baton itself wrote (the demo)."""
        self.run("apply", "-input=false", "-no-color", "-auto-approve")

    def vars(self) -> list[str]:
        return [f"-var-file={name}" for name in self.var_files]

    def _plan_words(self, out: Path, targets: Sequence[str]) -> list[str]:
        """The arguments of a plan into `out`, a path as the root sees it."""
        args = ["plan", "-input=false", "-no-color", "-detailed-exitcode", "-lock-timeout=120s"]
        return [*args, f"-out={out.absolute()}", *self.vars(), *(f"-target={t}" for t in targets)]

    def plan(self, out: Path, targets: Sequence[str] = ()) -> bool:
        """Write a plan file; True when it holds changes."""
        return self.run(*self._plan_words(out, targets), ok=(0, 2)).returncode == 2

    def start_plan(self, out: Path, log: Path, targets: Sequence[str] = ()) -> Planning:
        """Start `terraform plan -out`, to be polled."""
        self.need()
        command = self.command(*self._plan_words(out, targets))
        with log.open("wb") as to:
            child = subprocess.Popen(
                command, env=self.env(), stdin=subprocess.DEVNULL, stdout=to, stderr=subprocess.STDOUT
            )
        return Planning(child, out, log, str(self.root), self.name)

    def show(self, plan_file: Path) -> dict[str, Any]:
        found: dict[str, Any] = json.loads(self.run("show", "-json", str(plan_file)).stdout)
        return found


def clean(text: str) -> str:
    """Terraform's message without its box drawing, at most 40 lines."""
    lines = [line.strip("╷│╵ ").rstrip() for line in text.splitlines()]
    kept = [line for line in lines if line]
    return "\n".join(kept[-40:])


def _hint(text: str) -> str:
    if "state lock" in text or "Error acquiring the state lock" in text:
        return "another Terraform holds the state lock; wait for it, or see `terraform force-unlock`"
    if "Inconsistent dependency lock file" in text or "terraform init" in text:
        return "run `init` in that directory first"
    if "No valid credential" in text or "ExpiredToken" in text:
        return "set AWS credentials for this shell (AWS_PROFILE, AWS_ACCESS_KEY_ID ...) and try again"
    return "run the same command by hand in that directory to see it all"


class TerraformEngine:
    """Conducts stages through Terraform. See `begin`."""

    name = "terraform"

    def __init__(self, terraform: Terraform, staging: Staging, *, targets_allowed: bool = False) -> None:
        self._terraform = terraform
        self._staging = staging
        self._targets_allowed = targets_allowed
        self._work = terraform.root / WORK
        self.program = terraform.name

    def intent(self, plan: Plan, stage: Stage) -> Mapping[str, Any]:
        return {
            "root": str(self._terraform.root),
            "targets": list(stage.targets),
            "before": dict(self._staging.before(plan, stage)),
        }

    def begin(self, plan: Plan, stage: Stage, intent: Mapping[str, Any]) -> StageRun:
        """Edit and start to plan; the run that is given back then judges the plan and applies exactly that.

        Its `poll` raises RefusedError, with the edits taken back, when the plan holds anything the stage does not
        expect. An apply that an earlier run of Baton left behind is waited for first: two never run at once.
        """
        left = self._left_running()
        if left is not None:
            return _Attached(self, plan, stage, intent, left)
        if stage.targets and not self._targets_allowed:
            raise RefusedError(
                f"stage {stage.ordinal} can only be parted from the next by -target",
                where=", ".join(stage.targets),
                hint="pass --allow-target to accept that, on record; or pin the add-on versions in the Terraform",
            )
        self._work.mkdir(exist_ok=True)
        return _Staged(self, plan, stage, intent.get("before", {}))

    def judged(self, plan: Plan, stage: Stage, plan_file: Path) -> None:
        """Raises RefusedError when the plan file holds anything that the stage does not expect."""
        reasons = self._staging.judge(plan, stage, self._terraform.show(plan_file.absolute()), plan_file)
        if reasons:
            raise RefusedError(
                f"the Terraform plan of stage {stage.ordinal} ({stage.name}) was refused; nothing was changed:\n  "
                + "\n  ".join(reasons),
                where=str(self._terraform.root),
                hint="mend the configuration or the drift named above, then run again",
            )

    def edit(self, plan: Plan, stage: Stage, before: Mapping[str, str]) -> Callable[[], None]:
        """Make the stage's edits; returns how to take them back: not any more once an apply of them was started."""
        undo = self._staging.edit(plan, stage, before)
        if not self._applied(stage).exists() or self._applied(stage).read_text() != _mark(plan):
            return undo
        return lambda: None

    def start_plan(self, stage: Stage) -> Planning:
        """Start `terraform plan` into the stage's plan file."""
        plan_file = self._work / f"stage-{stage.ordinal}.tfplan"
        return self._terraform.start_plan(plan_file, self._work / f"stage-{stage.ordinal}.plan.log", stage.targets)

    def start_apply(self, plan: Plan, stage: Stage, plan_file: Path) -> StageRun:
        """Start `terraform apply` of exactly this plan file, and note its process for a later run of Baton."""
        self._applied(stage).write_text(_mark(plan))
        log = self._work / f"stage-{stage.ordinal}.log"
        with log.open("wb") as out:
            # A session of its own: Ctrl-C stops Baton, not an apply half-way through its writes to the state.
            child = subprocess.Popen(
                self._terraform.command("apply", "-input=false", "-no-color", str(plan_file.absolute())),
                env=self._terraform.env(),
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        self._pid_file.write_text(json.dumps({"pid": child.pid, "started": _started(child.pid)}))
        return _Apply(child, log, plan_file, self._pid_file, self.program)

    def _applied(self, stage: Stage) -> Path:
        return self._work / f"stage-{stage.ordinal}.applied"

    @property
    def _pid_file(self) -> Path:
        return self._work / "apply.pid"

    def _left_running(self) -> int | None:
        try:
            noted = json.loads(self._pid_file.read_text())
        except (OSError, ValueError):
            return None
        pid = int(noted["pid"])
        return pid if noted["started"] is not None and _started(pid) == noted["started"] else None

    def final_check(self, plan: Plan) -> str:
        """`no-changes`, or a line per resource that a plan would still change."""
        self._work.mkdir(exist_ok=True)
        out = self._work / "final.tfplan"
        try:
            if not self._terraform.plan(out):
                return "no-changes"
            shown = self._terraform.show(out.absolute())
        finally:
            out.unlink(missing_ok=True)
        return "changes: " + ", ".join(
            f"{change['address']} ({'/'.join(change['change']['actions'])})"
            for change in shown.get("resource_changes", [])
            if change["change"]["actions"] not in (["no-op"], ["read"])
        )


def _mark(plan: Plan) -> str:
    return f"{plan.cluster} {plan.facts_digest} {plan.made_at}\n"


def _started(pid: int) -> str | None:
    """The process's start time, as the kernel counts it: tells a recycled pid from ours. None when it is gone."""
    try:
        stat = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        if Path("/proc/self").exists():
            return None
        return _alive_elsewhere(pid)
    return None if stat[0] == "Z" else stat[19]


def _alive_elsewhere(pid: int) -> str | None:
    """Systems without /proc: only whether it lives can be told."""
    try:
        os.kill(pid, 0)
    except OSError:
        return None
    return "alive"


@dataclass
class Planning:
    """A `terraform plan` under way. `changes()` is None while it runs, then whether the plan holds changes."""

    child: subprocess.Popen[bytes]
    out: Path
    log: Path
    where: str
    program: str = "terraform"

    def changes(self) -> bool | None:
        """Raises ReadError with Terraform's own words when the plan failed."""
        code = self.child.poll()
        if code is None:
            return None
        if code not in (0, 2):
            text = self.log.read_text(errors="replace")
            shown = clean(text[text.find("Error:") :] if "Error:" in text else text)
            raise ReadError(f"{self.program} plan failed:\n{shown}", where=self.where, hint=_hint(text))
        return code == 2

    def stop(self) -> None:
        """End it: a plan changes nothing, and lets go of the state lock when asked."""
        if self.child.poll() is None:
            self.child.send_signal(signal.SIGINT)
            try:
                self.child.wait(timeout=30)
            except subprocess.TimeoutExpired:
                self.child.kill()
                self.child.wait()


class _Staged:
    """One stage: the edits stand, the plan is made, judged, and then applied."""

    def __init__(self, engine: TerraformEngine, plan: Plan, stage: Stage, before: Mapping[str, str]) -> None:
        self._engine = engine
        self._plan, self._stage = plan, stage
        self._undo = engine.edit(plan, stage, before)
        self._applying: StageRun | None = None
        try:
            self._planning = engine.start_plan(stage)
        except BatonError as error:
            self._take_back(error)
            raise

    def _take_back(self, error: BatonError) -> None:
        """Take the edits back; when that cannot be done the error says so."""
        try:
            self._undo()
        except BatonError as kept:
            error.message += f"\nthe edits of the stage are left in place: {kept.where}: {kept.message}"

    def poll(self) -> Progress:
        """Raises RefusedError or ReadError, with the edits taken back, before anything has been changed."""
        if self._applying is not None:
            return self._applying.poll()
        try:
            changes = self._planning.changes()
            if changes is None:
                return Progress("running", f"{self._engine.program} plan")
            if changes:
                self._engine.judged(self._plan, self._stage, self._planning.out)
        except BatonError as error:
            self._take_back(error)
            self._planning.out.unlink(missing_ok=True)
            raise
        if not changes:
            return Progress("succeeded", f"{self._engine.program} reports no changes")
        self._applying = self._engine.start_apply(self._plan, self._stage, self._planning.out)
        return Progress("running", f"{self._engine.program} apply (the gate allowed the plan)")

    def stop(self) -> None:
        """An apply is left running (see _Apply); a plan is ended and its edits stay for the next run to find."""
        if self._applying is not None:
            self._applying.stop()
        else:
            self._planning.stop()


class _Apply:
    """A `terraform apply` of one plan file, as a child process."""

    def __init__(
        self, child: subprocess.Popen[bytes], log: Path, plan_file: Path, pid_file: Path, program: str
    ) -> None:
        self._program = program
        self._child = child
        self._log = log
        self._plan_file = plan_file
        self._pid_file = pid_file

    def poll(self) -> Progress:
        code = self._child.poll()
        if code is None:
            return Progress("running", f"{self._program} apply: {self._last_line()}")
        self._pid_file.unlink(missing_ok=True)
        self._plan_file.unlink(missing_ok=True)
        if code == 0:
            return Progress("succeeded", self._last_line())
        return Progress(
            "failed", clean(self._log.read_text(errors="replace").partition("Error:")[2] or self._last_line())
        )

    def _last_line(self) -> str:
        lines = [line for line in self._log.read_text(errors="replace").splitlines() if line.strip()]
        return lines[-1].strip() if lines else "starting"

    def stop(self) -> None:
        """Leave it running: an apply cut short loses track of what EKS goes on doing. A later run attaches to it."""

    def terminate(self) -> None:
        """For tests and the demo's clean-up: ask the apply to end."""
        if self._child.poll() is None:
            self._child.send_signal(signal.SIGTERM)
            self._child.wait()


class _Attached:
    """An apply that an earlier, killed run started: wait for its end, then begin the stage again for what is left."""

    def __init__(self, engine: TerraformEngine, plan: Plan, stage: Stage, intent: Mapping[str, Any], pid: int) -> None:
        self._engine = engine
        self._args = (plan, stage, intent)
        self._pid = pid
        self._next: StageRun | None = None

    def poll(self) -> Progress:
        if self._next is None:
            if self._engine._left_running() is not None:
                text = f"{self._engine.program} apply left running by an earlier run (pid {self._pid})"
                return Progress("running", text)
            self._engine._pid_file.unlink(missing_ok=True)
            try:
                self._next = self._engine.begin(*self._args)
            except RefusedError as error:
                raise HaltedError(error.message, where=error.where, hint=error.hint) from error
        return self._next.poll()

    def stop(self) -> None:
        """It was never ours to stop."""


def find_provider_mirror(environment: Mapping[str, str], top: Path = Path("/")) -> Path | None:
    """The root of a Terraform filesystem mirror that holds hashicorp/aws, if this machine has one.

    Looks at AWS_PROVIDER_MIRROR and TF_PLUGIN_MIRROR, then in the file system, five folders deep. None is no failure:
    most machines reach the registry.
    """
    for name in ("AWS_PROVIDER_MIRROR", "TF_PLUGIN_MIRROR"):
        if environment.get(name) and _holds_aws(Path(environment[name])):
            return Path(environment[name])
    skip = {"proc", "sys", "dev", "run", "boot", "lost+found", "node_modules", ".terraform"}
    level = [top]
    for _ in range(5):
        below: list[Path] = []
        for folder in level:
            try:
                entries = [e for e in os.scandir(folder) if e.is_dir(follow_symlinks=False) and e.name not in skip]
            except OSError:
                continue
            for entry in entries:
                path = Path(entry.path)
                if entry.name == "registry.terraform.io" and _holds_aws(folder):
                    return folder
                below.append(path)
        level = below
    return None


def _holds_aws(mirror: Path) -> bool:
    return (mirror / "registry.terraform.io" / "hashicorp" / "aws").is_dir()


def write_cli_configuration(mirror: Path, path: Path) -> Path:
    """A Terraform CLI configuration that takes hashicorp/aws from `mirror` and everything else from its origin."""
    path.write_text(
        "provider_installation {\n"
        f'  filesystem_mirror {{\n    path    = "{mirror}"\n    include = ["registry.terraform.io/hashicorp/*"]\n  }}\n'
        '  direct {\n    exclude = ["registry.terraform.io/hashicorp/*"]\n  }\n}\n'
        "disable_checkpoint = true\n"
    )
    return path
