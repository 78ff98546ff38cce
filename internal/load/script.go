package load

import (
	"context"
	"fmt"
	"strconv"
	"time"

	"reprise/contract"
	"reprise/domain"
)

// users is how many users share the sessions of a load without a User.
const users = 64

// script is the life of a session.
var script = []struct {
	verb domain.Verb
	body string
}{
	{domain.VerbCreate, `{"chains":[{"id":"c","steps":[{"id":"a","manual":true,"input":{"order":"A-1007"}},{"id":"b","manual":true}]}],"metadata":{"customer":"c-4711"}}`},
	{domain.VerbStart, `{}`},
	{domain.VerbMetadataSet, `{"set":{"stage":"packing"}}`},
	{domain.VerbStepSucceed, `{"chain":"c","step":"a","output":{"weight":1250}}`},
	{domain.VerbPause, `{}`},
	{domain.VerbResume, `{}`},
	{domain.VerbMetadataSet, `{"set":{"stage":"shipping"}}`},
	{domain.VerbStepSucceed, `{"chain":"c","step":"b"}`},
}

// step sends the next command of a session; a session at its end is followed by a
// new one.
func (c *client) step(ctx context.Context, i int) {
	s := &c.sessions[i]
	if s.line == len(script) {
		*s = session{life: s.life + 1}
	}
	if line := script[s.line]; c.send(ctx, i, line.verb, line.body) {
		s.line++
	}
}

// remove deletes all lives of a session.
func (c *client) remove(ctx context.Context, i int) {
	s := &c.sessions[i]
	last := *s
	for s.life = 0; s.life <= last.life; s.life++ {
		if s.life < last.life || last.line > 0 {
			c.send(ctx, i, domain.VerbDelete, `{"force":true}`)
		}
	}
	*s = session{life: last.life + 1}
}

// subject names a session of the client's.
func (c *client) subject(i int, verb domain.Verb) string {
	n := c.first + i
	user := c.cfg.User
	if user == "" {
		user = fmt.Sprintf("u%d", n%users)
	}
	return c.cfg.Names.Command(user, fmt.Sprintf("%s-%d-%d", c.cfg.Run, n, c.sessions[i].life), verb)
}

// send sends one command and notes its answer. It reports whether the script goes
// on: also after an answer that did not come or that is no, since that of the same
// command would be no again; not after one that asks to come later.
func (c *client) send(ctx context.Context, i int, verb domain.Verb, body string) bool {
	subject := c.subject(i, verb)
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), answerTimeout)
	defer cancel()
	c.sent.Add(1)
	began := time.Now()
	msg, err := c.nc.RequestWithContext(ctx, subject, []byte(body))
	took := time.Since(began)
	if err != nil {
		c.result.Failed++
		c.complain(verb, err.Error())
		return true
	}
	c.result.Commands++
	_ = c.result.Latency.RecordValue(min(max(int64(took), shortest), longest)) // it is in these bounds
	if sentence := msg.Header.Get(contract.HeaderError); sentence != "" {
		c.result.Refused++
		c.complain(verb, sentence)
	}
	return msg.Header.Get(contract.HeaderErrorCode) != busy
}

// busy is the number of the answer that asks to come later.
var busy = strconv.Itoa(contract.Status(domain.CodeBusy))

func (c *client) complain(verb domain.Verb, text string) {
	if c.result.Complaint == "" {
		c.result.Complaint = string(verb) + ": " + text
	}
}
