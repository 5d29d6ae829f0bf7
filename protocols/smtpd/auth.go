package smtpd

import (
	"errors"
	"fmt"

	"github.com/emersion/go-sasl"
	"github.com/emersion/go-smtp"

	"github.com/dirpost/dirpost/directory"
	"github.com/dirpost/dirpost/protocols/listen"
)

// AuthMechanisms is what EHLO offers this client: nothing, but on submission.
func (s *session) AuthMechanisms() []string {
	if s.server.door == nil {
		return nil
	}
	return s.server.door.Mechanisms(s.server.ctx, s.peer, directory.Submission)
}

// Auth begins an exchange (RFC 4954 section 4).
func (s *session) Auth(mechanism string) (sasl.Server, error) {
	if s.server.door == nil {
		return nil, toLibrary(replyNoAuth)
	}
	if _, err := s.way(); err != nil && !errors.Is(err, replyFirstAuth) {
		return nil, toLibrary(reply(err))
	}
	server, err := s.server.door.SASL(s.server.ctx, s.peer, directory.Submission, mechanism, s.loggedIn)
	if err != nil {
		return nil, s.refuse(s.server.ctx, "AUTH", err, &s.tally.errors, s.server.opts.MaxErrors)
	}
	return &exchange{server, s}, nil
}

// loggedIn opens the way to who has logged in.
func (s *session) loggedIn(id directory.Identity) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.stay = s.server.door.Enter(s.peer, directory.Submission, id, s.dismiss)
	s.path, s.login = s.server.desks.For(id, s.stay.Used), id.Login
	s.wire.answers.Store(0)
	s.log = s.log.With("login", id.Login)
}

// dismiss ends the session of who is not let in any more. What he was about to hand in is not taken.
func (s *session) dismiss(error) {
	s.end(replyDismissed)
	s.mu.Lock()
	s.letGo()
	s.mu.Unlock()
	listen.End(s.wire)
}

// An exchange gives the errors of a sasl.Server in go-smtp's form, and ends a session that goes on guessing.
type exchange struct {
	server  sasl.Server
	session *session
}

// Next takes a response of the client.
func (e *exchange) Next(response []byte) (challenge []byte, done bool, err error) {
	s := e.session
	challenge, done, err = e.server.Next(response)
	if errors.Is(err, directory.ErrUnavailable) {
		err = fmt.Errorf("%w: %w", replyNoTell, err) // RFC 4954 section 6 has 454 where all other commands have 451
	}
	if err != nil {
		return nil, false, s.refuse(s.server.ctx, "AUTH", err, &s.tally.wrongAuths, s.server.opts.MaxAuthFailures-1)
	}
	return challenge, done, nil
}

var (
	_ smtp.AuthSession = (*session)(nil)
	_ smtp.LMTPSession = (*session)(nil)
)
