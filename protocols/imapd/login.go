package imapd

import (
	"errors"

	"github.com/emersion/go-sasl"

	"github.com/dirpost/dirpost/directory"
	"github.com/dirpost/dirpost/protocols/login"
)

// errFailures ends the connection of a client that guesses.
var errFailures = errors.New("too many failed logins")

// Login is LOGIN (RFC 9051 section 6.2.3). The engine has refused it already where a password could be overheard.
func (s *session) Login(name, password string) error {
	if s.failures >= s.server.opts.MaxAuthFailures {
		return s.reply(errFailures)
	}
	id, err := s.server.door.Authenticate(s.ctx, s.who(), login.Credentials{
		Service: directory.IMAP, Login: name, Password: password,
	})
	if err != nil {
		return s.failed(err)
	}
	return s.admit(id)
}

// AuthenticateMechanisms lists what AUTH= offers.
func (s *session) AuthenticateMechanisms() []string {
	return s.server.door.Mechanisms(s.ctx, s.who(), directory.IMAP)
}

// Authenticate is AUTHENTICATE (RFC 9051 section 6.2.2).
func (s *session) Authenticate(mechanism string) (sasl.Server, error) {
	if s.failures >= s.server.opts.MaxAuthFailures {
		return nil, s.reply(errFailures)
	}
	e := &exchange{session: s}
	var err error
	e.server, err = s.server.door.SASL(s.ctx, s.who(), directory.IMAP, mechanism, func(id directory.Identity) { e.id = id })
	if err != nil {
		return nil, s.reply(err)
	}
	return e, nil
}

// failed counts a failed login. An outage is not the client's fault.
func (s *session) failed(err error) error {
	if errors.Is(err, directory.ErrWrong) || errors.Is(err, directory.ErrRefused) {
		s.failures++
	}
	if s.failures >= s.server.opts.MaxAuthFailures {
		s.wire.finish(errFailures)
	}
	return s.reply(err)
}

// An exchange ends a SASL exchange in the session's words.
type exchange struct {
	session *session
	server  sasl.Server
	id      directory.Identity
}

// Next implements sasl.Server.
func (e *exchange) Next(response []byte) (challenge []byte, done bool, err error) {
	challenge, done, err = e.server.Next(response)
	switch {
	case err != nil:
		return nil, false, e.session.failed(err)
	case done:
		return nil, true, e.session.admit(e.id)
	}
	return challenge, false, nil
}
