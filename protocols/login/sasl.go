package login

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/emersion/go-sasl"

	"github.com/dirpost/dirpost/directory"
	"github.com/dirpost/dirpost/protocols"
)

// Faults of the exchange, before any credentials are judged.
var (
	ErrMechanism = errors.New("no such mechanism")             // SMTP 504 5.5.4, IMAP NO
	ErrPrivacy   = errors.New("mechanism needs TLS")           // SMTP 538 5.7.11, IMAP NO [PRIVACYREQUIRED]
	ErrMalformed = errors.New("malformed authentication data") // SMTP 501 5.5.2, IMAP BAD
)

// maxResponse bounds one client response: authorization identity, name and password of PLAIN.
const maxResponse = 2*maxName + maxPassword + 2

// Mechanisms lists what to offer this peer, best first. EXTERNAL is among them only when it would succeed: clients take
// it when they have any certificate, and give up when it fails. Plaintext passwords are asked for only where nobody can
// overhear them. While the directory is down EXTERNAL is not offered.
func (d *Door) Mechanisms(ctx context.Context, peer protocols.Peer, s directory.Service) []string {
	var offer []string
	if d.external(ctx, peer, s) {
		offer = append(offer, sasl.External)
	}
	if peer.Private() {
		offer = append(offer, sasl.Plain, sasl.Login)
	}
	return offer
}

// external reports whether the certificate of the connection is a way in by itself. Nothing is logged: most certificates
// are shown by habit.
func (d *Door) external(ctx context.Context, peer protocols.Peer, s directory.Service) bool {
	acct, err := d.certificate(ctx, peer)
	if err != nil {
		return false
	}
	_, err = d.satisfy(ctx, peer, acct, directory.ByCertificate)
	return err == nil && permit(acct, peer, s) == nil
}

// SASL starts an exchange with this peer. When it ends well, done is called with the identity before the server reports
// success. Errors are ErrMechanism or ErrPrivacy; those of the server's Next wrap ErrMalformed or are Authenticate's.
// EXTERNAL may be tried without having been offered: the answer then tells why not.
func (d *Door) SASL(
	ctx context.Context, peer protocols.Peer, s directory.Service, mechanism string, done func(directory.Identity),
) (sasl.Server, error) {
	e := &exchange{}
	enter := func(c Credentials) error {
		c.Service = s
		id, err := d.Authenticate(ctx, peer, c)
		if err == nil {
			done(id)
		}
		e.judged = true
		return err
	}
	password := func(authzid, login, password string) error {
		return enter(Credentials{AuthzID: authzid, Login: login, Password: password})
	}
	switch strings.ToUpper(mechanism) {
	case sasl.External:
		e.server = sasl.NewExternalServer(func(authzid string) error {
			return enter(Credentials{AuthzID: authzid, External: true})
		})
		return e, nil
	case sasl.Plain:
		e.server = sasl.NewPlainServer(password)
	case sasl.Login:
		e.server = &loginServer{authenticate: password}
	default:
		return nil, fmt.Errorf("%w: %q", ErrMechanism, clip(mechanism))
	}
	if !peer.Private() {
		return nil, fmt.Errorf("%w: %s", ErrPrivacy, mechanism)
	}
	return e, nil
}

// An exchange keeps a sasl.Server from what it does not expect: responses after the end, endless ones, and nil where an
// empty one is meant (nil is "no initial response", which only the first can be). An empty challenge goes out as nil:
// go-imap's server would write any other as "=", which is no base64 (RFC 9051 section 6.2.2).
type exchange struct {
	server  sasl.Server
	started bool
	judged  bool // credentials were complete and Authenticate has spoken
	over    bool
}

// Next takes a response of the client. See sasl.Server.
func (e *exchange) Next(response []byte) (challenge []byte, done bool, err error) {
	if e.over {
		return nil, false, fmt.Errorf("%w: a response after the end", ErrMalformed)
	}
	if len(response) > maxResponse {
		e.over = true
		return nil, false, fmt.Errorf("%w: a response of more than %d octets", ErrMalformed, maxResponse)
	}
	if e.started && response == nil {
		response = []byte{}
	}
	e.started = true
	challenge, done, err = e.server.Next(response)
	e.over = done || err != nil
	if err != nil && !e.judged {
		err = fmt.Errorf("%w: %w", ErrMalformed, err)
	}
	if err != nil {
		return nil, false, err
	}
	if len(challenge) == 0 {
		challenge = nil
	}
	return challenge, done, nil
}

// A loginServer speaks LOGIN, which no RFC defines and old clients know only: name and password in two responses to
// prompts. The name may come as the initial response.
type loginServer struct {
	authenticate func(authzid, login, password string) error
	named        bool
	login        string
}

// Next takes a response of the client.
func (l *loginServer) Next(response []byte) (challenge []byte, done bool, err error) {
	switch {
	case !l.named && response == nil:
		return []byte("Username:"), false, nil
	case !l.named:
		l.named, l.login = true, string(response)
		return []byte("Password:"), false, nil
	default:
		return nil, true, l.authenticate("", l.login, string(response))
	}
}
