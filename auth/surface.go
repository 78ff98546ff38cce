package auth

import (
	"slices"

	"reprise/contract"
)

// The names of somebody else, whom nobody who proves anything is.
const (
	otherName   = "somebody-else"
	otherAction = "other-action"
	// probeID stands for a session, chain or step that does not exist.
	probeID = "auth-probe"
)

// probe is one thing to try.
type probe struct {
	way     Way
	subject string
}

// surface is everything that is tried for a role: what it may do, what the others
// may do, in its own name and in another's, and the ways around.
func surface(n contract.Names, name string, actions []string) []probe {
	var list []probe
	add := func(way Way, subjects ...string) {
		for _, subject := range subjects {
			if p := (probe{way, subject}); !slices.Contains(list, p) {
				list = append(list, p)
			}
		}
	}
	for _, r := range table {
		for _, who := range []string{name, otherName} {
			for _, subject := range r.subjects(n, who, append([]string{otherAction}, actions...)) {
				add(r.Way, concrete(r.Way, subject))
			}
		}
	}
	add(Send, requests(n, name)...)
	add(Send, jetStream(n)...)
	add(Send, serversOwn(n)...)
	add(Receive, wildcards(n)...)
	return list
}

// concrete makes a subject to publish to of one with wildcards.
func concrete(way Way, subject string) string {
	if way == Receive {
		return subject
	}
	tokens := splitSubject(subject)
	for i, token := range tokens {
		if token == "*" || token == ">" {
			tokens[i] = probeID
		}
	}
	return joinSubject(tokens)
}

// requests are the subjects of the engine, in the own name and in another's.
func requests(n contract.Names, name string) []string {
	var list []string
	for _, who := range []string{name, otherName, "=" + otherName} {
		p := n.Prefix()
		list = append(list,
			p+".cmd."+who+"."+probeID+".start", p+".cmd."+who+"."+probeID+".step.retry", p+".cmd."+who,
			p+".queue."+who+"."+probeID+".start",
			p+".qry."+who+".get", p+".qry."+who+".list", p+".qry."+who+".history", p+".qry."+who+".list.more",
			p+".wrk."+who+"."+otherAction+".serve", p+".wrk."+who+"."+otherAction+"."+who+"."+probeID+".claim",
			p+".adm."+who+".cmd."+otherName+"."+probeID+".hold", p+".adm."+who+".cleanup.scan", p+".adm."+who+".doctor",
			p+".evt."+who+"."+probeID, p+".live."+who+"."+probeID, p+".work."+otherAction+"."+who+"."+probeID+".c.s",
			p+".lease."+who+"."+probeID+".c.s.1", p+".dead."+who+"."+probeID+".start", p+".audit."+probeID,
			"$KV."+n.SessionsBucket()+"."+who+"."+probeID, "$KV."+n.HistoryBucket()+"."+who+"."+probeID+".0", "_INBOX."+who+"."+probeID,
		)
	}
	return append(list, "$KV."+n.ControlBucket()+".holder", "$KV.other.key", "$O.bucket.C.chunk", "$O.bucket.M.meta", "_R_."+probeID)
}

// jetStream is its API: on every stream of the engine and on one of another's.
func jetStream(n contract.Names) []string {
	list := []string{ //nolint:prealloc // it is short, and made once
		"$JS.API.INFO", "$JS.API.STREAM.NAMES", "$JS.API.STREAM.LIST", "$JS.API.ACCOUNT.PURGE.A", "$JS.API.META.LEADER.STEPDOWN",
		"$JS.API.SERVER.REMOVE", "$JS.API.CONSUMER.ACTION",
	}
	for _, stream := range append(Streams(n), "OTHER") {
		for _, verb := range []string{
			"STREAM.CREATE", "STREAM.UPDATE", "STREAM.INFO", "STREAM.DELETE", "STREAM.PURGE", "STREAM.SNAPSHOT", "STREAM.RESTORE",
			"STREAM.MSG.GET", "STREAM.MSG.DELETE", "STREAM.PEER.REMOVE", "STREAM.LEADER.STEPDOWN", "DIRECT.GET",
			"CONSUMER.CREATE", "CONSUMER.NAMES", "CONSUMER.LIST",
		} {
			list = append(list, "$JS.API."+verb+"."+stream)
		}
		for _, verb := range []string{
			"CONSUMER.CREATE", "CONSUMER.DURABLE.CREATE", "CONSUMER.INFO", "CONSUMER.DELETE", "CONSUMER.PAUSE", "CONSUMER.MSG.NEXT",
			"CONSUMER.LEADER.STEPDOWN", "CONSUMER.RESET", "CONSUMER.UNPIN",
		} {
			list = append(list, "$JS.API."+verb+"."+stream+"."+otherAction)
		}
		list = append(list,
			"$JS.API.CONSUMER.CREATE."+stream+"."+otherAction+"."+n.Event(otherName, probeID),
			"$JS.API.DIRECT.GET."+stream+"."+n.Event(otherName, probeID),
			"$JS.API.DIRECT.GET."+stream+".$KV."+n.SessionsBucket()+"."+otherName+"."+probeID,
			"$JS.API.DIRECT.GET."+stream+".$KV."+n.HistoryBucket()+"."+otherName+"."+probeID+".0",
			"$JS.ACK."+stream+"."+otherAction+".1.2.3.4.5", "$JS.FC."+stream+"."+otherAction+".x",
		)
	}
	return list
}

// serversOwn is what belongs to the server.
func serversOwn(n contract.Names) []string {
	return []string{
		"$SYS.REQ.SERVER.PING", "$SYS.REQ.ACCOUNT.A.INFO", "$SYS.REQ.CLAIMS.UPDATE", "$SYS.REQ.USER.INFO", "$SYS.ACCOUNT.A.CONNECT",
		"$SRV.PING", "$SRV.INFO", "$SRV.STATS", "$SRV.STATS." + n.Prefix(), "$JSC.CI.A", "$GR.x.y", "$NRG.x", "$G", "other.subject",
	}
}

// wildcards are what somebody would listen to who wants to hear more.
func wildcards(n contract.Names) []string {
	p := n.Prefix()
	list := []string{ //nolint:prealloc // as above
		">", "*", "*.>", "*.*", "*.*.*.*", "$SYS.>", "$JS.>", "$JS.API.>", "$JS.EVENT.>", "$JS.EVENT.ADVISORY.>", "$KV.>", "$O.>",
		"$SRV.>", "$SRV.PING", "_INBOX.>", "_INBOX.*", "_INBOX.*.>", "_INBOX.*.*", "_R_.>", "_INBOX." + otherName + ".>", "_INBOX." + otherName + ".*",
		p + ".>", p + ".*.>", p + ".forged.>", "*." + "live.>", p + ".*." + otherName + ".>", p + ".live.*." + probeID,
	}
	for _, kind := range []string{"cmd", "queue", "qry", "wrk", "adm", "evt", "live", "work", "lease", "dead", "audit", "control"} {
		list = append(list, p+"."+kind+".>", p+"."+kind+".*.>", p+"."+kind+"."+otherName+".>", p+"."+kind+"."+otherName+".*")
	}
	return list
}
