package listen

import (
	"bufio"
	"errors"
	"io"
	"log/slog"
	"net"
	"net/netip"
	"strings"
	"testing"
	"time"
)

// behind returns a gate behind forwarders at 127.0.0.2, and its listener.
func behind(t *testing.T, opts Options) (*Gate, net.Listener) {
	t.Helper()
	l, err := Listen(t.Context(), "127.0.0.1:0", 0)
	if err != nil {
		t.Fatal(err)
	}
	gate := NewGate(opts)
	guarded := gate.Guard(Forwarded(l, []netip.Prefix{netip.MustParsePrefix("127.0.0.2/32")}, slog.New(slog.DiscardHandler)))
	t.Cleanup(func() { gate.Shutdown(t.Context()) })
	return gate, guarded
}

// serveEcho accepts from l, tells of each connection by peers, and echoes lines.
func serveEcho(l net.Listener) (peers chan net.Conn) {
	peers = make(chan net.Conn, 100)
	go func() {
		for c, err := l.Accept(); err == nil; c, err = l.Accept() {
			peers <- c
			go func() {
				defer c.Close()
				lines := bufio.NewReader(c)
				for line, err := lines.ReadString('\n'); err == nil; line, err = lines.ReadString('\n') {
					io.WriteString(c, line)
				}
			}()
		}
	}()
	return peers
}

// TestForwarded: who is at the other end, by what the connection begins with and where it comes from.
func TestForwarded(t *testing.T) {
	t.Parallel()
	const forwarder, other = "127.0.0.2", "127.0.0.3"
	v1 := "PROXY TCP4 192.0.2.1 198.51.100.1 34567 25\r\n"
	v2 := binaryHeader(commandProxy, familyTCP4, ends4)
	tests := []struct {
		name, from string
		writes     []string
		addr       string // who it is; empty = refused
		forwarded  bool
	}{
		{"version 1", forwarder, []string{v1 + "x\n"}, "192.0.2.1", true},
		{"version 2", forwarder, []string{v2 + "x\n"}, "192.0.2.1", true},
		{"in two parts", forwarder, []string{v1[:20], v1[20:], "x", "\n"}, "192.0.2.1", true},
		{"a client on the forwarder's machine is not on ours", forwarder, []string{"PROXY TCP4 127.0.0.1 127.0.0.1 1 2\r\nx\n"}, "127.0.0.1", true},
		{"the forwarder for itself", forwarder, []string{"PROXY UNKNOWN\r\nx\n"}, "127.0.0.2", true},
		{"a forwarder without a header", forwarder, []string{"x\n"}, "", false},
		{"a forwarder with a bad one", forwarder, []string{"PROXY TCP4 x\r\nx\n"}, "", false},
		{"somebody else", other, []string{"x\n"}, "127.0.0.3", false},
		{"somebody else who begins like a header", other, []string{"PROXIES ARE\r\nx\n"}, "127.0.0.3", false},
		{"somebody else with version 1", other, []string{v1 + "x\n"}, "", false},
		{"somebody else with version 2", other, []string{v2 + "x\n"}, "", false},
		{"somebody else, letter by letter", other, strings.Split(v1+"x\n", ""), "", false},
	}
	_, l := behind(t, Options{})
	peers := serveEcho(l)
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			c := dial(t, l, tt.from)
			for _, text := range tt.writes {
				if _, err := io.WriteString(c, text); err != nil && tt.addr != "" {
					t.Fatal(err)
				}
			}
			lines := bufio.NewReader(c)
			got, err := lines.ReadString('\n')
			for err == nil && tt.addr != "" && got != "x\n" {
				got, err = lines.ReadString('\n')
			}
			if tt.addr == "" {
				if got != "" || err == nil || errors.Is(err, net.ErrClosed) {
					t.Errorf("heard %q, %v, want the end", got, err)
				}
				if tt.from == other {
					<-peers
				}
				return
			}
			if err != nil {
				t.Fatalf("heard %v", err)
			}
			peer := PeerOf(<-peers)
			if peer.Addr.Addr().String() != tt.addr || peer.Forwarded != tt.forwarded || peer.Private() == tt.forwarded {
				t.Errorf("got %+v, want %s, forwarded %v", peer, tt.addr, tt.forwarded)
			}
			if tt.addr == "192.0.2.1" && (peer.Addr.Port() != 34567 || peer.Local.String() != "198.51.100.1:25") {
				t.Errorf("got %s to %s", peer.Addr, peer.Local)
			}
		})
	}
}

// TestForwardedLimits: connections are counted by whom they are for.
func TestForwardedLimits(t *testing.T) {
	t.Parallel()
	_, l := behind(t, Options{MaxConnsOfPeer: 1, Refusal: "421 no\r\n"})
	serveEcho(l)
	for _, tt := range []struct{ addr, want string }{
		{"192.0.2.1", "x\r\n"}, {"192.0.2.2", "x\r\n"}, {"192.0.2.1", "421 no\r\n"}, {"2001:db8::1", "x\r\n"}, {"2001:db8::2", "421 no\r\n"},
	} {
		family := "TCP4"
		if strings.Contains(tt.addr, ":") {
			family = "TCP6"
		}
		c := dial(t, l, "127.0.0.2")
		io.WriteString(c, "PROXY "+family+" "+tt.addr+" "+tt.addr+" 1 2\r\n")
		if tt.want == "x\r\n" {
			io.WriteString(c, tt.want)
		}
		if got, err := bufio.NewReader(c).ReadString('\n'); got != tt.want {
			t.Errorf("for %s: heard %q, %v, want %q", tt.addr, got, err, tt.want)
		}
	}
}

// TestSilentForwarder: a header that does not come keeps nobody waiting, and its connection is closed in the end.
func TestSilentForwarder(t *testing.T) {
	t.Parallel()
	_, l := behind(t, Options{})
	serveEcho(l)
	silent := dial(t, l, "127.0.0.2")
	say(t, dial(t, l, "127.0.0.3"), "x\n", "x\n")
	begun := time.Now()
	if n, err := silent.Read(make([]byte, 1)); n > 0 || err != io.EOF {
		t.Errorf("heard %d octets, %v, want the end", n, err)
	}
	if waited := time.Since(begun); waited < headerTime/2 {
		t.Errorf("closed after %v, want %v", waited, headerTime)
	}
}

// TestForwardedShutdown: the end of the gate is the end of connections whose header is still to come, and of those that
// nobody has accepted.
func TestForwardedShutdown(t *testing.T) {
	t.Parallel()
	gate, l := behind(t, Options{})
	silent, ready, stranger := dial(t, l, "127.0.0.2"), dial(t, l, "127.0.0.2"), dial(t, l, "127.0.0.3")
	io.WriteString(ready, "PROXY UNKNOWN\r\n")
	if err := gate.Shutdown(t.Context()); err != nil {
		t.Fatal(err)
	}
	if _, err := l.Accept(); !errors.Is(err, net.ErrClosed) {
		t.Errorf("Accept: %v, want net.ErrClosed", err)
	}
	for _, c := range []net.Conn{silent, ready, stranger} {
		if n, err := c.Read(make([]byte, 1)); n > 0 || err == nil || errors.Is(err, net.ErrClosed) {
			t.Errorf("heard %d octets, %v, want the end", n, err)
		}
	}
}
