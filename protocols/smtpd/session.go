package smtpd

import (
	"bufio"
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"runtime"
	"strings"
	"sync"
	"time"

	"github.com/emersion/go-smtp"

	"github.com/dirpost/dirpost/directory"
	"github.com/dirpost/dirpost/protocols"
	"github.com/dirpost/dirpost/protocols/delivery/trace"
	"github.com/dirpost/dirpost/protocols/listen"
	"github.com/dirpost/dirpost/protocols/login"
	"github.com/dirpost/dirpost/storage"
)

// A session is what one client does between its greeting and its leave; STARTTLS begins another. go-smtp calls one
// method for each command. Only Data and LMTPData may run beside the others: a message that comes in chunks (BDAT,
// RFC 3030) is taken in by a goroutine of its own while the commands between the chunks are answered.
type session struct {
	server *Server
	smtp   *smtp.Conn
	wire   *wire
	peer   protocols.Peer
	log    *slog.Logger
	began  time.Time

	mu       sync.Mutex // guards what follows
	path     path       // nil while a login is needed first
	login    string     // uid of who has logged in
	stay     *login.Stay
	env      protocols.Envelope
	names    []string        // recipients as go-smtp wrote them: what it wants to be told of them by
	size     int64           // declared with MAIL, or 0
	taking   int             // Data or LMTPData that run; two only when one was abandoned
	release  func()          // a transaction with recipients may go on during a shutdown, until this is called; or nil
	farewell protocols.Reply // the answer to all that comes now, if there is one
	tally    tally
}

// A tally counts what a session did, for its limits and its line in the log.
type tally struct {
	messages, rcpts                  int // taken
	errors, refusedRcpts, wrongAuths int
	last                             error
}

// newSession is called at the first EHLO, HELO or LHLO, and at the first after STARTTLS.
func (s *Server) newSession(c *smtp.Conn) (smtp.Session, error) {
	wire := wireBelow(c.Conn())
	if wire.hung.Load() {
		return nil, toLibrary(replyAborted)
	}
	peer := listen.PeerOf(c.Conn())
	return &session{
		server: s,
		smtp:   c,
		wire:   wire,
		peer:   peer,
		log:    s.log.With("conn", peer.ID, "peer", peer.String()),
		began:  time.Now(),
		path:   s.open,
	}, nil
}

// Mail begins a transaction (RFC 5321 section 4.1.1.2).
func (s *session) Mail(from string, opts *smtp.MailOptions) error {
	ctx := s.server.ctx
	sender, err := s.mail(ctx, from, opts.Size)
	if err != nil {
		return s.refuse(ctx, "MAIL", err, &s.tally.errors, s.server.opts.MaxErrors)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.env = protocols.Envelope{
		ID:       strings.ToLower(rand.Text()[:16]), // 80 random bits
		Peer:     s.peer,
		Helo:     s.smtp.Hostname(),
		Protocol: s.keyword(),
		From:     sender,
		Login:    s.login,
		Received: s.server.opts.Now(),

		PerRecipient: s.server.smtp.LMTP,
	}
	s.names, s.size = nil, opts.Size
	return nil
}

// mail judges the arguments of MAIL.
func (s *session) mail(ctx context.Context, from string, size int64) (directory.Address, error) {
	path, err := s.way()
	if err != nil {
		return directory.Address{}, err
	}
	if most := s.server.opts.MaxMessages; most >= 0 && s.counted().messages >= most {
		return directory.Address{}, s.end(replyMany)
	}
	if most := s.server.opts.MaxBytes; most >= 0 && size > most {
		return directory.Address{}, fmt.Errorf("%w: %d octets declared", storage.ErrTooLarge, size)
	}
	sender, err := parseSender(from)
	if err != nil {
		return directory.Address{}, err
	}
	return sender, path.Sender(ctx, sender)
}

// Rcpt adds a recipient (RFC 5321 section 4.1.1.3).
func (s *session) Rcpt(to string, _ *smtp.RcptOptions) error {
	ctx := s.server.ctx
	rcpt, err := s.rcpt(ctx, to)
	if err != nil {
		return s.refuse(ctx, "RCPT", err, &s.tally.refusedRcpts, s.server.opts.MaxRefusedRcpts)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if !s.hold() {
		return toLibrary(replyClosing)
	}
	s.env.Rcpts = append(s.env.Rcpts, rcpt)
	s.names = append(s.names, to)
	s.tally.rcpts++
	return nil
}

// rcpt judges the argument of RCPT.
func (s *session) rcpt(ctx context.Context, to string) (protocols.Recipient, error) {
	path, err := s.way()
	if err != nil {
		return protocols.Recipient{}, err
	}
	if !ascii(to) {
		return protocols.Recipient{}, replyASCII
	}
	addr, err := directory.ParseAddress(to)
	if err != nil {
		return protocols.Recipient{}, err
	}
	s.mu.Lock()
	from, size := s.env.From, s.size
	s.mu.Unlock()
	route, err := path.Recipient(ctx, from, addr, size)
	return protocols.Recipient{Address: addr, Route: route}, err
}

// Data takes the message in, with one answer for all recipients (RFC 5321 section 4.1.1.4).
func (s *session) Data(r io.Reader) error {
	ctx := s.server.ctx
	t, results, err := s.take(ctx, r)
	if err == nil {
		err = results[0] // that of all
	}
	if err != nil {
		return s.refuse(ctx, "DATA", err, &s.tally.errors, s.server.opts.MaxErrors)
	}
	s.filed()
	return accepted(t.env)
}

// LMTPData takes the message in, with an answer for each recipient that was accepted, in their order (RFC 2033
// section 4.2). What it returns is the answer for all of them.
func (s *session) LMTPData(r io.Reader, status smtp.StatusCollector) error {
	ctx := s.server.ctx
	t, results, err := s.take(ctx, r)
	if err != nil {
		return s.refuse(ctx, "DATA", err, &s.tally.errors, s.server.opts.MaxErrors)
	}
	s.filed()
	for i, err := range results {
		if err != nil {
			status.SetStatus(t.names[i], s.refuse(ctx, "DATA", err, &s.tally.errors, -1))
			continue
		}
		status.SetStatus(t.names[i], accepted(t.env))
	}
	return nil
}

// accepted is the answer that takes over the responsibility for a message.
func accepted(env protocols.Envelope) error {
	return toLibrary(protocols.Reply{Code: 250, Enhanced: "2.0.0", Text: "accepted as " + env.ID})
}

// A transaction is what Data takes from the session, so that commands that follow cannot change it.
type transaction struct {
	env   protocols.Envelope
	names []string
}

// take moves the message r along the path. It returns when all of r is read: while chunks of a BDAT are missing, go-smtp
// would keep an early answer and might give it to the next message.
func (s *session) take(ctx context.Context, r io.Reader) (t transaction, results []error, err error) {
	_, chunked := r.(*io.PipeReader)
	if chunked {
		s.wire.chunked.Store(true)
		defer s.wire.chunked.Store(false)
		r = whole{r, s.wire, s.smtp.Conn()}
	} else {
		text := &unfinished{Reader: r}
		defer s.wire.watch(text)()
		r = text
	}
	in := bufio.NewReader(r)
	s.enter(in)
	defer s.leave()
	t, path, err := s.begin()
	if err == nil {
		defer s.server.work.Done()
		results, err = path.Accept(ctx, t.env, &bounded{r: in, left: s.server.opts.MaxBytes})
	}
	if err != nil {
		if errors.Is(err, trace.ErrLineEnds) && !chunked {
			defer listen.Hurry(s.wire, s.server.opts.Linger)()
		}
		_, end := io.Copy(io.Discard, in)
		endIfAbandoned(err)
		endIfAbandoned(end)
	}
	return t, results, err
}

// enter counts a Data and waits for the first octets of its message. A BDAT of no octets may have been abandoned before
// its goroutine came here, unseen by Reset; it must not take the place of the one that came after it.
func (s *session) enter(in *bufio.Reader) {
	s.mu.Lock()
	s.taking++
	s.mu.Unlock()
	if _, err := in.Peek(1); errors.Is(err, smtp.ErrDataReset) {
		s.leave()
		endIfAbandoned(err)
	}
}

// endIfAbandoned ends the goroutine of a BDAT that was abandoned. go-smtp listens no more for what it has to say, but to
// another in its place, so it goes without a word. No other goroutine can see ErrDataReset.
func endIfAbandoned(err error) {
	if errors.Is(err, smtp.ErrDataReset) {
		runtime.Goexit()
	}
}

func (s *session) leave() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.taking--
}

// begin hands over the open transaction. When it returns no error, the caller owes work.Done.
func (s *session) begin() (transaction, path, error) {
	path, err := s.way()
	if err != nil {
		return transaction{}, nil, err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.release == nil {
		return transaction{}, nil, replyAborted // dropped in this moment
	}
	s.server.work.Add(1) // the hold is counted, so nobody's Wait has returned
	t := transaction{s.env, s.names}
	s.env, s.names = protocols.Envelope{}, nil
	return t, path, nil
}

// Reset drops the transaction: RSET, EHLO, or its end. While Data runs it means that a BDAT was abandoned. go-smtp
// would then give the answer for this message as that for the next one; so there is no next one, nor an answer, and the
// client comes again.
func (s *session) Reset() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.env, s.names = protocols.Envelope{}, nil
	s.letGo()
	s.cutIfTaking()
}

// hold lets the transaction go on during a shutdown, which waits for it; it is refused once the shutdown has begun. The
// caller holds mu.
func (s *session) hold() bool {
	if s.release != nil {
		return true
	}
	if !s.server.begin() {
		return false
	}
	release := listen.Hold(s.wire)
	s.release = func() {
		release()
		s.server.work.Done()
	}
	return true
}

// letGo ends the hold of a transaction. The caller holds mu.
func (s *session) letGo() {
	if s.release != nil {
		s.release()
		s.release = nil
	}
}

// cutIfTaking ends the connection without another word while Data runs. The caller holds mu.
func (s *session) cutIfTaking() {
	if s.taking > 0 {
		s.farewell = replyAborted
		s.wire.cut()
	}
}

// Logout is the end of the session: QUIT, a broken connection, or STARTTLS, after which there is another.
func (s *session) Logout() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.letGo()
	s.cutIfTaking()
	s.stay.Leave()
	if _, secured := s.smtp.TLSConnectionState(); secured && s.peer.TLS == nil {
		return nil
	}
	if s.wire.tired() {
		s.tally.last = errTired
	} else if err := s.wire.burden.add(0); err != nil {
		s.tally.last = err
	}
	fields := []any{"helo", s.smtp.Hostname(), "tls", s.peer.TLS != nil, "took", time.Since(s.began),
		"messages", s.tally.messages, "rcpts", s.tally.rcpts,
		"refused", s.tally.errors + s.tally.refusedRcpts + s.tally.wrongAuths}
	if s.tally.last != nil {
		fields = append(fields, "err", s.tally.last)
	}
	s.log.Info("session", fields...)
	return nil
}

// way returns the path of this session, or why there is none.
func (s *session) way() (path, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	switch {
	case s.farewell != protocols.Reply{}:
		return nil, s.farewell
	case s.path == nil:
		return nil, replyFirstAuth
	}
	return s.path, nil
}

// end makes r the last answer of the session: it is said now, and again to what the client has sent already.
func (s *session) end(r protocols.Reply) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.farewell = r
	s.wire.hangUp()
	return r
}

func (s *session) counted() tally {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.tally
}

func (s *session) filed() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.tally.messages++
	s.wire.answers.Store(0)
}

// keyword is the "with" of the Received field (RFC 3848). The caller holds mu.
func (s *session) keyword() string {
	word := "ESMTP"
	if s.server.smtp.LMTP {
		word = "LMTP"
	}
	if s.peer.TLS != nil {
		word += "S"
	}
	if s.login != "" {
		word += "A"
	}
	return word
}

// bounded reads no message that is larger than left octets. A negative left is no bound.
type bounded struct {
	r    io.Reader
	left int64
}

func (b *bounded) Read(p []byte) (int, error) {
	n, err := b.r.Read(p)
	if b.left < 0 {
		return n, err
	}
	if int64(n) > b.left {
		b.left = 0
		return 0, storage.ErrTooLarge
	}
	b.left -= int64(n)
	return n, err
}
