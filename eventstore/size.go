package eventstore

import "reprise/domain"

// What the parts of an aggregate take in memory, in bytes: their Go structs,
// rounded up for the allocator, with pointers to them and short strings.
const (
	sizeAggregate = 1024
	sizeChain     = 224
	sizeStep      = 640
	sizeFailure   = 256
	sizeRecent    = 160
	sizeEntry     = 64
)

// aggregateSize estimates the memory of an aggregate in bytes. States share
// what did not change between them, so it errs on the high side.
func aggregateSize(agg Aggregate) int64 {
	s := agg.Session
	n := sizeAggregate + len(s.Recent)*sizeRecent
	for k, v := range s.Metadata {
		n += sizeEntry + len(k) + len(v)
	}
	n += failureSize(s.Error)
	for _, c := range s.Chains {
		n += sizeChain + len(c.Title)
		for _, st := range c.Steps {
			n += sizeStep + len(st.Title) + len(st.Input) + len(st.Output) + failureSize(st.Error)
		}
	}
	return int64(n)
}

func failureSize(f *domain.Failure) int {
	if f == nil {
		return 0
	}
	return sizeFailure + len(f.Message) + len(f.Stack)
}
