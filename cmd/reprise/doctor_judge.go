package main

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"reprise/contract"
	"reprise/internal/term"
)

// Where the doctor draws its lines.
const (
	// maxSkew is how far an engine's clock may be off the server's; beyond it the
	// engine doesn't become the holder.
	maxSkew = time.Second
	// warnSkew is where it gets near that.
	warnSkew = maxSkew / 4
	// fullAt and nearlyFullAt are hundredths of a limit of JetStream.
	fullAt, nearlyFullAt = 98, 80
	// slowIndex is how many subjects or interior deletes a stream may have before
	// the server no longer writes its index, and restarts slowly.
	slowIndex = 1_000_000
	// farBehind is how many commits lists and views may be behind.
	farBehind = 10_000
	// longQueue is how many queued commands may wait.
	longQueue = 10_000
)

// judge says what the reports of all engines mean. What is the same for all is
// taken from the holder, or from the first that answered.
func judge(reports []contract.EngineReport) []finding {
	if len(reports) == 0 {
		return nil
	}
	r := reports[max(slices.IndexFunc(reports, func(r contract.EngineReport) bool { return r.Holder == r.Engine }), 0)]
	findings := []finding{serverFinding(r.Server), enginesFinding(reports), holderFinding(reports, r.Holder)}
	for _, each := range reports {
		findings = append(findings, clockFinding(each))
		findings = append(findings, troubleFinding(each)...)
	}
	findings = append(findings, jetStreamFinding(r.JetStream), eventsFinding(r.Events), durabilityFinding(r), sizeFinding(r.Events))
	for _, each := range reports {
		findings = append(findings, listsFinding(each, each.Engine == r.Holder), cacheFinding(each))
	}
	findings = append(findings, workersFindings(r)...)
	return append(findings, queueFinding(r), deadFinding(r), readOnlyFinding(r.ReadOnly))
}

func serverFinding(s contract.ServerReport) finding {
	cluster := ""
	if s.Cluster != "" {
		cluster = " of cluster " + s.Cluster
	}
	return finding{"server", levelOK, fmt.Sprintf("nats-server %s, %s%s, answers in %s", s.Version, s.Name, cluster, s.RTT.Round(time.Microsecond)), ""}
}

func enginesFinding(reports []contract.EngineReport) finding {
	names := make([]string, len(reports))
	var versions []string
	for i, r := range reports {
		names[i] = r.Engine
		if !slices.Contains(versions, r.Version) {
			versions = append(versions, r.Version)
		}
	}
	says := fmt.Sprintf("%s of version %s: %s", plural(len(reports), "engine"), strings.Join(versions, ", "), strings.Join(names, ", "))
	if len(versions) > 1 {
		return finding{"engines", levelWarn, says, "bring all of them to one version"}
	}
	return finding{"engines", levelOK, says, ""}
}

func holderFinding(reports []contract.EngineReport, holder string) finding {
	switch {
	case holder == "":
		return finding{"holder", levelBad, "no engine is the holder: views, queued commands, tasks and timeouts stand still", "see the clocks below, and the engines' logs"}
	case !slices.ContainsFunc(reports, func(r contract.EngineReport) bool { return r.Engine == holder }):
		return finding{"holder", levelWarn, fmt.Sprintf("engine %s is the holder and did not answer", holder), "another one takes over within 3 seconds if it is dead; ask again"}
	}
	return finding{"holder", levelOK, "engine " + holder + " writes views, applies the queue, offers tasks and ends what is over its time", ""}
}

func clockFinding(r contract.EngineReport) finding {
	skew := r.Skew
	says := fmt.Sprintf("the clock of engine %s is %s off the server's", r.Engine, skew.Abs().Round(time.Microsecond))
	switch {
	case skew.Abs() > maxSkew:
		return finding{"clock", levelBad, says + ", too far to be the holder", "set the clocks of both by NTP"}
	case skew.Abs() > warnSkew:
		return finding{"clock", levelWarn, says + "; beyond " + maxSkew.String() + " it can't be the holder", "set the clocks of both by NTP"}
	}
	return finding{"clock", levelOK, says, ""}
}

func troubleFinding(r contract.EngineReport) []finding {
	if r.Trouble == "" {
		return nil
	}
	return []finding{{"storage", levelBad, fmt.Sprintf("engine %s: %s", r.Engine, r.Trouble), "make room or mend the disk; it goes on by itself then"}}
}

func jetStreamFinding(j contract.JetStreamReport) finding {
	used := max(share(j.Memory, j.MaxMemory), share(j.Store, j.MaxStore), share(uint64(j.Streams), int64(j.MaxStreams)), share(uint64(j.Consumers), int64(j.MaxConsumers)))
	says := fmt.Sprintf("JetStream holds %s on disk%s and %s in memory%s, with %s%s and %s%s",
		term.Bytes(j.Store), limitText(j.MaxStore, term.Bytes), term.Bytes(j.Memory), limitText(j.MaxMemory, term.Bytes),
		plural(j.Streams, "stream"), limitText(int64(j.MaxStreams), number), plural(j.Consumers, "consumer"), limitText(int64(j.MaxConsumers), number))
	const raise = "raise the limits of the account, or remove sessions: reprise cleanup purge"
	switch {
	case used >= fullAt:
		return finding{"jetstream", levelBad, says + "; a limit is reached", raise}
	case used >= nearlyFullAt:
		return finding{"jetstream", levelWarn, fmt.Sprintf("%s; a limit is used to %d%%", says, used), raise}
	}
	return finding{"jetstream", levelOK, says, ""}
}

// share is how much of a limit is used, in hundredths; 0 where there is none.
func share(used uint64, limit int64) int {
	if limit <= 0 {
		return 0
	}
	return int(float64(used) / float64(limit) * 100)
}

func limitText(limit int64, write func(uint64) string) string {
	if limit <= 0 {
		return ""
	}
	return " of " + write(uint64(limit))
}

func number(n uint64) string { return strconv.FormatUint(n, 10) }

func eventsFinding(e contract.EventsReport) finding {
	where := "in files"
	if e.Memory {
		where = "in memory"
	}
	says := fmt.Sprintf("%s holds %s (%s) %s, in %s", e.Stream, plural(int(e.Messages), "commit"), term.Bytes(e.Bytes), where, plural(e.Replicas, "replica"))
	if e.Leader != "" {
		says += ", led by " + e.Leader
	}
	if len(e.Behind) > 0 {
		return finding{"events", levelWarn, says + "; offline or behind: " + strings.Join(e.Behind, ", "), "bring these servers back before another one fails"}
	}
	return finding{"events", levelOK, says, ""}
}

// durabilityFinding says what a power cut may take. On replicated streams a server
// relaxes sync_always to syncing when it flushes, so that is never called always.
func durabilityFinding(r contract.EngineReport) finding {
	const check = "durability"
	disk := r.Server.Disk
	switch {
	case r.Events.Async:
		return finding{check, levelBad, "the event stream has asynchronous persistence: a killed server loses acknowledged commits", "remove persist_mode from " + r.Events.Stream}
	case r.Events.Memory && r.Events.Replicas == 1:
		return finding{check, levelWarn, "everything is in memory: nothing outlives the server", "serve a data directory for what has to last"}
	case r.Events.Memory:
		return finding{check, levelWarn, "everything is in memory: nothing outlives the loss of a majority of the servers", "keep the event stream in files for what has to last"}
	case r.Events.Replicas > 1:
		says := fmt.Sprintf("a commit is acknowledged when a majority of %d replicas has it; when each writes it through to its disk the external server decides, and a client can't see it", r.Events.Replicas)
		return finding{check, levelUnknown, says, "what a power cut of all of them at once may take is their sync_interval (2 minutes unless set); sync_always is relaxed on replicated streams"}
	case disk == nil:
		return finding{check, levelUnknown, "one replica; when it writes through to its disk the external server decides, and a client can't see it", "look for sync_always and sync_interval (2 minutes unless set) in its configuration"}
	case disk.Always:
		return finding{check, levelOK, "always: every commit is on the disk before it is acknowledged; a power cut takes nothing", ""}
	}
	return finding{check, levelOK, fmt.Sprintf("interval %s: a power cut takes at most what was acknowledged within it, a killed process nothing (reprise serve --sync always: neither)", disk.Interval), ""}
}

func sizeFinding(e contract.EventsReport) finding {
	says := fmt.Sprintf("the event stream has %s and %s", plural(int(e.Subjects), "subject"), plural(int(e.Deleted), "interior delete"))
	if max(e.Subjects, e.Deleted) > slowIndex {
		return finding{"size", levelWarn, fmt.Sprintf("%s; over %d the server no longer writes the stream's index and restarts slowly", says, slowIndex), "purge what is old, tombstones included: reprise cleanup scan"}
	}
	return finding{"size", levelOK, says, ""}
}

// A cache that is full and answers less than half of the loads is too small, once
// there were enough to tell.
const (
	tellingLoads = 10_000
	fullCache    = 90 // percent
	poorHitRate  = 50 // percent
)

func cacheFinding(r contract.EngineReport) finding {
	c := r.Cache
	loads := c.Hits + c.Misses
	if loads == 0 {
		return finding{"cache", levelOK, fmt.Sprintf("engine %s has loaded no session yet", r.Engine), ""}
	}
	rate := c.Hits * 100 / loads
	says := fmt.Sprintf("engine %s had %d%% of %s in its cache, which holds %s in %s of %s",
		r.Engine, rate, plural(int(loads), "load"), plural(c.Sessions, "session"), sized(uint64(c.Bytes)), sized(uint64(c.MaxBytes)))
	if loads > tellingLoads && rate < poorHitRate && c.Bytes*100 > c.MaxBytes*fullCache {
		return finding{"cache", levelWarn, says, "give it more: reprise serve --cache"}
	}
	return finding{"cache", levelOK, says, ""}
}

func listsFinding(r contract.EngineReport, holds bool) finding {
	says := fmt.Sprintf("engine %s lists %s, %s behind", r.Engine, plural(r.Lists.Sessions, "session"), plural(int(r.Lists.Behind), "commit"))
	if holds {
		says += fmt.Sprintf("; its views are %s behind", plural(int(r.Lists.ViewsBehind), "commit"))
	}
	switch {
	case !r.Lists.Ready:
		return finding{"lists", levelWarn, "engine " + r.Engine + " is still building its lists, and rejects them as warming", "wait; commands are answered meanwhile"}
	case max(r.Lists.Behind, r.Lists.ViewsBehind) > farBehind:
		return finding{"lists", levelWarn, says, "if that grows, the engine has too little CPU or disk; reprise repair finds views that are wrong"}
	}
	return finding{"lists", levelOK, says, ""}
}
