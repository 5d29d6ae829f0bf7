// Package login is the one door of everybody who wants to be somebody: every protocol hands it credentials and gets an
// identity or an error. It alone knows passwords, certificates, account states, allowed services and networks; protocol
// code never asks the directory who may come in.
//
// There are three answers besides "yes", the sentinels of package directory, and every error of this package wraps
// exactly one of them or is about the exchange itself ([ErrMalformed], [ErrMechanism], [ErrPrivacy]):
//
//	ErrWrong        the credentials do not fit
//	ErrRefused      they fit, or were not looked at, and policy says no; the client hears the words of ErrWrong
//	ErrUnavailable  nobody can tell now: a temporary failure, never held against the client
//
// Start reading at [Door.Authenticate], the page that lists what happens to a login; policy.go has the rules it applies,
// sasl.go how credentials arrive (RFC 4422), and brake.go who guesses passwords. Who is in is known here too: stay.go ends
// sessions when the directory tells that it took away what let them in, sweep.go when time does, or when nothing tells.
package login

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"github.com/go-ldap/ldap/v3"

	"github.com/dirpost/dirpost/directory"
	"github.com/dirpost/dirpost/directory/auth"
	"github.com/dirpost/dirpost/directory/lookup"
	"github.com/dirpost/dirpost/protocols"
)

// Options of a [Door]. The zero value is usable.
type Options struct {
	Log *slog.Logger     // nil = discard
	Now func() time.Time // nil = time.Now
	// FailureTime is the beat of failures: the answer to a failed login comes a whole number of FailureTimes after its
	// question, so that the time does not tell whether the account exists. It should be longer than a bind takes.
	// 0 = 400 ms.
	FailureTime time.Duration
	// WrongPerPeer and WrongPerAccount bound how many different wrong passwords are looked at in five minutes from one address
	// (in IPv6 one /64), programs on this machine excepted, and for one account. What is above is answered with [ErrBraked].
	// 0 = any number.
	WrongPerPeer, WrongPerAccount int
	// Observe, when not nil, is told of each login when it is decided; err is as [Door.Authenticate] returns it.
	Observe func(service directory.Service, err error)
	// Ended, when not nil, is told of each session that the directory ended.
	Ended func(service directory.Service)
}

// Credentials are what somebody says to be let in.
type Credentials struct {
	Service  directory.Service // what for
	AuthzID  string            // whom to act as; empty = oneself
	Login    string            // uid or address
	Password string
	External bool // by the TLS certificate of the connection; Login and Password are not looked at
}

// A Door decides who comes in. All methods may be called concurrently.
type Door struct {
	accounts *lookup.Resolver
	prover   *auth.Authenticator
	opts     Options
	brake    *brake
	stays    stays
	sweeping sync.Mutex             // one at a time; guards what follows
	looked   time.Time              // when seen was read
	seen     map[string]*ldap.Entry // by name: accounts that somebody is in as, where nothing tells of changes
}

// New returns a Door that finds accounts with r and lets a prove them.
func New(r *lookup.Resolver, a *auth.Authenticator, opts Options) *Door {
	if opts.Log == nil {
		opts.Log = slog.New(slog.DiscardHandler)
	}
	if opts.Now == nil {
		opts.Now = time.Now
	}
	if opts.FailureTime == 0 {
		opts.FailureTime = 400 * time.Millisecond
	}
	return &Door{accounts: r, prover: a, opts: opts, brake: newBrake(opts.WrongPerPeer, opts.WrongPerAccount), stays: newStays()}
}

// Authenticate returns who the peer is, or an error that wraps exactly one of directory.ErrWrong, ErrRefused and
// ErrUnavailable. Policy is judged after the proof, so that who cannot prove anything learns nothing.
func (d *Door) Authenticate(ctx context.Context, peer protocols.Peer, c Credentials) (id directory.Identity, err error) {
	defer func(started time.Time) {
		if d.opts.Observe != nil {
			d.opts.Observe(c.Service, err)
		}
		if err != nil {
			d.fail(ctx, peer, c, err, started)
		}
	}(time.Now())
	since := d.opts.Now() // what changes from here on may have changed what is judged

	// What cannot be a name or a password goes no further, and no password is taken where others could read it.
	if err := c.check(); err != nil {
		return id, err
	}
	if !c.External && !peer.Private() {
		return id, fmt.Errorf("%w: a password over a connection in the clear", directory.ErrRefused)
	}

	// The proof: a bind, or what the certificate of the connection maps to.
	acct, method, err := d.prove(ctx, peer, c)
	if err != nil {
		return id, err
	}

	// The account may want another proof, or both.
	method, err = d.satisfy(ctx, peer, acct, method)
	if err != nil {
		return id, err
	}

	// State, service, network.
	if err := permit(acct, peer, c.Service); err != nil {
		return id, err
	}

	// Whom to act as. Roles and trusted proxies are not served yet.
	if !oneself(acct, c.AuthzID) {
		return id, fmt.Errorf("%w: %s may not act as %q", directory.ErrRefused, acct.Login, c.AuthzID)
	}

	d.opts.Log.DebugContext(ctx, "login", "conn", peer.ID, "peer", peer.String(), "service", c.Service,
		"login", acct.Login, "method", method)
	return directory.Identity{Account: acct, Method: method, Since: since}, nil
}

// prove finds the account and has the directory check the credentials.
func (d *Door) prove(ctx context.Context, peer protocols.Peer, c Credentials) (directory.Account, directory.Method, error) {
	if c.External {
		acct, err := d.certificate(ctx, peer)
		return acct, directory.ByCertificate, err
	}
	acct, err := d.password(ctx, peer, c)
	return acct, directory.ByPassword, err
}

// password finds the account and has the directory check the password, unless there were too many wrong ones.
func (d *Door) password(ctx context.Context, peer protocols.Peer, c Credentials) (directory.Account, error) {
	network, tag := networkOf(peer), d.brake.tagOf(c)
	if err := d.brake.peer(network, d.opts.Now()); err != nil {
		return directory.Account{}, err
	}
	acct, err := d.accounts.Account(ctx, c.Login)
	if err == nil {
		err = d.brake.account(acct.Entry, network, tag, d.memory(), d.opts.Now())
	}
	if err == nil {
		err = d.prover.Password(ctx, acct, c.Password)
	}
	switch err = verdict(err); {
	case err == nil:
		d.brake.succeeded(acct.Entry, network, tag, d.opts.Now())
	case errors.Is(err, directory.ErrWrong):
		d.brake.failed(acct.Entry, network, tag, d.opts.Now())
	}
	return acct, err
}

// memory is how long a wrong password is known to be wrong: until another one is set, if that is heard of.
func (d *Door) memory() time.Duration {
	if d.accounts.Prompt() {
		return brakeTime
	}
	return repeatTime
}

// certificate returns the account that the certificate of the connection proves. A resumed TLS session brings the
// certificate of the one it resumes, and is judged anew like any other.
func (d *Door) certificate(ctx context.Context, peer protocols.Peer) (directory.Account, error) {
	// Before the end of the handshake the peer has not shown that it has the key.
	if peer.TLS == nil || !peer.TLS.HandshakeComplete || len(peer.TLS.PeerCertificates) == 0 {
		return directory.Account{}, fmt.Errorf("%w: no certificate was presented", directory.ErrWrong)
	}
	acct, err := d.prover.Certificate(ctx, peer.TLS.PeerCertificates)
	return acct, verdict(err)
}

// satisfy holds the proof against the account's policy and returns how it was met.
func (d *Door) satisfy(ctx context.Context, peer protocols.Peer, acct directory.Account, by directory.Method) (directory.Method, error) {
	switch acct.AuthPolicy {
	case "", directory.Either:
		return by, nil
	case directory.PasswordOnly:
		if by == directory.ByPassword {
			return by, nil
		}
	case directory.CertificateOnly:
		if by == directory.ByCertificate {
			return by, nil
		}
	case directory.Both:
		if by == directory.ByPassword {
			return directory.ByBoth, d.second(ctx, peer, acct)
		}
	}
	return "", fmt.Errorf("%w: policy of %s is %q, the proof was by %s", directory.ErrRefused, acct.Login, acct.AuthPolicy, by)
}

// second checks the certificate that has to come with a password.
func (d *Door) second(ctx context.Context, peer protocols.Peer, acct directory.Account) error {
	other, err := d.certificate(ctx, peer)
	switch {
	case errors.Is(err, directory.ErrUnavailable):
		return err
	case err != nil:
		// The text only: the password was right, so this is no case of wrong credentials.
		return fmt.Errorf("%w: the password of %s fits, the certificate does not: %v", directory.ErrRefused, acct.Login, err)
	case other.DN != acct.DN:
		return fmt.Errorf("%w: the password is of %s, the certificate of %s", directory.ErrRefused, acct.Login, other.Login)
	}
	return nil
}

// fail logs a login that was not let in, and keeps the time of the answer from telling why.
func (d *Door) fail(ctx context.Context, peer protocols.Peer, c Credentials, err error, started time.Time) {
	level := slog.LevelInfo
	if errors.Is(err, directory.ErrUnavailable) && !errors.Is(err, ErrBraked) {
		level = slog.LevelWarn
	}
	d.opts.Log.Log(ctx, level, "login failed", "conn", peer.ID, "peer", peer.String(), "service", c.Service,
		"login", clip(c.Login), "external", c.External, "err", err)
	if level == slog.LevelWarn {
		return
	}
	beat := d.opts.FailureTime
	select {
	case <-time.After(beat - time.Since(started)%beat):
	case <-ctx.Done():
	}
}

// verdict turns what the directory says into one of the three answers. What is not known to be a "no" is an outage.
func verdict(err error) error {
	switch {
	case err == nil:
		return nil
	case errors.Is(err, directory.ErrWrong), errors.Is(err, directory.ErrRefused), errors.Is(err, directory.ErrUnavailable):
		return err
	case errors.Is(err, directory.ErrNotFound):
		return fmt.Errorf("%w: %w", directory.ErrWrong, err)
	case errors.Is(err, directory.ErrAmbiguous):
		return fmt.Errorf("%w: %w", directory.ErrRefused, err)
	default:
		return fmt.Errorf("%w: %w", directory.ErrUnavailable, err)
	}
}
