package e2e

import (
	"encoding/base64"
	"reflect"
	"strings"
	"testing"

	"reprise/contract"
	"reprise/domain"
)

// secrets checks that the answer for a session of another user is, byte for
// byte, the one for an id that never existed.
func secrets(t *testing.T, p *peer) {
	p.do(t, "treasure", domain.VerbCreate, plan("compile"))
	p.do(t, "treasure", domain.VerbStart, nil)
	stranger := p.as(p.user + "-stranger")
	stranger.do(t, "own", domain.VerbCreate, plan("compile"))
	asked := 0
	for _, verb := range domain.UserVerbs() {
		if verb != domain.VerbCreate {
			asked += alike(t, stranger, func(s string) string { return stranger.names.Command(stranger.user, s, verb) }, bodyFor(verb))
		}
	}
	for _, verb := range domain.WorkerVerbs() {
		asked += alike(t, stranger, func(s string) string {
			return stranger.names.Worker("amber", "work", stranger.user, s, verb)
		}, bodyFor(verb))
	}
	for _, name := range []string{contract.QueryGet, contract.QueryHistory, contract.QueryAt} {
		asked += alike(t, stranger, func(string) string { return stranger.names.Query(stranger.user, name) },
			func(s string) object {
				if name == contract.QueryAt {
					return object{"session": s, "version": 1}
				}
				return object{"session": s}
			})
	}
	move := func(s string) object { return object{"chain": "build", "to": s} }
	stranger.do(t, "own", domain.VerbChainAdd, object{"id": "more", "steps": []object{{"action": "work"}}})
	asked += alike(t, stranger, func(string) string { return stranger.names.Command(stranger.user, "own", domain.VerbChainMove) }, move)
	if asked < 25 {
		t.Errorf("only %d requests were compared", asked)
	}
	if s := p.get(t, "treasure"); s.Version != 2 {
		t.Errorf("a stranger took the session to version %d", s.Version)
	}
}

// alike sends a request about a session of somebody else, and the same about an
// id that nobody has, and compares the answers.
func alike(t *testing.T, p *peer, subject func(session string) string, body func(session string) object) int {
	t.Helper()
	const theirs, nobodys = "treasure", "nobodies"
	var got [2]answer
	for i, session := range []string{theirs, nobodys} {
		a, err := p.settled(subject(session), body(session), headersFor(subject(session)))
		if err != nil {
			t.Fatal(err)
		}
		checkRefusal(t, a, domain.CodeNotFound)
		a.msg.Data = []byte(strings.ReplaceAll(string(a.msg.Data), session, nobodys))
		for _, values := range a.msg.Header {
			for j := range values {
				values[j] = strings.ReplaceAll(values[j], session, nobodys)
			}
		}
		got[i] = a
	}
	if string(got[0].msg.Data) != string(got[1].msg.Data) || !reflect.DeepEqual(got[0].msg.Header, got[1].msg.Header) {
		t.Errorf("%s: the answers are\n%v %s\n%v %s", subject("..."), got[0].msg.Header, got[0].msg.Data, got[1].msg.Header, got[1].msg.Data)
	}
	return 1
}

// headersFor give a command an id, which its refusal repeats.
func headersFor(subject string) map[string][]string {
	if strings.HasPrefix(subject, "reprise.qry.") {
		return nil
	}
	return headers(contract.HeaderCommandID, "probe")
}

// bodyFor is a body that the command would take for a session of ours.
func bodyFor(verb domain.Verb) func(string) object {
	step := object{"chain": "build", "step": "compile"}
	switch verb {
	case domain.VerbStepFail:
		step["error"] = object{"message": "no"}
	case domain.VerbFail:
		step["error"], step["attempt"] = object{"message": "no"}, 1
	case domain.VerbSucceed, domain.VerbHeartbeat, domain.VerbRelease:
		step["attempt"] = 1
	case domain.VerbStepRetry, domain.VerbStepSkip, domain.VerbStepSucceed, domain.VerbClaim:
	case domain.VerbMetadataSet:
		step = object{"set": object{"a": "b"}}
	case domain.VerbChainAdd:
		step = object{"id": "extra", "steps": []object{{"action": "work"}}}
	case domain.VerbChainClose, domain.VerbChainRemove:
		step = object{"chain": "build"}
	case domain.VerbChainMove:
		step = object{"chain": "build", "position": 0}
	case domain.VerbStepAdd:
		step = object{"chain": "build", "step": object{"action": "work"}}
	case domain.VerbBatch:
		step = object{"commands": []object{{"verb": "pause"}}}
	default:
		step = object{}
	}
	return func(string) object { return step }
}

// userNames checks that a user has one name on subjects and no other.
func userNames(t *testing.T, p *peer) {
	zoe := p.as("Zoë <zoe@exämple.org>")
	reply := zoe.do(t, "s1", domain.VerbCreate, plan("compile"))
	if reply.User != zoe.user || zoe.get(t, "s1").User != zoe.user {
		t.Errorf("the user is %q", reply.User)
	}
	second := base64.RawURLEncoding.EncodeToString([]byte(p.user))
	for _, token := range []string{"=" + second, "=", "=%%%", "=" + second + "=", "user$", strings.Repeat("u", 65)} {
		a, err := p.ask("reprise.cmd."+token+".s1.start", nil, nil)
		if err != nil {
			t.Fatal(err)
		}
		checkRefusal(t, a, domain.CodeInvalid)
	}
}
