"""A session: one boot of the system under test with all repetitions that belong to this boot.

Power on, boot, prove, measure, collect, stop, in this order and in one `with`. This is the only place
that knows machines, hypervisors and tools at once. A failed repetition is recorded as failed: it has no
value, is not repeated and not dropped.
"""

from __future__ import annotations

import datetime
import logging
import secrets
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import asdict, dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any

from hvcost.environments import preparation
from hvcost.environments.congestion import check_congestion_control
from hvcost.environments.operation import check_host, in_operation
from hvcost.environments.place import BRIDGE, CLIENT_PREFIX, Operation, Place
from hvcost.environments.reachability import check_way
from hvcost.errors import HvcostError, MachineError, ParseError, told
from hvcost.files import filled
from hvcost.hypervisors import Guest, Hypervisor, RunningSystem, SystemPlan, load_driver, versions
from hvcost.images.guest import GuestImage, GuestShape
from hvcost.machines import facts, provenance
from hvcost.machines.background import REPORT_TIMEOUT_S, Background, Backgrounds
from hvcost.machines.base import Connection
from hvcost.machines.journal import Journal
from hvcost.machines.local import LocalConnection
from hvcost.machines.offloads import check_offloads
from hvcost.machines.shell import Shell
from hvcost.machines.witness import ask, ask_clocks, ask_sender, check_wire
from hvcost.model import record
from hvcost.model.link import Link
from hvcost.model.process import Course, Process, course_of
from hvcost.model.record import End, Facts, Order, Reading, Record, Session, Witness
from hvcost.tools import NoOutput, Tool, load_tool, options_of, tool_s, versions_of
from hvcost.tools.verdict import WIRED, values

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class SessionSpec:
    """What a session measures, as the workflow hands it over. Durations in s, memory in MiB."""

    environment: str
    system: str
    boot: int
    hypervisor: str
    options: Mapping[str, Any]
    workloads: Mapping[str, Mapping[str, Any]]
    repetitions: int
    guest: Mapping[str, int] | None
    link: Mapping[str, Any]
    host: Mapping[str, Any]
    client: Mapping[str, Any]


@dataclass(frozen=True)
class Run:
    """One repetition that is to be run: which workload, which repetition, which of all runs."""

    workload: str
    repetition: int
    number: int


@dataclass
class _Seen:
    """What was seen of one repetition, as far as it came; `trouble` says what ended it."""

    started_at: str
    outputs: dict[str, End] = field(default_factory=dict)
    cpu_time_s: Mapping[str, float] | None = None
    witnesses: dict[str, Witness] = field(default_factory=dict)
    trouble: str | None = None


@dataclass(frozen=True)
class _Bench:
    """What the session's runs are made with: its machines, the shells that stay on them, what runs there.

    `cards`: where the measured cards are that witness a run, by their role. `background`: of the system;
    `beside`: of the client, in each run anew.
    """

    client: Connection
    system: RunningSystem
    driver: Hypervisor
    host: Shell
    server: Shell
    cards: Mapping[str, tuple[Shell, str]]
    background: Backgrounds
    beside: Backgrounds

    def cpu_time_s(self) -> dict[str, float]:
        """Processor time of the host since its boot, in s, by who spent it; nothing if nobody knows."""
        command = self.driver.cpu_time_command
        try:
            return self.driver.cpu_time_s(self.host.ask(command)) if command else {}
        except ParseError as error:
            raise ParseError(f"{self.host.name}: {error}") from error


# Called before each run with its number and the number of all runs.
Progress = Callable[[int, int], None]


def runs_of(spec: SessionSpec) -> list[Run]:
    """The session's runs in order: each round runs every workload once, the longest first.

    A translated guest meets the code of its network for the first time in the first run, and takes seconds
    for it: of a short run nothing would be left.
    """
    longest = sorted(spec.workloads, key=lambda name: -tool_s(spec.workloads[name]))
    pairs = [(workload, repetition) for repetition in range(1, spec.repetitions + 1) for workload in longest]
    return [Run(workload, repetition, n) for n, (workload, repetition) in enumerate(pairs, start=1)]


def measure(
    spec: SessionSpec,
    place: Place,
    guest: GuestImage | None,
    folder: Path,
    position: tuple[int, int],
    seed: int,
    progress: Progress,
) -> list[Record]:
    """Run a session and write its raw files, which are in `folder` when it is over; returns the records.

    Until then, and if it fails, what an earlier one has left there is as it was. `position` is the session's
    place among all sessions. Raises HvcostError if the session does not come to its first repetition, or
    loses a machine: then it has to be run again, from its boot.
    """
    journal = Journal()
    runs = runs_of(spec)
    driver = load_driver(spec.hypervisor)(spec.options)
    tools = versions_of(sorted({workload["tool"] for workload in spec.workloads.values()}))
    records = []
    with (
        ExitStack() as afterwards,
        in_operation(
            place,
            journal,
            purpose="measure",
            boot_mode=driver.boot_mode,
            needs_host=driver.needs_host,
            guest=guest if spec.guest else None,
        ) as operation,
    ):
        # It takes its place when the machines have been given back.
        new = afterwards.enter_context(filled(folder, record.SESSION_FILE))
        host_facts = None
        if driver.needs_host:
            host_facts = _facts(operation.host, operation.host_interface, versions() | tools)
            check_host(place, host_facts, driver.boot_mode)
        plan = _prepare(spec, place, operation, driver, guest)
        driver.prepare(operation.host)
        if plan.guest:
            driver.prepare_files(operation.host, plan.guest.files)
        with driver.started(operation.host, plan) as system:
            guest_facts = system.proof.get("guest")
            client_facts = _facts(operation.client, operation.client_interface, tools)
            _check_offloads(place, client_facts, host_facts, guest_facts)
            session = Session(
                environment=spec.environment,
                system=spec.system,
                boot=spec.boot,
                spec={
                    "hypervisor": spec.hypervisor,
                    "options": asdict(driver.options),
                    "link": spec.link,
                    "guest": spec.guest,
                    "host": spec.host,
                },
                proof=system.proof,
                facts={
                    "software": provenance.of_this_software(),
                    "controller": _facts(LocalConnection("this computer"), "lo", versions() | tools),
                    "emulator": _emulator(operation),
                    "host": host_facts,
                    "client": client_facts,
                    "guest": guest_facts and {**guest_facts, **facts.versions(system.server, tools)},
                },
                commands=journal.commands,
            )
            record.write_session(session, new)
            with recorder(spec, operation, driver, system, session, journal) as recorded:
                for run in runs:
                    progress(run.number, len(runs))
                    result = recorded(run, Order(*position, run.number, len(runs), seed))
                    record.write(result, new / record.file_of(run.workload, run.repetition))
                    records.append(result)
                    if result.reason:
                        _check_machines(run, result.reason, (operation.host, operation.client))
    return records


# Runs one repetition and judges it; whatever gets in its way is the record's `reason`.
Recorder = Callable[[Run, Order], Record]


@contextmanager
def recorder(
    spec: SessionSpec,
    operation: Operation,
    driver: Hypervisor,
    system: RunningSystem,
    session: Session,
    journal: Journal,
) -> Iterator[Recorder]:
    """What runs the repetitions of a session, one at a time, on a system that is up.

    `spec` says what its workloads are, `session` what all its records have in common; `journal` is that of
    all its machines. What is in the background stays between runs, unless a run fails, and is ended with the
    block.
    """
    with _set_up(spec, operation, driver, system) as bench:

        def recorded(run: Run, order: Order) -> Record:
            before = len(journal.commands)
            seen = _repetition(spec, run, bench)
            result = _judged(
                Record(
                    environment=session.environment,
                    system=session.system,
                    boot=session.boot,
                    workload=run.workload,
                    repetition=run.repetition,
                    status="failed" if seen.trouble else "ok",
                    reason=seen.trouble,
                    started_at=seen.started_at,
                    order=order,
                    spec={**session.spec, "workload": spec.workloads[run.workload]},
                    outputs=seen.outputs,
                    cpu_time_s=seen.cpu_time_s,
                    proof=session.proof,
                    facts=session.facts,
                    start=session.commands,
                    commands=journal.commands[before:],
                    witnesses=seen.witnesses,
                )
            )
            if result.reason:
                log.warning("repetition %d failed: %s", run.repetition, result.reason)
                _ended(bench.background)
            return result

        yield recorded


def _emulator(operation: Operation) -> Facts | None:
    """The QEMU that plays the host, and how and why so; None if none does."""
    if operation.emulator is None or operation.acceleration is None:
        return None
    played = operation.acceleration
    return {
        "qemu_version": operation.emulator,
        "accelerator": played.accelerator,
        "accelerator_reason": played.reason,
    }


def _facts(machine: Connection, interface: str, versions: Mapping[str, str]) -> Facts:
    return {**facts.collect(machine, interface), **facts.versions(machine, versions)}


def _prepare(
    spec: SessionSpec, place: Place, operation: Operation, driver: Hypervisor, guest: GuestImage | None
) -> SystemPlan:
    """What the host needs since its boot, checked again, and what the driver has to start."""
    host, link = operation.host, place.link
    if place.is_provided:
        check_congestion_control(operation.client, link)
    else:
        preparation.ensure_bridge(host, operation.host_interface, link)
    if place.is_real:
        check_way(operation.client, operation.client_interface, host, BRIDGE, link)
    if place.host["connection"] in WIRED:
        _check_wires(operation, driver, link)
    to_start: Guest | None = None
    if guest and spec.guest:
        files, _ = preparation.ensure_guest(operation, guest)
        to_start = Guest(GuestShape(**spec.guest), files)
    return operation.plan(f"{place.name} guest {spec.system}", to_start, link)


def _check_offloads(place: Place, client: Facts, host: Facts | None, guest: Facts | None) -> None:
    """MachineError unless both ends cut and join segments as the link says, and no guest if none is to."""
    ends = {f"{place.name} client": client, f"{place.name} host": host}
    if place.link.offloads is False:
        ends[f"{place.name} guest"] = guest
    check_offloads(ends, place.link)


def _check_wires(operation: Operation, driver: Hypervisor, link: Link) -> None:
    """MachineError if a card runs slower than the link is said to be: all would be measured for nothing."""
    for machine, interface in _cards(operation, driver).values():
        with machine.shell() as shell:
            try:
                check_wire(ask(shell, interface), link.rate_mbit)
            except ParseError as error:
                raise MachineError(str(error)) from error


def _cards(operation: Operation, driver: Hypervisor) -> dict[str, tuple[Connection, str]]:
    """Machines whose measured cards are witnesses of a run, with the cards, by their role."""
    cards = {"client": (operation.client, operation.client_interface)}
    if driver.needs_host:
        cards["host"] = (operation.host, operation.host_interface)
    return cards


@contextmanager
def _set_up(
    spec: SessionSpec, operation: Operation, driver: Hypervisor, system: RunningSystem
) -> Iterator[_Bench]:
    """The machines of the session's runs, each with a shell that stays until the session's end."""
    with ExitStack() as stack:
        opened: dict[Connection, Shell] = {}

        def shell(machine: Connection) -> Shell:
            if machine not in opened:
                opened[machine] = stack.enter_context(machine.shell())
            return opened[machine]

        limit_s = _limit_s(spec, system)
        background = Backgrounds(shell(system.server), f"{system.runtime}/", limit_s)
        stack.callback(_ended, background)
        prefix = CLIENT_PREFIX.format(secrets.token_hex(8))
        beside = Backgrounds(shell(operation.client), prefix, limit_s)
        stack.callback(_ended, beside)
        yield _Bench(
            client=operation.client,
            system=system,
            driver=driver,
            host=shell(operation.host),
            server=shell(system.server),
            cards={
                role: (shell(machine), card) for role, (machine, card) in _cards(operation, driver).items()
            },
            background=background,
            beside=beside,
        )


def _limit_s(spec: SessionSpec, system: RunningSystem) -> float:
    """How long the session's runs may take on a machine of the usual speed."""
    courses = (_course(workload, system) for workload in spec.workloads.values())
    return spec.repetitions * sum(step.limit_s + REPORT_TIMEOUT_S for each in courses for step in each.steps)


def _course(workload: Mapping[str, Any], system: RunningSystem) -> Course:
    """A run's course, in which each process knows the system by the address that it has on its machine."""
    tool, options = load_tool(workload["tool"]), options_of(workload)
    outside = tool.processes(options, system.address)
    inside = tool.processes(options, system.inner_address or system.address)
    pairs = zip(inside, outside, strict=True)
    return course_of([within if within.on == "server" else without for within, without in pairs])


def _ended(background: Backgrounds) -> None:
    """Nothing of the background runs any more, unless its machine is lost."""
    try:
        background.end()
    except MachineError as error:
        log.warning("%s", error)


def _repetition(spec: SessionSpec, run: Run, bench: _Bench) -> _Seen:
    """One run of a tool's processes; whatever gets in its way is its `trouble`.

    Those in the background may be there from the run before, if nothing was wrong with that.
    """
    workload = spec.workloads[run.workload]
    tool, options = load_tool(workload["tool"]), options_of(workload)
    course = _course(workload, bench.system)
    seen = _Seen(datetime.datetime.now(datetime.UTC).isoformat())
    troubles: list[str] = []
    running: list[Background] = []
    server: Reading | None = None
    before: dict[str, Reading] = {}
    is_sender = tool.sender(options) == "server"
    ask_server = ask_sender if is_sender else ask_clocks
    with _noted(troubles):
        running = bench.background.ready(course.servers)
        if running or course.steps[-1].on == "server":
            server = ask_server(bench.server)
        before = {role: ask(*card) for role, card in bench.cards.items()}
        before_s = bench.cpu_time_s()
        _run_steps(bench, course, tool, options, seen)
        seen.cpu_time_s = _since(before_s, bench.cpu_time_s())
    fault = _fault(tool, options, seen)
    with _noted(troubles):
        is_good = not troubles and fault is None
        after: Reading | None = None
        for each in running:
            after = each.await_report(partial(_is_complete, tool, options, seen, is_good=is_good))
            seen.outputs[each.process.role] = each.end
        if not troubles:
            # Not earlier: what a slow guest has not read when the client ends is still to come.
            seen.witnesses |= {role: Witness(before[role], ask(*card)) for role, card in bench.cards.items()}
        if server:
            # Who waits for a report has asked for the clocks already.
            last = ask_server(bench.server) if is_sender or after is None else after
            seen.witnesses["server"] = Witness(server, last)
    if troubles:
        # What got in the way later must not hide what went wrong first.
        seen.trouble = "; then: ".join(filter(None, (fault, *troubles)))
    return seen


@contextmanager
def _noted(troubles: list[str]) -> Iterator[None]:
    """What gets in the way of the block is noted."""
    try:
        yield
    except HvcostError as error:
        troubles.append(told(error))


def _run_steps(bench: _Bench, course: Course, tool: Tool, options: Any, seen: _Seen) -> None:
    """The steps of a run, one after the other; none any more after one with which something is wrong."""
    try:
        for step in course.steps:
            if course.stays(step):
                bench.beside.started(step)
                continue
            seen.outputs[step.role] = _run(bench, step)
            if _fault(tool, options, seen):
                return
    finally:
        for each in bench.beside.end():
            seen.outputs[each.process.role] = each.end


def _fault(tool: Tool, options: Any, seen: _Seen) -> str | None:
    """What is wrong with what was seen up to now, None if nothing is or nothing is known of it."""
    try:
        tool.read(options, seen.outputs)
    except NoOutput:
        return None
    except ParseError as error:
        return str(error)
    return None


def _is_complete(tool: Tool, options: Any, seen: _Seen, process: Process, end: End, *, is_good: bool) -> bool:
    """Whether a process in the background has said what a run needs; one that is no good needs nothing."""
    try:
        tool.read(options, {**seen.outputs, process.role: end})
    except NoOutput:
        # Of another one in the background.
        return True
    except ParseError:
        return not is_good
    return True


def _check_machines(run: Run, reason: str, machines: Sequence[Connection]) -> None:
    """MachineError if host or client was lost with this run: what would follow measures nothing.

    A guest that is lost is another matter: that is what its hypervisor made of it.
    """
    try:
        for machine in machines:
            machine.run(["true"])
    except HvcostError as error:
        raise MachineError(
            f"session given up in run {run.number} ({run.workload}, repetition {run.repetition}), "
            f"which failed: {reason}; {error}"
        ) from error


def _judged(seen: Record) -> Record:
    """The record, which is failed if what was seen is no measurement."""
    try:
        values(seen)
    except ParseError as error:
        return replace(seen, status="failed", reason=str(error))
    return seen


def _since(before_s: Mapping[str, float], after_s: Mapping[str, float]) -> dict[str, float]:
    return {name: round(time_s - before_s.get(name, 0.0), 2) for name, time_s in after_s.items()}


def _run(bench: _Bench, process: Process) -> End:
    machine = bench.system.server if process.on == "server" else bench.client
    # A client waits for the system, which may be on a slower machine than its own.
    patience = 1.0 if process.on == "server" else bench.server.slowness
    result = machine.run(process.argv, timeout_s=process.limit_s * patience, check=False)
    return End(
        machine=machine.name,
        argv=result.argv,
        exit_code=result.exit_code,
        stdout=result.stdout,
        stderr=result.stderr,
        duration_s=result.duration_s,
    )
