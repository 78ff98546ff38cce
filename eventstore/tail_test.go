package eventstore

import (
	"context"
	"fmt"
	"testing"
)

// reeled is a driver that has a history of one session, a commit a version at
// tenfold sequences, without what it lacks.
type reeled struct {
	Driver

	lacks uint64
}

func (r reeled) Get(_ context.Context, seq uint64) (Message, error) {
	if seq == r.lacks {
		return Message{}, ErrNotFound
	}
	return reeledAt(seq / 10), nil
}

func reeledAt(version uint64) Message {
	return Message{
		Key: Key{User: "ada", Session: "s"}, Seq: 10 * version, Prev: 10 * (version - 1), Guarded: true,
		Header: map[string]string{headerCEID: fmt.Sprintf("ada.s.%d", version)},
	}
}

// What a session has had since its last whole block is there when the walk comes
// to it, as far back as it can be had, and little more.
func TestTailFetchesWhatIsBehindTheLastBlock(t *testing.T) {
	const last, first = 2*BlockSize + 100, 2*BlockSize + 1
	for _, test := range []struct {
		name   string
		lacks  uint64
		oldest uint64
	}{
		{"all of it", 0, first},
		{"up to what can't be had", 10 * (first + 50), first + 51},
	} {
		t.Run(test.name, func(t *testing.T) {
			rest := tail{s: &Store{driver: reeled{lacks: test.lacks}}, head: reeledAt(last), from: BlockOf(last)}
			rest.start(t.Context())
			have := rest.wait()
			for version := test.oldest; version < last; version++ {
				if have[10*version].Seq != 10*version {
					t.Fatalf("version %d was not fetched", version)
				}
			}
			if most := int(last-test.oldest) + 1; len(have) > most {
				t.Errorf("%d messages were fetched, %d at most are behind the block", len(have), most)
			}
			walk := &ahead{have: have} // without a store to ask
			if before, err := walk.before(reeledAt(last)); err != nil || before.Seq != 10*(last-1) {
				t.Errorf("the walk goes on to %d, %v", before.Seq, err)
			}
		})
	}
}

func TestATailThatWasNotStartedHasNothing(t *testing.T) {
	rest := tail{}
	if have := rest.wait(); have != nil {
		t.Errorf("it has %v", have)
	}
	rest.close()
}
