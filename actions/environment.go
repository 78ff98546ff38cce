package actions

import (
	"fmt"
	"maps"
	"os"
	"slices"
	"strconv"
	"strings"

	"reprise/domain"
	"reprise/worker"
)

// maxVariable is how long REPRISE_OUTPUTS may be in bytes; Linux takes 128 KiB in
// one variable (MAX_ARG_STRLEN), and all of them share a few megabytes.
const maxVariable = 64 << 10

// environment is what a command gets: the base, what its step asks for, and what
// names the attempt. remove deletes the file that may belong to it.
func environment(base []string, t *worker.Task, extra map[string]string) (env []string, remove func(), err error) {
	env = slices.Clone(base)
	for _, name := range slices.Sorted(maps.Keys(extra)) {
		if name == "" || strings.ContainsAny(name, "=\x00") || strings.Contains(extra[name], "\x00") {
			return nil, nil, invalid(fmt.Sprintf("env: %.80q is no variable; a name has no = and neither name nor value has a zero byte", name))
		}
		env = append(env, name+"="+extra[name])
	}
	env = append(
		env, "REPRISE_USER="+t.User, "REPRISE_SESSION="+t.Session, "REPRISE_CHAIN="+t.Chain, "REPRISE_STEP="+t.Step,
		"REPRISE_ATTEMPT="+strconv.Itoa(t.Attempt), "REPRISE_IDEMPOTENCY_KEY="+t.IdempotencyKey,
	)
	outputs := []byte("{}")
	if len(t.Outputs) > 0 {
		if outputs, err = domain.Marshal(t.Outputs); err != nil {
			return nil, nil, err
		}
	}
	if len(outputs) <= maxVariable {
		return append(env, "REPRISE_OUTPUTS="+string(outputs)), func() {}, nil
	}
	path, err := temporary(outputs)
	if err != nil {
		return nil, nil, err
	}
	return append(env, "REPRISE_OUTPUTS_FILE="+path), func() { _ = os.Remove(path) }, nil
}

// temporary writes a file that the caller removes.
func temporary(content []byte) (string, error) {
	file, err := os.CreateTemp("", "reprise-outputs-*.json")
	if err != nil {
		return "", err
	}
	_, err = file.Write(content)
	if closed := file.Close(); err == nil {
		err = closed
	}
	if err != nil {
		_ = os.Remove(file.Name())
		return "", err
	}
	return file.Name(), nil
}
