package imapd

import (
	"context"
	"crypto/tls"
	"fmt"
	"log/slog"
	"net"
	"net/netip"
	"runtime"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/dirpost/dirpost/protocols/certs"
	"github.com/dirpost/dirpost/protocols/listen"
)

// hasLine reports whether one of the lines begins with the prefix.
func hasLine(lines []string, prefix string) bool {
	return slices.ContainsFunc(lines, func(l string) bool { return strings.HasPrefix(l, prefix) })
}

// certificate makes a client certificate that lets alice in.
func (s *site) certificate(t testing.TB) *certs.KeyPair {
	t.Helper()
	key, err := s.ca.Issue(certs.Request{Client: true})
	must(t, err)
	must(t, s.people.AddCertificate(t.Context(), "alice", key.Cert, ""))
	return key
}

// startTLS goes over to TLS.
func (w *wireClient) startTLS(config *tls.Config) {
	w.t.Helper()
	if got := w.do("STARTTLS"); !strings.HasPrefix(got[0], "x OK") {
		w.t.Fatalf("STARTTLS: %q", got)
	}
	w.conn = tls.Client(w.conn, config)
	w.in.Reset(w.conn)
}

// TestExternal: a certificate that maps to an account is offered EXTERNAL, on implicit TLS already in the greeting, and
// lets in with the names that clients send along and no other.
func TestExternal(t *testing.T) {
	t.Parallel()
	s := newSite(t, Options{})
	known := s.clientTLS(s.certificate(t))
	foreign, err := certs.SelfSigned(certs.Request{Client: true})
	must(t, err)

	w := s.connect(t, known)
	if got := w.line(); !strings.Contains(got, " AUTH=EXTERNAL AUTH=PLAIN ") || strings.Contains(got, "STARTTLS") {
		t.Errorf("greeting with a certificate: %q", got)
	}
	w.send("a AUTHENTICATE EXTERNAL\n")
	if got := w.line(); got != "+ " {
		t.Errorf("challenge %q, want an empty one", got)
	}
	w.send("\n")
	if got := w.line(); !strings.HasPrefix(got, "a OK [CAPABILITY") {
		t.Errorf("EXTERNAL: %q", got)
	}
	for authzid, want := range map[string]string{"=": "x OK", "YWxpY2U=": "x OK", "YWxpY2VAZXhhbXBsZS5vcmc=": "x OK", "Ym9i": "x NO [AUTHENTICATIONFAILED]"} {
		w := s.connect(t, known)
		w.line()
		if got := w.do("AUTHENTICATE EXTERNAL " + authzid); !strings.HasPrefix(got[0], want) {
			t.Errorf("EXTERNAL %s: %q, want %s", authzid, got, want)
		}
	}
	w = s.connect(t, s.clientTLS(foreign))
	if got := w.line(); strings.Contains(got, "EXTERNAL") || !strings.Contains(got, "AUTH=PLAIN") {
		t.Errorf("greeting with a foreign certificate: %q", got)
	}
	w.send(`a LOGIN alice "` + password + "\"\n")
	if got := w.line(); !strings.HasPrefix(got, "a OK") {
		t.Errorf("password with a foreign certificate: %q", got)
	}

	w = s.connect(t, nil)
	w.line()
	w.startTLS(known)
	if got := w.do("CAPABILITY"); !strings.Contains(got[0], "AUTH=EXTERNAL") || strings.Contains(got[0], "STARTTLS") {
		t.Errorf("capabilities after STARTTLS: %q", got)
	}
	if got := w.do("AUTHENTICATE EXTERNAL ="); !strings.HasPrefix(got[0], "x OK") {
		t.Errorf("EXTERNAL after STARTTLS: %q", got)
	}
}

// A distant is a listener whose connections seem to come from another machine.
type distant struct{ net.Listener }

func (d distant) Accept() (net.Conn, error) {
	c, err := d.Listener.Accept()
	if err != nil {
		return nil, err
	}
	return distantConn{c}, nil
}

type distantConn struct{ net.Conn }

func (distantConn) RemoteAddr() net.Addr { return &net.TCPAddr{IP: net.IPv4(192, 0, 2, 1), Port: 999} }

// TestPrivacy: from another machine there is no login in the clear; after STARTTLS there is, and what came before the
// handshake is not taken for what comes after it.
func TestPrivacy(t *testing.T) {
	t.Parallel()
	s := newSite(t, Options{})
	l, err := net.Listen("tcp", "127.0.0.1:0")
	must(t, err)
	go s.Serve(distant{l}, false)
	s.plain = l

	w := s.connect(t, nil)
	if got := w.line(); !strings.Contains(got, "STARTTLS LOGINDISABLED]") || strings.Contains(got, "AUTH=") {
		t.Errorf("greeting: %q", got)
	}
	for _, command := range []string{`LOGIN alice "` + password + `"`, "AUTHENTICATE PLAIN AGFsaWNlAGNvcnJlY3QgaG9yc2U="} {
		if got := w.do(command); !strings.HasPrefix(got[0], "x NO [PRIVACYREQUIRED]") {
			t.Errorf("%.5s in the clear: %q", command, got)
		}
	}
	w.startTLS(s.clientTLS(nil))
	if got := w.do(`LOGIN alice "` + password + `"`); !strings.HasPrefix(got[0], "x OK") {
		t.Errorf("LOGIN after STARTTLS: %q", got)
	}

	w = s.connect(t, nil)
	w.line()
	w.send("a STARTTLS\nb LOGIN alice \"" + password + "\"\n")
	if got := w.line(); !strings.HasPrefix(got, "a OK") {
		t.Errorf("STARTTLS: %q", got)
	}
	if rest, err := w.in.ReadString('\n'); err == nil && strings.HasPrefix(rest, "b ") {
		t.Errorf("a command from before the handshake was answered: %q", rest)
	}
}

// TestForwarder: who comes by a forwarder is not near, whatever address the forwarder names.
func TestForwarder(t *testing.T) {
	t.Parallel()
	s := newSite(t, Options{})
	l, err := listen.Listen(t.Context(), "127.0.0.1:0", 0)
	must(t, err)
	go s.Serve(listen.Forwarded(l, []netip.Prefix{netip.MustParsePrefix("127.0.0.1/32")}, slog.New(slog.DiscardHandler)), false)
	s.plain = l
	w := s.connect(t, nil)
	w.send("PROXY TCP4 127.0.0.1 127.0.0.1 4711 143\n")
	if got := w.line(); !strings.Contains(got, "LOGINDISABLED") {
		t.Errorf("greeting: %q", got)
	}
	w.startTLS(s.clientTLS(nil))
	if got := w.do(`LOGIN alice "` + password + `"`); !strings.HasPrefix(got[0], "x OK") {
		t.Errorf("LOGIN after STARTTLS: %q", got)
	}
	w = s.connect(t, nil)
	w.send("x NOOP\n") // nobody speaks for it
	if rest, err := w.in.ReadString('\n'); err == nil {
		t.Errorf("without a forwarder's word: %q", rest)
	}
}

// TestOutage: while the directory is down nobody is wrong, and sessions that are in go on.
func TestOutage(t *testing.T) {
	t.Parallel()
	s := newSite(t, Options{MaxAuthFailures: 1})
	in := s.connect(t, nil)
	in.login("alice")
	s.stopDirectory(t)
	w := s.connect(t, nil)
	w.line()
	for range 2 {
		if got := w.do(`LOGIN alice "` + password + `"`); got[0] != "x NO [UNAVAILABLE] cannot tell now, try again later" {
			t.Errorf("LOGIN: %q", got)
		}
	}
	if got := in.do("SELECT INBOX"); !hasLine(got, "x OK") {
		t.Errorf("SELECT of who is in: %q", got)
	}
}

// TestTakesLeave: every end that the server decides on is told by BYE.
func TestTakesLeave(t *testing.T) {
	t.Parallel()
	tests := []struct {
		name string
		opts Options
		do   func(*site, *wireClient)
		want string
	}{
		{"no login in time", Options{LoginTime: 300 * time.Millisecond}, func(*site, *wireClient) {}, "* BYE localhost has waited too long for a login"},
		{"no command in time", Options{Idle: 300 * time.Millisecond}, func(_ *site, w *wireClient) { w.login("alice") }, "* BYE localhost has heard no command for too long"},
		{"a long session", Options{Life: 300 * time.Millisecond}, func(_ *site, w *wireClient) { w.login("alice") }, "* BYE localhost ends sessions that last too long"},
		{"too much before login", Options{MaxLoginBytes: 2000}, func(_ *site, w *wireClient) {
			w.line()
			w.send("a NOOP " + strings.Repeat("x", 3000) + "\n")
		}, "* BYE localhost was sent too much before login"},
		{"an unknown command before login", Options{}, func(_ *site, w *wireClient) {
			w.line()
			w.send("GET / HTTP/1.1\n")
		}, "* BYE "},
		{"shutdown, idle", Options{}, func(s *site, w *wireClient) {
			w.login("alice")
			s.shutdown(w.t)
		}, "* BYE localhost is shutting down"},
		{"shutdown in IDLE", Options{}, func(s *site, w *wireClient) {
			w.login("alice")
			w.do("SELECT INBOX")
			w.send("a IDLE\n")
			w.until("+")
			s.shutdown(w.t)
		}, "* BYE localhost is shutting down"},
		{"shutdown before login", Options{}, func(s *site, w *wireClient) {
			w.line()
			s.shutdown(w.t)
		}, "* BYE localhost is shutting down"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			s := newSite(t, tt.opts)
			for _, config := range []*tls.Config{nil, s.clientTLS(nil)} {
				if config != nil && strings.HasPrefix(tt.name, "shutdown") {
					continue // it is shut down already
				}
				w := s.connect(t, config)
				tt.do(s, w)
				w.until(tt.want)
				if rest, err := w.in.ReadString('\n'); err == nil && !strings.HasPrefix(rest, "GET BAD") {
					t.Errorf("after BYE: %q", rest)
				}
			}
		})
	}
}

// shutdown shuts down and wants all sessions to have ended.
func (s *site) shutdown(t testing.TB) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	must(t, s.Shutdown(ctx))
}

// TestShutdownLetsAppendEnd: a message on its way in arrives.
func TestShutdownLetsAppendEnd(t *testing.T) {
	t.Parallel()
	s := newSite(t, Options{})
	w := s.connect(t, nil)
	w.login("alice")
	w.send("a APPEND INBOX {9}\n")
	w.until("+")
	w.send("A: b\n")
	done := make(chan struct{})
	go func() {
		defer close(done)
		s.shutdown(t)
	}()
	for { // until it no longer accepts: then the shutdown has begun
		c, err := net.Dial("tcp", s.plain.Addr().String())
		if err != nil {
			break
		}
		c.Close()
	}
	w.send("\nc\n")
	if got := w.until("a "); !hasLine(got, "a OK [APPENDUID") {
		t.Errorf("APPEND: %q", got)
	}
	<-done
	st, err := s.home(t, "alice").Status(t.Context(), "INBOX")
	if err != nil || st.Messages != 1 {
		t.Errorf("INBOX has %d messages, %v; want 1", st.Messages, err)
	}
}

// TestConnectionLimit: above the limit there is one line, and it says why.
func TestConnectionLimit(t *testing.T) {
	t.Parallel()
	s := newSite(t, Options{MaxConnsOfPeer: 1})
	first := s.connect(t, nil)
	first.line()
	if got := s.connect(t, nil).line(); got != "* BYE localhost has too many connections" {
		t.Errorf("second connection: %q", got)
	}
	first.do("LOGOUT")
}

// TestSessionLog: one line for a session, with who and how much, and no secrets anywhere.
func TestSessionLog(t *testing.T) {
	t.Parallel()
	s := newSite(t, Options{})
	w := s.connect(t, s.clientTLS(nil))
	w.line()
	w.do("LOGIN alice wrong-password")
	w.do(`LOGIN alice "` + password + `"`)
	w.do("LOGOUT")
	w.in.ReadString('\n') // the end of the stream
	s.shutdown(t)
	log := s.log.String()
	for _, secret := range []string{password, "wrong-password"} {
		if strings.Contains(log, secret) {
			t.Errorf("%q is in the log", secret)
		}
	}
	var lines []string
	for line := range strings.Lines(log) {
		if strings.Contains(line, `msg="imap session"`) {
			lines = append(lines, line)
		}
	}
	if len(lines) != 1 {
		t.Fatalf("lines of the session: %q, want one", lines)
	}
	for _, want := range []string{"level=INFO", "login=alice", "method=password", "failures=1", "end=logout", "conn=", "peer=127.0.0.1"} {
		if !strings.Contains(lines[0], want) {
			t.Errorf("line %q lacks %s", lines[0], want)
		}
	}
}

// TestQuota: what does not fit is refused before it is sent, with the code for it.
func TestQuota(t *testing.T) {
	t.Parallel()
	s := newSite(t, Options{})
	w := s.connect(t, nil)
	w.login("bob")
	text := "Subject: x\r\n\r\n" + strings.Repeat("x", 15_000-14)
	w.send(fmt.Sprintf("a APPEND INBOX {%d}\n", len(text)))
	w.until("+")
	w.conn.Write([]byte(text + "\r\n"))
	if got := w.until("a "); !hasLine(got, "a OK [APPENDUID") {
		t.Fatalf("first APPEND: %q", got)
	}
	w.send(fmt.Sprintf("b APPEND INBOX {%d}\n", len(text)))
	w.until("+")
	w.conn.Write([]byte(text + "\r\n"))
	if got := w.until("b "); got[len(got)-1] != "b NO [OVERQUOTA] the mailbox is full" {
		t.Errorf("second APPEND: %q", got)
	}
	w.do("SELECT INBOX")
	if got := w.do("COPY 1 Archive"); got[0] != "x NO [OVERQUOTA] the mailbox is full" {
		t.Errorf("COPY: %q", got)
	}
	if got := w.do("MOVE 1 Archive"); !hasLine(got, "x OK") {
		t.Errorf("MOVE takes no room: %q", got)
	}
}

// TestNUL: a message is lines; the engine offers BINARY, so clients may try.
func TestNUL(t *testing.T) {
	t.Parallel()
	s := newSite(t, Options{})
	w := s.connect(t, nil)
	w.login("alice")
	w.send("a APPEND INBOX ~{9+}\nA: b\n\n\x00\n")
	if got := w.until("a "); got[0] != "a NO [UNKNOWN-CTE] binary content cannot be stored" {
		t.Errorf("APPEND: %q", got)
	}
}

// TestKeywordsFull: a mailbox has 26 keywords; then clients are told that there is no room, and others work on.
func TestKeywordsFull(t *testing.T) {
	t.Parallel()
	s := newSite(t, Options{})
	s.deliver(t, "alice", "INBOX", "A: b\n\nc\n", 0)
	w := s.connect(t, nil)
	w.login("alice")
	w.do("SELECT INBOX")
	for i := range 26 {
		if got := w.do(fmt.Sprintf("STORE 1 +FLAGS.SILENT (kw%d)", i)); !hasLine(got, "x OK") {
			t.Fatalf("keyword %d: %q", i, got)
		}
	}
	if got := w.do("STORE 1 +FLAGS (onemore)"); !hasLine(got, "x NO [LIMIT]") {
		t.Errorf("one too many: %q", got)
	}
	if got := w.do("STORE 1 +FLAGS.SILENT (KW7 $Forwarded)"); !hasLine(got, "x OK") {
		t.Errorf("one that is there: %q", got)
	}
	got := w.do("SELECT INBOX")
	i := slices.IndexFunc(got, func(l string) bool { return strings.HasPrefix(l, "* OK [PERMANENTFLAGS") })
	if i < 0 || strings.Contains(got[i], `\*`) || !strings.Contains(got[i], "kw25") {
		t.Errorf("PERMANENTFLAGS without room: %q", got)
	}
}

// TestIdleLatency: a delivery shows within 10 ms. The machine may be busy, so the quickest of several counts.
func TestIdleLatency(t *testing.T) {
	s := newSite(t, Options{})
	w := s.connect(t, s.clientTLS(nil))
	w.login("alice")
	w.do("SELECT INBOX")
	w.send("a IDLE\n")
	w.until("+")
	best := time.Hour
	for i := range 20 {
		s.deliver(t, "alice", "INBOX", "A: b\n\nc\n", 0)
		durable := time.Now()
		if got, want := w.line(), fmt.Sprintf("* %d EXISTS", i+1); got != want {
			t.Fatalf("got %q, want %q", got, want)
		}
		best = min(best, time.Since(durable))
	}
	t.Logf("from durable to told: %v", best)
	if best > 10*time.Millisecond {
		t.Errorf("a delivery shows after %v, want 10ms", best)
	}
}

// TestIdleBrokenOff: something else than DONE ends IDLE. What follows must not get in the way of an Idle that is just
// telling of a delivery.
func TestIdleBrokenOff(t *testing.T) {
	t.Parallel()
	s := newSite(t, Options{})
	w := s.connect(t, nil)
	w.login("alice")
	w.do("SELECT INBOX")
	stop := make(chan struct{})
	delivered := make(chan struct{})
	go func() {
		defer close(delivered)
		for {
			select {
			case <-stop:
				return
			default:
				s.deliver(t, "alice", "INBOX", "A: b\n\nc\n", 0)
			}
		}
	}()
	for range 100 {
		w.send("a IDLE\nnot done\n")
		w.until("a BAD")
		if got := w.do("UID FETCH 1:* FLAGS"); !hasLine(got, "x OK") {
			t.Fatalf("after IDLE: %q", got)
		}
		if got := w.do("UID STORE 1:* +FLAGS.SILENT (\\Seen)"); !hasLine(got, "x OK") {
			t.Fatalf("after IDLE: %q", got)
		}
	}
	close(stop)
	<-delivered
}

// TestShutdownLeavesNothing: when Shutdown returns, no goroutine of ours or of the engine is left.
func TestShutdownLeavesNothing(t *testing.T) { // not parallel: it looks at all goroutines
	s := newSite(t, Options{})
	for _, config := range []*tls.Config{nil, s.clientTLS(nil)} {
		s.connect(t, config).line()
		w := s.connect(t, config)
		w.login("alice")
		w.do("SELECT INBOX")
		w.send("a IDLE\n")
		w.until("+")
	}
	s.shutdown(t)
	var left string
	for end := time.Now().Add(time.Second); time.Now().Before(end); runtime.Gosched() { // the engine's last steps
		if left = engineGoroutines(); left == "" {
			return
		}
	}
	t.Errorf("left:\n%s", left)
}

// engineGoroutines returns the stacks that the engine is in, or a session.
func engineGoroutines() string {
	stacks := make([]byte, 1<<20)
	stacks = stacks[:runtime.Stack(stacks, true)]
	var left []string
	for stack := range strings.SplitSeq(string(stacks), "\n\n") {
		if strings.Contains(stack, "imapserver.") || strings.Contains(stack, "imapd.(*session)") || strings.Contains(stack, "imapd.(*Server).serve(") {
			left = append(left, stack)
		}
	}
	return strings.Join(left, "\n\n")
}
