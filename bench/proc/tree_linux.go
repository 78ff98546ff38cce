package proc

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"syscall"
	"time"
)

// clockTick is the unit of times in /proc: USER_HZ is 100 on every Linux
// architecture that Go runs on.
const clockTick = 10 * time.Millisecond

// isolate gives the child a group of its own, and has the kernel kill it when
// this process dies.
func isolate(attr *syscall.SysProcAttr) { attr.Setpgid, attr.Pdeathsig = true, syscall.SIGKILL }

// Tree returns what a process and all below it use. Descendants that end while
// it looks are left out; the error is about the process itself.
func Tree(root int) (Usage, error) {
	sum, err := one(root)
	if err != nil {
		return Usage{}, err
	}
	for _, p := range descendants(root) {
		if u, err := one(p.pid); err == nil {
			sum = sum.Add(u)
		}
	}
	return sum, nil
}

// process is one, told from a later one of the same id by its start.
type process struct {
	pid   int
	start string
}

// kill ends the process at once if it is still there.
func (p process) kill() {
	if st, err := readStat(p.pid); err == nil && st.start == p.start {
		_ = syscall.Kill(p.pid, syscall.SIGKILL)
	}
}

// descendants returns the processes below root, in no order.
func descendants(root int) []process {
	below := map[int][]process{}
	dirs, _ := filepath.Glob("/proc/[0-9]*")
	for _, dir := range dirs {
		pid, err := strconv.Atoi(filepath.Base(dir))
		if err != nil {
			continue
		}
		if st, err := readStat(pid); err == nil {
			below[st.parent] = append(below[st.parent], process{pid: pid, start: st.start})
		}
	}
	all := below[root]
	for i := 0; i < len(all); i++ {
		all = append(all, below[all[i].pid]...)
	}
	return all
}

func one(pid int) (Usage, error) {
	st, err := readStat(pid)
	if err != nil {
		return Usage{}, err
	}
	memory, err := readMemory(pid)
	if err != nil {
		return Usage{}, err
	}
	return Usage{CPU: st.cpu, Memory: memory}, nil
}

type stat struct {
	parent int
	cpu    time.Duration
	// start is when the process began, in ticks since the machine did.
	start string
}

// The fields of /proc/PID/stat after the name, as proc(5) counts them, less 3.
const (
	fieldParent = 4 - 3
	fieldUser   = 14 - 3
	fieldLast   = 17 - 3
	fieldStart  = 22 - 3
)

func readStat(pid int) (stat, error) {
	data, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return stat{}, err
	}
	return parseStat(data)
}

var errStat = errors.New("/proc/PID/stat has another form than proc(5) says")

// parseStat reads the line; the name in it may hold anything, brackets too.
func parseStat(line []byte) (stat, error) {
	fields := bytes.Fields(line[bytes.LastIndexByte(line, ')')+1:])
	if len(fields) <= fieldStart {
		return stat{}, errStat
	}
	parent, err := strconv.Atoi(string(fields[fieldParent]))
	if err != nil {
		return stat{}, errStat
	}
	var ticks int64
	for _, field := range fields[fieldUser : fieldLast+1] {
		n, err := strconv.ParseInt(string(field), 10, 64)
		if err != nil {
			return stat{}, errStat
		}
		ticks += n
	}
	return stat{parent: parent, cpu: time.Duration(ticks) * clockTick, start: string(fields[fieldStart])}, nil
}

// readMemory returns the proportional set size in bytes.
func readMemory(pid int) (int64, error) {
	data, err := os.ReadFile(fmt.Sprintf("/proc/%d/smaps_rollup", pid))
	if err != nil {
		return 0, err
	}
	for line := range bytes.Lines(data) {
		fields := bytes.Fields(line)
		if len(fields) < 2 || string(fields[0]) != "Pss:" {
			continue
		}
		kib, err := strconv.ParseInt(string(fields[1]), 10, 64)
		return kib << 10, err
	}
	return 0, nil
}
