package eventstore_test

import (
	"context"
	"testing"

	"reprise/eventstore"
	"reprise/eventstore/storetest"
)

func TestMemory(t *testing.T) {
	storetest.Run(t, func(*testing.T) storetest.Backend {
		m := eventstore.NewMemory()
		return storetest.Backend{
			Driver: m,
			Foreign: func(_ context.Context, key eventstore.Key, body []byte) error {
				m.Inject(key, nil, body)
				return nil
			},
		}
	})
}
