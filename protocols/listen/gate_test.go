package listen

import (
	"bufio"
	"context"
	"crypto/tls"
	"errors"
	"io"
	"net"
	"net/netip"
	"os"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/dirpost/dirpost/protocols/certs"
)

// long is a time that no event of a test takes, and short one that is soon over.
const (
	long  = 20 * time.Second
	short = 100 * time.Millisecond
)

// open returns a gate on a loopback port and that port.
func open(t *testing.T, opts Options) (*Gate, net.Listener) {
	t.Helper()
	l, err := Listen(t.Context(), "127.0.0.1:0", 0)
	if err != nil {
		t.Fatal(err)
	}
	gate := NewGate(opts)
	t.Cleanup(func() {
		ctx, cancel := context.WithCancel(context.Background())
		cancel()
		gate.Shutdown(ctx)
	})
	return gate, gate.Guard(l)
}

// dial connects to l from one of the many addresses of loopback.
func dial(t *testing.T, l net.Listener, from string) net.Conn {
	t.Helper()
	dialer := net.Dialer{LocalAddr: &net.TCPAddr{IP: net.ParseIP(from)}}
	c, err := dialer.DialContext(t.Context(), "tcp", l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	c.SetDeadline(time.Now().Add(long))
	return c
}

// accept returns the next connection of l.
func accept(t *testing.T, l net.Listener) net.Conn {
	t.Helper()
	c, err := l.Accept()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	return c
}

// pair returns both ends of a guarded connection.
func pair(t *testing.T, opts Options) (gate *Gate, server, client net.Conn) {
	t.Helper()
	gate, l := open(t, opts)
	client = dial(t, l, "127.0.0.1")
	return gate, accept(t, l), client
}

// pairTLS returns both ends after a handshake above the guarded connection.
func pairTLS(t *testing.T, opts Options) (gate *Gate, server, client net.Conn) {
	t.Helper()
	key, err := certs.SelfSigned(certs.Request{Server: true, DNS: []string{"localhost"}})
	if err != nil {
		t.Fatal(err)
	}
	gate, server, client = pair(t, opts)
	secure := tls.Server(server, &tls.Config{Certificates: []tls.Certificate{key.TLS()}})
	shaken := make(chan error, 1)
	go func() { shaken <- secure.HandshakeContext(t.Context()) }()
	trusting := tls.Client(client, &tls.Config{InsecureSkipVerify: true})
	if err := errors.Join(trusting.HandshakeContext(t.Context()), <-shaken); err != nil {
		t.Fatal(err)
	}
	return gate, secure, trusting
}

// TestCaps: connections above a limit hear why and are closed; a place is free again once a connection is closed.
func TestCaps(t *testing.T) {
	t.Parallel()
	tests := []struct {
		name  string
		opts  Options
		from  []string // open these, then one more from 127.0.0.1
		taken bool
	}{
		{"below the total", Options{MaxConns: 3}, []string{"127.0.0.2", "127.0.0.3"}, true},
		{"above the total", Options{MaxConns: 2}, []string{"127.0.0.2", "127.0.0.3"}, false},
		{"above the limit of an address", Options{MaxConnsOfPeer: 2}, []string{"127.0.0.1", "127.0.0.1"}, false},
		{"negative is no limit", Options{MaxConns: -1, MaxConnsOfPeer: -1}, []string{"127.0.0.1", "127.0.0.1"}, true},
		{"another address does not count", Options{MaxConnsOfPeer: 2}, []string{"127.0.0.1", "127.0.0.2"}, true},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			tt.opts.Refusal = "421 no\r\n"
			_, l := open(t, tt.opts)
			accepted := make(chan net.Conn, 10)
			go func() {
				for c, err := l.Accept(); err == nil; c, err = l.Accept() {
					io.WriteString(c, "220 yes\r\n")
					accepted <- c
				}
			}()
			var firsts []net.Conn
			for _, from := range tt.from {
				dial(t, l, from)
				firsts = append(firsts, <-accepted)
			}
			hear(t, dial(t, l, "127.0.0.1"), tt.taken)
			// Closing twice gives one place, not two.
			firsts[0].Close()
			firsts[0].Close()
			if !tt.taken {
				hear(t, dial(t, l, "127.0.0.1"), true)
				hear(t, dial(t, l, "127.0.0.1"), false)
			}
		})
	}
}

func hear(t *testing.T, c net.Conn, taken bool) {
	t.Helper()
	want := "421 no\r\n"
	if taken {
		want = "220 yes\r\n"
	}
	if got, err := bufio.NewReader(c).ReadString('\n'); got != want {
		t.Errorf("heard %q, %v, want %q", got, err, want)
	}
}

// TestTimeOuts: why a read ends, below TLS and in the clear, and that nothing is read after it.
func TestTimeOuts(t *testing.T) {
	t.Parallel()
	shutdown := func(gate *Gate, _ net.Conn) { go gate.Shutdown(context.Background()) }
	end := func(_ *Gate, server net.Conn) { time.AfterFunc(short/2, func() { End(server) }) }
	none := func(*Gate, net.Conn) {}
	tests := []struct {
		name string
		opts Options
		do   func(*Gate, net.Conn)
		want error
	}{
		{"idle", Options{Idle: short}, none, ErrIdle},
		{"end of life", Options{Life: short}, none, ErrLife},
		{"shutdown", Options{}, shutdown, ErrDraining},
		{"ended", Options{}, end, ErrEnded},
	}
	for _, tt := range tests {
		for layer, connect := range map[string]func(*testing.T, Options) (*Gate, net.Conn, net.Conn){"clear": pair, "TLS": pairTLS} {
			t.Run(tt.name+" "+layer, func(t *testing.T) {
				t.Parallel()
				gate, server, client := connect(t, tt.opts)
				defer server.Close()
				tt.do(gate, server)
				buf := make([]byte, 100)
				_, err := server.Read(buf)
				var timeout net.Error
				if !errors.Is(err, tt.want) || !errors.As(err, &timeout) || !timeout.Timeout() {
					t.Fatalf("Read: %v, want %v, a time-out", err, tt.want)
				}
				if layer == "clear" && !errors.Is(err, os.ErrDeadlineExceeded) {
					t.Errorf("%v is not os.ErrDeadlineExceeded", err)
				}
				// What comes now may be the rest of a body and must not become a command.
				io.WriteString(client, "QUIT\r\n")
				if n, err := server.Read(buf); n != 0 || err == nil {
					t.Errorf("Read after the time-out: %q, %v, want nothing", buf[:n], err)
				}
				// The last word still goes out.
				if _, err := io.WriteString(server, "421 bye\r\n"); err != nil {
					t.Errorf("Write after the time-out: %v", err)
				}
				if got, err := bufio.NewReader(client).ReadString('\n'); got != "421 bye\r\n" {
					t.Errorf("client heard %q, %v", got, err)
				}
			})
		}
	}
}

// TestSlowSender: a sender that is slow but steady is not cut, although the library above sets a deadline for the whole
// body.
func TestSlowSender(t *testing.T) {
	t.Parallel()
	_, server, client := pairTLS(t, Options{Idle: 3 * short})
	const body = "slow but steady"
	go func() {
		tick := time.NewTicker(short / 2)
		defer tick.Stop()
		for i := range len(body) {
			<-tick.C
			server.SetReadDeadline(time.Now())
			server.SetDeadline(time.Now())
			io.WriteString(client, body[i:i+1])
		}
		client.Close()
	}()
	if got, err := io.ReadAll(server); string(got) != body || err != nil {
		t.Errorf("read %q, %v, want %q", got, err, body)
	}
}

// TestWriteEnds: a peer that takes nothing ends the write, and one that takes without end is ended with its life.
func TestWriteEnds(t *testing.T) {
	t.Parallel()
	tests := []struct {
		name  string
		opts  Options
		takes bool
	}{
		{"takes nothing", Options{Write: short}, false},
		{"takes without end", Options{Life: short, Write: short}, true},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			_, server, client := pair(t, tt.opts)
			if tt.takes {
				go io.Copy(io.Discard, client)
			}
			block := make([]byte, 1<<20)
			var err error
			for start := time.Now(); err == nil && time.Since(start) < 20*short; {
				_, err = server.Write(block)
			}
			if !errors.Is(err, os.ErrDeadlineExceeded) {
				t.Errorf("Write: %v, want a time-out", err)
			}
		})
	}
}

// TestLimit: who has logged in may idle longer.
func TestLimit(t *testing.T) {
	t.Parallel()
	_, server, client := pairTLS(t, Options{Idle: short, Life: short})
	Limit(server, long, long)
	go func() {
		time.Sleep(2 * short)
		io.WriteString(client, "x")
	}()
	if n, err := server.Read(make([]byte, 1)); n != 1 || err != nil {
		t.Errorf("Read: %d, %v, want one octet", n, err)
	}
	Limit(server, short, long)
	if _, err := server.Read(make([]byte, 1)); !errors.Is(err, ErrIdle) {
		t.Errorf("Read: %v, want ErrIdle", err)
	}
}

// TestUnguarded: limits that would not hold are a bug that shows.
func TestUnguarded(t *testing.T) {
	t.Parallel()
	hidden := struct{ net.Conn }{} // a wrapper without NetConn
	_, hidden.Conn, _ = pair(t, Options{})
	for name, do := range map[string]func(){
		"Limit": func() { Limit(hidden, short, short) },
		"Hold":  func() { Hold(hidden) },
	} {
		func() {
			defer func() {
				if recover() == nil {
					t.Errorf("%s of a connection it cannot find did not panic", name)
				}
			}()
			do()
		}()
	}
}

// TestHold: a shutdown lets the command in hand read to its end, and the session ends after it.
func TestHold(t *testing.T) {
	t.Parallel()
	gate, server, client := pairTLS(t, Options{})
	release := Hold(server)
	down := make(chan error, 1)
	go func() { down <- gate.Shutdown(context.Background()) }()
	<-gate.done
	go io.WriteString(client, "body")
	if got, err := io.ReadAll(io.LimitReader(server, 4)); string(got) != "body" || err != nil {
		t.Fatalf("read %q, %v, want the body", got, err)
	}
	read := make(chan error, 1)
	go func() {
		_, err := server.Read(make([]byte, 1))
		read <- err
	}()
	select {
	case err := <-down:
		t.Fatalf("Shutdown returned %v with a command in hand", err)
	case err := <-read:
		t.Fatalf("Read returned %v with a command in hand", err)
	case <-time.After(short):
	}
	release()
	if err := <-read; !errors.Is(err, ErrDraining) {
		t.Errorf("Read after the command: %v, want ErrDraining", err)
	}
	server.Close()
	if err := <-down; err != nil {
		t.Errorf("Shutdown: %v", err)
	}
}

// TestCut: when the patience of Shutdown is over, connections are closed.
func TestCut(t *testing.T) {
	t.Parallel()
	gate, server, client := pair(t, Options{})
	Hold(server)
	ctx, cancel := context.WithTimeout(t.Context(), short)
	defer cancel()
	if err := gate.Shutdown(ctx); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("Shutdown: %v, want the context's error", err)
	}
	if _, err := client.Read(make([]byte, 1)); !errors.Is(err, io.EOF) {
		t.Errorf("client reads %v, want the end", err)
	}
	l, err := Listen(t.Context(), "127.0.0.1:0", 0)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := gate.Guard(l).Accept(); !errors.Is(err, net.ErrClosed) {
		t.Errorf("Accept of a gate that is shut: %v, want net.ErrClosed", err)
	}
}

// A tired listener is out of descriptors twice.
type tired struct {
	net.Listener
	left int
}

func (l *tired) Accept() (net.Conn, error) {
	if l.left--; l.left >= 0 {
		return nil, &net.OpError{Op: "accept", Err: os.NewSyscallError("accept4", syscall.EMFILE)}
	}
	return l.Listener.Accept()
}

// TestOutOfDescriptors: a moment without descriptors does not end the server.
func TestOutOfDescriptors(t *testing.T) {
	t.Parallel()
	l, err := Listen(t.Context(), "127.0.0.1:0", 0)
	if err != nil {
		t.Fatal(err)
	}
	dial(t, l, "127.0.0.1")
	accept(t, NewGate(Options{}).Guard(&tired{Listener: l, left: 2}))

	endless := NewGate(Options{})
	accepted := make(chan error, 1)
	guarded := endless.Guard(&tired{Listener: l, left: 1 << 30})
	go func() {
		_, err := guarded.Accept()
		accepted <- err
	}()
	endless.Shutdown(t.Context())
	select {
	case err := <-accepted:
		if !errors.Is(err, net.ErrClosed) {
			t.Errorf("Accept: %v, want net.ErrClosed", err)
		}
	case <-time.After(long):
		t.Error("Accept goes on after Shutdown")
	}
}

// TestPeerOf: who is there, through all wrappers.
func TestPeerOf(t *testing.T) {
	t.Parallel()
	_, clear, client := pair(t, Options{})
	peer := PeerOf(clear)
	if got, want := peer.Addr.String(), client.LocalAddr().String(); got != want {
		t.Errorf("Addr %s, want %s", got, want)
	}
	if got, want := peer.Local.String(), client.RemoteAddr().String(); got != want {
		t.Errorf("Local %s, want %s", got, want)
	}
	if peer.TLS != nil || peer.Unix || peer.ID == "" || PeerOf(clear).ID != peer.ID {
		t.Errorf("in the clear: %+v, want an ID that stays, no TLS, no unix", peer)
	}

	_, secure, _ := pairTLS(t, Options{})
	below := PeerOf(secure.(*tls.Conn).NetConn())
	above := PeerOf(secure)
	if above.TLS == nil || !above.TLS.HandshakeComplete || above.ID != below.ID || above.Addr != below.Addr {
		t.Errorf("above TLS: %+v, below: %+v, want the same with TLS", above, below)
	}
	if below.ID == peer.ID {
		t.Error("two connections have one ID")
	}

	l, err := Listen(t.Context(), "unix:"+t.TempDir()+"/s", 0)
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	c, err := net.Dial("unix", strings.TrimPrefix(l.Addr().String(), "unix:"))
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	if peer := PeerOf(accept(t, NewGate(Options{MaxConnsOfPeer: 1}).Guard(l))); !peer.Unix || !peer.Private() || peer.Addr.IsValid() {
		t.Errorf("by unix socket: %+v", peer)
	}
}

type account int

func (a account) Network() string { return "unix" }
func (a account) String() string  { return "somebody" }
func (a account) Account() int    { return int(a) }

// TestPeerKey: whose connections count together.
func TestPeerKey(t *testing.T) {
	t.Parallel()
	tcp := func(s string) net.Addr { return net.TCPAddrFromAddrPort(netip.MustParseAddrPort(s)) }
	tests := []struct {
		name        string
		one, other  net.Addr
		same, count bool
	}{
		{"an address", tcp("192.0.2.1:1"), tcp("[::ffff:192.0.2.1]:2"), true, true},
		{"two addresses", tcp("192.0.2.1:1"), tcp("192.0.2.2:1"), false, true},
		{"a /64", tcp("[2001:db8::1]:1"), tcp("[2001:db8::ffff:1]:1"), true, true},
		{"two of them", tcp("[2001:db8::1]:1"), tcp("[2001:db8:0:1::1]:1"), false, true},
		{"an account", account(70001), account(70001), true, true},
		{"two accounts", account(70001), account(70002), false, true},
		{"root", account(0), account(0), true, false},
		{"ourselves", account(os.Getuid()), account(os.Getuid()), true, false},
		{"a socket", &net.UnixAddr{Name: "x"}, &net.UnixAddr{Name: "y"}, true, false},
	}
	for _, tt := range tests {
		one, other := peerKey(tt.one), peerKey(tt.other)
		if same := one == other; same != tt.same || (one != nil) != tt.count {
			t.Errorf("%s: %v and %v", tt.name, one, other)
		}
	}
}
