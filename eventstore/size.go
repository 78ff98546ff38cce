package eventstore

import "reprise/domain"

// What the parts of an aggregate take in memory, in bytes: their Go structs,
// rounded up for the allocator, with pointers to them and short strings. sizeMap
// is that of metadata whatever is in it. BenchmarkAggregateSize compares.
const (
	sizeAggregate = 800
	sizeChain     = 224
	sizeStep      = 384
	sizeWait      = 24
	sizeFailure   = 256
	sizeRecent    = 152
	sizeMap       = 256
	sizeEntry     = 64
)

// aggregateSize estimates the memory of an aggregate in bytes. States share
// what did not change between them, so it errs on the high side.
func aggregateSize(agg Aggregate) int64 {
	s := agg.Session
	n := sizeAggregate + len(s.Recent)*sizeRecent + failureSize(s.Error)
	if len(s.Metadata) > 0 {
		n += sizeMap
	}
	for k, v := range s.Metadata {
		n += sizeEntry + len(k) + len(v)
	}
	for _, c := range s.Chains {
		n += sizeChain + len(c.Title) + len(c.WaitsFor)*sizeWait
		for _, st := range c.Steps {
			n += sizeStep + len(st.WaitsFor)*sizeWait + len(st.Title) + len(st.Input) + len(st.Output) + failureSize(st.Error)
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
