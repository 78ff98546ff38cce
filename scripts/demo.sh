#!/bin/sh
# Shows what Reprise does, on an engine of its own in a temporary directory: run,
# pause, resume, retry, skip, cancel, history, delete. It takes about half a
# minute and leaves nothing behind.
#
#   make demo            or: REPRISE=/path/to/reprise sh scripts/demo.sh
set -eu

reprise=${REPRISE:-bin/reprise}
case $reprise in */*) reprise=$(cd "$(dirname "$reprise")" && pwd)/$(basename "$reprise") ;; esac
work=$(mktemp -d "${TMPDIR:-/tmp}/reprise-demo.XXXXXX")
REPRISE_DATA=$work/data REPRISE_USER=demo
export REPRISE_DATA REPRISE_USER
unset NATS_URL NATS_CONTEXT 2>/dev/null || true
running=

finish() {
	test -z "$running" || kill "$running" 2>/dev/null || true
	test -z "$running" || wait "$running" 2>/dev/null || true
	rm -rf "$work"
}
trap finish EXIT
trap 'exit 130' INT TERM

# title TEXT writes a heading.
title() { printf '\n\033[1m== %s\033[0m\n' "$*"; }

# note TEXT says something about what comes.
note() { printf '\033[2m   %s\033[0m\n' "$*"; }

# show COMMAND... writes a command as one would type it, and runs it.
show() {
	printf '\n\033[36m$ reprise %s\033[0m\n' "$*"
	"$reprise" "$@"
}

# background COMMAND... does so in the background; its output goes to a file.
background() {
	printf '\n\033[36m$ reprise %s &\033[0m\n' "$*"
	"$reprise" "$@" >"$work/output" 2>&1 &
	running=$!
}

# ended waits for the command in the background and shows the end of its output.
ended() {
	wait "$running" || true
	running=
	sed -n '/^[^0-9]/,$p' "$work/output"
}

# await SESSION TYPE waits until the session's history has an event of that type;
# half a minute at most.
await() {
	tries=0
	until "$reprise" session history "$1" --types "$2" 2>/dev/null | grep -q "$2"; do
		tries=$((tries + 1))
		test "$tries" -lt 150 || { echo "demo: $1 has no $2 after half a minute" >&2; exit 1; }
		sleep 0.2
	done
}

cat >"$work/build.yaml" <<'YAML'
chains:
  - id: check
    title: Look at the code
    steps:
      - {id: format, action: exec, input: {run: "echo all is formatted"}}
      - {id: vet, action: exec, input: {run: "echo no complaints"}}
  - id: build
    title: Build the program
    steps:
      - {id: compile, action: exec, input: {run: "echo compiling; echo built"}}
      - {id: test, action: exec, input: {run: 'test "$REPRISE_ATTEMPT" -gt 1 || { echo "a test is flaky" >&2; exit 1; }'},
         retry: {maxAttempts: 3, backoff: 200ms}}
  - id: package
    title: Pack it, once all of that is done
    waitsFor: [check, build]
    steps:
      - {id: linux, action: exec, waitsFor: [], input: {run: "echo packed for Linux"}}
      - {id: darwin, action: exec, waitsFor: [], input: {run: "echo packed for macOS"}}
YAML

cat >"$work/long.yaml" <<'YAML'
chains:
  - id: work
    steps:
      - {id: one, action: exec, input: {run: "sleep 1; echo one"}}
      - {id: two, action: exec, input: {run: "echo two"}}
      - {id: three, action: exec, input: {run: "echo three"}}
YAML

cat >"$work/broken.yaml" <<'YAML'
onFailure: stop
chains:
  - id: deploy
    steps:
      - {id: upload, action: exec, input: {run: "echo 'the disk is full' >&2; exit 1"}}
      - {id: announce, action: exec, input: {run: "echo 'no mail server' >&2; exit 1"}}
      - {id: finish, action: exec, input: {run: "echo finished"}}
YAML

cat >"$work/endless.yaml" <<'YAML'
chains:
  - id: work
    steps:
      - {id: forever, action: exec, input: {run: "while :; do echo waiting; sleep 0.2; done"}}
      - {id: never, action: exec, input: {run: "echo not reached"}}
YAML

title "Run: a session from a file, executed end to end"
note "chains run side by side; a step that fails is tried again; nothing was installed or started"
show run "$work/build.yaml" --id build-1

title "Pause and resume, from another terminal, while it runs"
background run "$work/long.yaml" --id long-1 --no-history
await long-1 step.started
show session pause long-1 --reason 'the demo says so'
note "the step in flight may end; nothing new starts"
await long-1 session.quiesced
show session show long-1
show session resume long-1
ended

title "Pause by Ctrl-C, and go on later"
background run "$work/long.yaml" --id long-2 --no-history
await long-2 step.started
note "Ctrl-C"
kill -INT "$running"
ended
show run --resume long-2 --no-history

title "Retry: a step failed; it is run again with another input"
show run "$work/broken.yaml" --id broken-1 --no-history || note "exit code $?: the session is FAILED, and says where and why"
show step retry broken-1 deploy upload --input '{"run": "echo uploaded"}'

title "Skip: the next one failed as well, and isn't needed"
show run --resume broken-1 --no-history || note "exit code $?"
show step skip broken-1 deploy announce --reason 'nobody has to know'
show run --resume broken-1 --no-history

title "Cancel: what runs is stopped, what waits never starts"
background run "$work/endless.yaml" --id endless-1 --no-history
await endless-1 step.started
show session cancel endless-1 --reason 'enough of that'
ended

title "History: every commit is kept, and any of them can be looked at"
show session history broken-1
show session at broken-1 --version 7

title "Delete: a session and all that belongs to it"
show session list
show session delete broken-1
show session list
show session show broken-1 || note "exit code $?: it is gone for good"

title "Cleanup: what has ended goes, and its id never comes back"
show cleanup scan --older-than 0s
show cleanup purge --older-than 0s --yes
show session list
