#!/bin/sh
# Plays an agent and the person who approves: it runs examples/agent.yaml, adds
# steps and a chain while it runs, lets the work be approved, and completes the
# session. Run it from the root of the repository; REPRISE names the program.
set -eu
reprise=${REPRISE:-reprise}
session=${1:-agent-$$}

say() { printf '\n# %s\n' "$*"; }

# done_yet CHAIN STEP: whether the step is SUCCESS.
done_yet() {
	"$reprise" session history "$session" --types step.succeeded 2>/dev/null | grep -q "step.succeeded $1/$2\$"
}

# until_done CHAIN STEP waits a minute at most.
until_done() {
	tries=0
	until done_yet "$1" "$2"; do
		tries=$((tries + 1))
		test $tries -lt 300 || { echo "agent.sh: $1/$2 is not done after a minute" >&2; exit 1; }
		sleep 0.2
	done
}

# The run shows what happens, and has the engine and the worker.
"$reprise" run examples/agent.yaml --id "$session" --progress plain &
run=$!
trap 'kill $run 2>/dev/null || true' EXIT

until_done work plan
say "the plan is made: a step for each question"
for question in brokers speed safety; do
	"$reprise" step add "$session" work "$question" --action exec \
		--input "{\"run\": \"echo looking into $question\"}"
done

say "one answer needs a closer look, in a chain of its own, beside the others"
"$reprise" chain add "$session" closer --title "A closer look" -f - <<CHAIN
steps:
  - {id: measure, action: exec, input: {run: 'echo "measured it"'}}
  - {id: compare, action: exec, input: {run: 'echo "compared it"'}}
CHAIN

say "that was all: the chain is closed"
"$reprise" chain close "$session" work
until_done work safety
until_done closer compare

say "a person approves"
"$reprise" step succeed "$session" approval approve --output '{"by": "ada"}'
until_done publish send

say "nothing is left to do"
"$reprise" session complete "$session"
trap - EXIT
wait $run
