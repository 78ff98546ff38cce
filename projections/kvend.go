package projections

import (
	"context"
	"encoding/json"
	"fmt"
	"strings"
	"time"

	"github.com/nats-io/nats.go/jetstream"
)

const (
	// endTimeout bounds one question for the end of a bucket.
	endTimeout = 5 * time.Second
	// codeNoMessage is the server's code where there is no such message.
	codeNoMessage jetstream.ErrorCode = 10037
)

// endOf makes the function that asks the leader of a bucket for the sequence of its
// last message. The client library would ask any replica.
func endOf(js jetstream.JetStream, cfg KVConfig) func(context.Context) (uint64, error) {
	subject := apiPrefix(js) + "STREAM.MSG.GET." + kvStreamPrefix + cfg.Bucket
	query := fmt.Appendf(nil, `{"last_by_subj":%q}`, kvSubjectPrefix+cfg.Bucket+".>")
	return func(ctx context.Context) (uint64, error) {
		ctx, cancel := context.WithTimeout(ctx, endTimeout)
		defer cancel()
		msg, err := js.Conn().RequestWithContext(ctx, subject, query)
		if err != nil {
			return 0, err
		}
		var answer struct {
			Error   *jetstream.APIError `json:"error"`
			Message struct {
				Seq uint64 `json:"seq"`
			} `json:"message"`
		}
		err = json.Unmarshal(msg.Data, &answer)
		switch {
		case err != nil:
		case answer.Error != nil && answer.Error.ErrorCode == codeNoMessage:
		case answer.Error != nil:
			err = answer.Error
		}
		return answer.Message.Seq, err
	}
}

// apiPrefix is how subjects of the JetStream API begin.
func apiPrefix(js jetstream.JetStream) string {
	switch o := js.Options(); {
	case o.APIPrefix != "":
		return strings.TrimSuffix(o.APIPrefix, ".") + "."
	case o.Domain != "":
		return "$JS." + o.Domain + ".API."
	}
	return jetstream.DefaultAPIPrefix
}
