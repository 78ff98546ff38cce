// Package forgetful is for tests: a server that does not hear one request, as a
// cluster does when not all of its servers know yet who answers it.
package forgetful

import (
	"bytes"
	"net"
	"sync/atomic"

	"github.com/nats-io/nats-server/v2/server"
)

// Server is a server whose clients lose one request, once, whichever of them sends
// it first. Pass it to nats.InProcessServer.
type Server struct {
	*server.Server
	prefix []byte
	lost   atomic.Bool
}

// New makes a server that does not hear the first request to a subject with this
// prefix. It goes to one in lower case, to which nobody listens.
func New(s *server.Server, prefix string) *Server {
	return &Server{Server: s, prefix: []byte(prefix)}
}

// Lost reports whether a request got lost. It may be called at any time.
func (s *Server) Lost() bool { return s.lost.Load() }

// InProcessConn returns a connection on which the request gets lost.
func (s *Server) InProcessConn() (net.Conn, error) {
	c, err := s.Server.InProcessConn()
	if err != nil {
		return nil, err
	}
	return conn{c, s}, nil
}

type conn struct {
	net.Conn
	server *Server
}

// Write passes on what the client library has buffered; it breaks no line of the
// protocol in two but for bodies that are larger than its buffer.
func (c conn) Write(b []byte) (int, error) {
	prefix := c.server.prefix
	if bytes.Contains(b, prefix) && c.server.lost.CompareAndSwap(false, true) {
		b = bytes.Replace(b, prefix, bytes.ToLower(prefix), 1)
	}
	return c.Conn.Write(b)
}
