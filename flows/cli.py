"""The command line: `keras-audit run | check | list | show | verify | schema | serve | deploy | keys`.

Exit codes are the contract's (see tasks/errors.py). Errors are one line on stderr; `--debug` adds the traceback.
Whatever is heavy is imported by the command that needs it, so that `--help` answers at once.
"""

from __future__ import annotations

import gc
import json
import os
import shlex
import sys
import tempfile
import traceback
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Annotated, Any, Literal

import typer
from typer.exceptions import TyperException

from tasks.errors import AuditError, Stopped, UsageError, one_line

app = typer.Typer(
    name="keras-audit",
    help="Audit Keras models: explain them, compare groups, judge a policy, and write a report that can be checked.",
    epilog="--debug with any command adds the traceback to an error.",
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)

keys_app = typer.Typer(help="Make keys that sign runs.", rich_markup_mode=None)
app.add_typer(keys_app, name="keys")

Config = Annotated[Path, typer.Argument(metavar="CONFIG", help="The audit's YAML file.", show_default=False)]
Settings = Annotated[
    list[str],
    typer.Option("--set", metavar="KEY=VALUE", help="Change a key of the config, as explain.rows=200."),
]
Reports = Annotated[
    str,
    typer.Option("--reports", metavar="DIR", help="Folder, or address as s3://bucket/reports, that reports are under."),
]
Run = Annotated[
    str,
    typer.Argument(metavar="RUN", help="A folder, an address, name/run-id, or name (its latest).", show_default=False),
]
Roots = Annotated[
    list[str], typer.Option(metavar="DIR", help="Folder that runs from the UI may use; default: the current one.")
]
Json = Annotated[bool, typer.Option("--json", help="JSON alone on stdout; everything else on stderr.")]


@app.command()
def run(
    config: Config,
    settings: Settings = [],  # noqa: B006
    reports: Reports = "reports",
    sign: Annotated[
        Path | None,
        typer.Option(
            "--sign",
            metavar="KEYFILE",
            help="Sign the run with this private key (see keys new); default: KERAS_AUDIT_SIGNING_KEY.",
        ),
    ] = None,
    as_json: Json = False,
) -> None:
    """Run one audit: progress while it runs, then verdict and path of the report."""
    from flows import terminal
    from flows.local import run_audit
    from flows.places import opened_run

    if sign is not None:
        os.environ["KERAS_AUDIT_SIGNING_KEY"] = str(sign)

    out = terminal.console()
    # Libraries print where they like; stdout is kept for the answer.
    with _stdout_kept(), terminal.progress(out) as shown:
        outcome = run_audit(str(config), settings, reports, shown, say=shown.say, debug=_debug())
    terminal.closing(out, outcome)
    if as_json:
        with opened_run(outcome.place, reports, only=("summary.json",)) as opened:
            _say((opened.folder / "summary.json").read_bytes())
    raise typer.Exit(outcome.exit_code)


@app.command()
def check(config: Config, settings: Settings = [], as_json: Json = False) -> None:  # noqa: B006
    """Validate config, data and model; run nothing."""
    from flows.prefect_api import quiet_environment

    quiet_environment()
    from flows.check import check_audit

    with _stdout_kept():
        found = check_audit(str(config), settings)
    if as_json:
        _say_json(found.as_json())
    else:
        found.show()
    raise typer.Exit(found.exit_code)


@app.command("list")
def list_runs(
    name: Annotated[
        str | None, typer.Argument(metavar="[NAME]", help="Runs of one audit; default: of all.", show_default=False)
    ] = None,
    reports: Reports = "reports",
    as_json: Json = False,
) -> None:
    """List the runs under the reports folder, the newest last."""
    from flows.places import listed
    from tasks.history import as_json as entry_json

    found = listed(reports, name)
    if as_json:
        _say_json([entry_json(entry) for entry in found])
    elif found:
        from rich.console import Console

        from flows.terminal import runs_table

        # What is piped into another program is not cut to a width.
        out = Console(highlight=False, width=None if sys.stdout.isatty() else 200)
        with out.capture() as text:
            out.print(runs_table(found))
        _say(text.get().encode(errors="backslashreplace"))
    else:
        _say(f"no runs under {one_line(reports)}; start one with: keras-audit run CONFIG\n".encode())


@app.command()
def show(
    run: Run,
    reports: Reports = "reports",
    as_json: Json = False,
) -> None:
    """Show a run: verdict, policy checks, findings and the report's path."""
    from flows.places import is_address, opened_run

    with opened_run(run, reports, only=("summary.json",)) as opened:
        summary = _summary(opened.folder, opened.place)
        content = (opened.folder / "summary.json").read_bytes()
    if as_json:
        _say(content)
        return
    import jsonschema

    from flows.run import Outcome
    from flows.terminal import closing, console
    from tasks.report import summary_schema

    if not jsonschema.Draft202012Validator(summary_schema()).is_valid(summary):
        raise UsageError("summary.json does not fit its schema", where=opened.place, hint=_CHANGED)
    address = opened.place if is_address(opened.place) else ""
    closing(console(stderr=False), Outcome.of_summary(opened.folder, summary, address))


@app.command()
def verify(
    run: Run,
    keys: Annotated[
        list[Path],
        typer.Option(
            "--key",
            metavar="PUB",
            help="A public key to trust; one of them must have signed. Default: KERAS_AUDIT_TRUSTED_KEYS.",
        ),
    ] = [],  # noqa: B006
    reports: Reports = "reports",
    again: Annotated[
        bool, typer.Option("--replay", help="Audit the recorded inputs again and compare every value.")
    ] = False,
    as_json: Json = False,
) -> None:
    """Check a run: digests, signature, chain, and that its report's numbers are those of its tables."""
    from flows import verify

    with _stdout_kept():
        place, found = verify.verify(run, keys, reports, replay=again)
    if as_json:
        _say_json(verify.as_json(place, found))
    else:
        _say(verify.as_text(place, found).encode(errors="backslashreplace"))
    raise typer.Exit(verify.exit_code(found))


@keys_app.command("new")
def new_key_pair(
    path: Annotated[Path | None, typer.Argument(metavar="[PATH]", help="Where the private key is to lie.")] = None,
) -> None:
    """Make a pair of Ed25519 keys: PATH to sign runs with, PATH.pub to check them with. Nothing is overwritten."""
    from tasks.evidence import SIGNING_KEY, TRUSTED_KEYS, new_keys

    made = new_keys(path)
    lines = [
        f"key id       {made.keyid}",
        f"private key  {one_line(made.private, 5000)}{' (encrypted)' if made.encrypted else ''}",
        f"public key   {one_line(made.public, 5000)}",
        f"sign runs    keras-audit run CONFIG --sign {shlex.quote(str(made.private))}",
        f"             or set {SIGNING_KEY} to the private key's path, for runs on a schedule too",
        f"check runs   keras-audit verify RUN --key {shlex.quote(str(made.public))}, or set {TRUSTED_KEYS}",
        "Hand the public key to those who check, on another way than the reports; keep the private key to yourself.",
    ]
    _say(("\n".join(lines) + "\n").encode(errors="backslashreplace"))


@app.command()
def schema(
    which: Annotated[Literal["config", "summary"], typer.Argument(help="config or summary")] = "config",
) -> None:
    """Print a JSON Schema: of the config, or of summary.json."""
    if which == "config":
        from configs.schema import AuditConfig

        value: Any = AuditConfig.model_json_schema()
    else:
        from tasks.report import summary_schema

        value = summary_schema()
    _say(f"{json.dumps(value, indent=2, ensure_ascii=False)}\n".encode())


@app.command()
def serve(
    configs: Annotated[
        list[Path] | None,
        typer.Argument(metavar="[CONFIG]...", help="Audits to serve, or folders of them; default: configs."),
    ] = None,
    reports: Reports = "reports",
    data_root: Roots = [],  # noqa: B006
    report_root: Roots = [],  # noqa: B006
    site_port: Annotated[int, typer.Option(min=0, max=65535, help="Of the site of the reports; 0: a free one.")] = 4280,
    site_url: Annotated[
        str | None, typer.Option(metavar="URL", help="Where a proxy makes the site known; links use it.")
    ] = None,
    site: Annotated[bool, typer.Option(help="Show the reports on loopback.")] = True,
) -> None:
    """Serve audits: Prefect's UI, a deployment with its schedule for each config, and the reports, on loopback."""
    from flows.prefect_api import quiet_environment

    quiet_environment()
    from flows.places import folder_only
    from flows.serve import Options, serve_audits

    roots = {"data_roots": tuple(data_root), "report_roots": tuple(report_root)}
    options = Options(folder_only(reports), **roots, site_port=site_port if site else None, site_url=site_url)
    serve_audits(configs or [Path("configs")], options)


@app.command()
def deploy(
    configs: Annotated[list[Path], typer.Argument(metavar="CONFIG...", help="Audits to deploy.", show_default=False)],
    pool: Annotated[str, typer.Option(metavar="NAME", help="The work pool that runs them.", show_default=False)],
    image: Annotated[str | None, typer.Option(metavar="IMAGE", help="Of a pool of containers.")] = None,
    reports: Reports = "reports",
) -> None:
    """Register the audits' deployments to a work pool of the configured Prefect API."""
    from flows.prefect_api import quiet_environment

    quiet_environment()
    from flows.deployments import deploy_audits

    deploy_audits(configs, reports, pool, image)


def main(arguments: Sequence[str] | None = None) -> None:
    """Entry point: runs a command and exits with the contract's codes."""
    given = list(sys.argv[1:] if arguments is None else arguments)
    if "--debug" in given:
        given = [word for word in given if word != "--debug"]
        os.environ["KERAS_AUDIT_DEBUG"] = "1"
    code = _run(given)
    if arguments is None:  # as a process
        if code == Stopped.exit_code:  # nobody waits for libraries to be taken down
            sys.stdout.flush()
            sys.stderr.flush()
            os._exit(code)
        gc.freeze()  # a last search through all that was imported would cost half a second
    sys.exit(code)


def _run(given: list[str]) -> int:
    try:
        code = app(given or ["--help"], standalone_mode=False, prog_name="keras-audit")
        return code if isinstance(code, int) else 0
    except AuditError as error:
        return _told(error, given)
    except TyperException as error:
        said = error.format_message() if hasattr(error, "format_message") else str(error)
        return _told(UsageError(said.rstrip("."), hint="see keras-audit --help"), given)
    except (KeyboardInterrupt, typer.Abort):
        return 130
    except SystemExit as end:  # typer's way out when the reader of its help has gone
        return 0 if isinstance(end.__context__, BrokenPipeError) else 70
    except Exception as error:  # noqa: BLE001  # the last stop; a defect of ours
        trace = _kept_traceback()
        text = " ".join(f"{type(error).__name__}: {error}".split())[:300]
        crash = AuditError(f"keras-audit failed: {text}", hint=f"the traceback lies in {trace}", code="defect")
        return _told(crash, given)


def _told(error: AuditError, given: Sequence[str]) -> int:
    """Says an error: one line for people on stderr, JSON for programs on stdout."""
    if _debug():
        traceback.print_exc()
    print(f"error: {error}", file=sys.stderr)
    if "--json" in given:
        keys = ("code", "what", "where", "hint", "exit_code")
        told = {"message": str(error), **{key: getattr(error, key) for key in keys}}
        told |= {key: [str(item) for item in getattr(error, key)] for key in ("values", "available")}
        with suppress(OSError):  # a stdout that is full is not told on stdout
            _say_json({"error": told})
    return error.exit_code


def _say(content: bytes) -> None:
    """Writes an answer to stdout, in UTF-8. Whoever reads a pipe may have gone: that changes no exit code."""
    try:
        sys.stdout.flush()
        sys.stdout.buffer.write(content)
        sys.stdout.buffer.flush()
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def _say_json(value: Any) -> None:
    _say(f"{json.dumps(value)}\n".encode())


def _debug() -> bool:
    return os.environ.get("KERAS_AUDIT_DEBUG") == "1"


def _kept_traceback() -> str:
    with tempfile.NamedTemporaryFile("w", prefix="keras-audit-", suffix=".txt", delete=False) as stream:
        traceback.print_exc(file=stream)
        return stream.name


@contextmanager
def _stdout_kept() -> Iterator[None]:
    """Sends whatever is printed to stdout, by C libraries too, to stderr for the length of a block."""
    sys.stdout.flush()
    kept = os.dup(1)
    os.dup2(2, 1)
    try:
        yield
    finally:
        sys.stdout.flush()
        os.dup2(kept, 1)
        os.close(kept)


_CHANGED = "the run was changed by hand, or by another version"


def _summary(folder: Path, place: str) -> dict[str, Any]:
    from flows.terminal import VERDICTS

    try:
        summary = json.loads((folder / "summary.json").read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError) as error:
        raise UsageError("summary.json cannot be read", where=place, hint=_CHANGED) from error
    if not isinstance(summary, dict) or summary.get("verdict") not in tuple(VERDICTS):
        raise UsageError("summary.json has no verdict", where=place, hint=_CHANGED)
    return summary


if __name__ == "__main__":
    main()
