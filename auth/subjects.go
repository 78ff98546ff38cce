package auth

import (
	"slices"
	"strings"

	"reprise/contract"
)

// nameTemplate is what the server replaces by the name of a credential. A name is
// one token: jwt/v2 writes tags in lower case, so they can't carry names.
const nameTemplate = "{{name()}}"

// inboxRoot is the first token of every inbox.
const inboxRoot = "_INBOX."

// InboxPrefix returns the prefix of the inboxes of a credential: what
// nats.CustomInboxPrefix and `nats --inbox-prefix` want.
func InboxPrefix(name string) string { return inboxRoot + name }

// Streams returns the names of every stream of an engine, those of its buckets
// included, and of what operators keep beside them.
func Streams(n contract.Names) []string {
	return append(engineStreams(n), "KV_"+migrationBucket(n))
}

// engineStreams are those that an engine works with.
func engineStreams(n contract.Names) []string {
	return append(ownStreams(n), "OBJ_"+n.ArchiveBucket())
}

// ownStreams are those that an engine makes. The archive's is made by operators.
func ownStreams(n contract.Names) []string {
	return []string{
		n.EventsStream(), n.QueueStream(), n.DeadStream(), n.WorkStream(), n.LeaseStream(), auditStream(n),
		"KV_" + n.SessionsBucket(), "KV_" + n.HistoryBucket(), "KV_" + n.ControlBucket(), "KV_" + settingsBucket(n),
	}
}

// auditStream is the stream of reports.
func auditStream(n contract.Names) string { return strings.ToUpper(n.Prefix()) + "_AUDIT" }

// migrationBucket is the bucket of how far a migration is.
func migrationBucket(n contract.Names) string { return n.Prefix() + "_migration" }

// settingsBucket is the bucket of what operators have set.
func settingsBucket(n contract.Names) string { return n.Prefix() + "_settings" }

// fill puts everything into a subject but the streams, of which there are many.
func fill(subject string, n contract.Names, name, action string) string {
	return strings.NewReplacer(
		"{prefix}", n.Prefix(), "{name}", name, "{action}", action,
		"{events}", n.EventsStream(), "{work}", n.WorkStream(), "{dead}", n.DeadStream(), "{audit}", auditStream(n),
		"{sessions}", n.SessionsBucket(), "{history}", n.HistoryBucket(), "{control}", n.ControlBucket(), "{settings}", settingsBucket(n), "{archive}", n.ArchiveBucket(), "{migration}", migrationBucket(n), "{views}", "KV_"+n.SessionsBucket(),
	).Replace(subject)
}

// subjects returns the subjects of a right: one for each action or stream where
// it names them.
func (r Right) subjects(n contract.Names, name string, actions []string) []string {
	if strings.Contains(r.Subject, "{action}") {
		list := make([]string, len(actions))
		for i, action := range actions {
			list[i] = fill(r.Subject, n, name, action)
		}
		return list
	}
	subject := fill(r.Subject, n, name, "")
	switch {
	case strings.Contains(subject, "{stream}"):
		return each(subject, "{stream}", engineStreams(n))
	case strings.Contains(subject, "{any}"):
		return each(subject, "{any}", Streams(n))
	case strings.Contains(subject, "{own}"):
		return each(subject, "{own}", ownStreams(n))
	}
	return []string{subject}
}

// each puts every stream into a subject.
func each(subject, place string, streams []string) []string {
	list := make([]string, len(streams))
	for i, stream := range streams {
		list[i] = strings.ReplaceAll(subject, place, stream)
	}
	return list
}

// crossed is the subject by which a right crosses into the engine's account.
func (r Right) crossed(n contract.Names) string { return fill(r.Subject, n, "*", "*") }

// granted lists what a role may send to and receive from.
func granted(role Role, n contract.Names, name string, actions []string) (send, receive []string) {
	for _, r := range table {
		switch {
		case r.Role != role:
		case r.Way == Send:
			send = append(send, r.subjects(n, name, actions)...)
		default:
			receive = append(receive, r.subjects(n, name, actions)...)
		}
	}
	return send, receive
}

// Allowed reports whether the table lets a role send to, or receive from, a
// subject, which may have wildcards. Actions matter for workers alone.
func Allowed(role Role, n contract.Names, name string, actions []string, way Way, subject string) bool {
	send, receive := granted(role, n, name, actions)
	list := send
	if way == Receive {
		list = receive
	}
	return slices.ContainsFunc(list, func(granted string) bool { return covers(granted, subject) })
}

// covers reports whether every subject that other stands for is one of granted.
func covers(granted, other string) bool {
	g, o := strings.Split(granted, "."), strings.Split(other, ".")
	for i, token := range g {
		switch {
		case token == ">":
			return len(o) > i
		case i >= len(o) || o[i] == ">":
			return false
		case token != "*" && token != o[i]:
			return false
		}
	}
	return len(g) == len(o)
}

func splitSubject(subject string) []string { return strings.Split(subject, ".") }

func joinSubject(tokens []string) string { return strings.Join(tokens, ".") }
