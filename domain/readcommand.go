package domain

import "unicode/utf8"

// commandReaders read the commands that make up almost all of what is sent, as
// far as they are written as Marshal writes them; see eventReader.
var commandReaders = map[Verb]func(*eventReader) Command{
	VerbCreate:      readCreate,
	VerbMetadataSet: readSetMetadata,
	VerbStepSucceed: readSucceedManual,
	VerbClaim:       readClaim,
	VerbHeartbeat:   readHeartbeat,
	VerbSucceed:     readSucceed,
}

// readCommand reads the body of a usual command. It returns nil for anything
// else, also for what is legal but rare; DecodeStrict has to read that, and to
// say what is wrong with it. It keeps nothing of body.
func readCommand(verb Verb, body []byte) Command {
	read, ok := commandReaders[verb]
	if verb == VerbBatch {
		read, ok = readBatch, true
	}
	if !ok {
		return nil
	}
	r := eventReader{rest: body}
	c := read(&r)
	if r.failed || len(r.rest) > 0 || !utf8.Valid(body) {
		return nil
	}
	return c
}

func readCreate(r *eventReader) Command {
	c := new(Create)
	r.object(func() {
		if r.field("chains") {
			c.Chains = []ChainDef{}
			r.list(func() { c.Chains = append(c.Chains, r.chainDef()) })
		}
		if r.field("metadata") {
			c.Metadata = r.textMap()
		}
		if r.field("keepOpen") {
			c.KeepOpen = r.true()
		}
		if r.field("onFailure") {
			c.OnFailure = OnFailure(r.textOr(string(FailStop)))
		}
		if r.field("timeout") {
			c.Timeout = r.duration()
		}
		if r.field("priority") {
			c.Priority = r.int()
		}
	})
	return c
}

// readBatch reads a batch of usual commands, and of those that say nothing but
// their verb.
func readBatch(r *eventReader) Command {
	b := &Batch{Mode: BatchAll}
	r.object(func() {
		if r.field("mode") {
			b.Mode = BatchMode(r.textOr(string(BatchAll)))
		}
		if r.field("commands") {
			r.list(func() { b.Commands = append(b.Commands, r.batched()) })
		}
	})
	if n := len(b.Commands); n == 0 || n > MaxBatch || b.Mode != BatchAll && b.Mode != BatchEach {
		r.fail()
	}
	return b
}

// batched reads one command of a batch.
func (r *eventReader) batched() (c Command) {
	r.object(func() {
		if !r.field("verb") {
			r.fail()
			return
		}
		verb := Verb(r.text())
		read, usual := commandReaders[verb]
		newCommand, ok := commands[verb]
		switch {
		case !ok || !inBatchAllowed(verb):
			r.fail()
		case !r.field("body"):
			c = newCommand()
		case usual:
			c = read(r)
		default:
			r.expect("{}")
			c = newCommand()
		}
	})
	return c
}

func readSetMetadata(r *eventReader) Command {
	c := new(SetMetadata)
	r.object(func() {
		if r.field("set") {
			c.Set = r.textMap()
		}
		if r.field("remove") {
			c.Remove = r.texts()
		}
	})
	return c
}

func readSucceedManual(r *eventReader) Command {
	c := new(SucceedManual)
	r.object(func() {
		r.place(&c.Chain, &c.Step)
		if r.field("output") {
			c.Output = r.payload()
		}
	})
	return c
}

func readClaim(r *eventReader) Command {
	c := new(Claim)
	r.object(func() {
		r.place(&c.Chain, &c.Step)
		if r.field("lease") {
			c.Lease = r.duration()
		}
	})
	return c
}

func readHeartbeat(r *eventReader) Command {
	c := new(Heartbeat)
	r.object(func() {
		r.place(&c.Chain, &c.Step)
		if r.field("attempt") {
			c.Attempt = r.int()
		}
		if r.field("progress") {
			c.Progress = r.payload()
		}
	})
	return c
}

func readSucceed(r *eventReader) Command {
	c := new(Succeed)
	r.object(func() {
		r.place(&c.Chain, &c.Step)
		if r.field("attempt") {
			c.Attempt = r.int()
		}
		if r.field("output") {
			c.Output = r.payload()
		}
		if r.field("claimNext") {
			c.ClaimNext = r.true()
		}
		if r.field("actions") {
			c.Actions = r.texts()
		}
		if r.field("lease") {
			c.Lease = r.duration()
		}
	})
	return c
}
