package listen

import (
	"bytes"
	"errors"
	"io"
	"net"
	"net/netip"
	"strings"
	"testing"

	"github.com/pires/go-proxyproto"
)

// forwarder is the address of the forwarder in tests.
var forwarder = []netip.Prefix{netip.MustParsePrefix("127.0.0.9/32")}

// header is the PROXY protocol for a client.
func header(version byte, client string) []byte {
	from, to := netip.MustParseAddrPort(client), netip.MustParseAddrPort("192.0.2.25:25")
	if from.Addr().Is6() {
		to = netip.MustParseAddrPort("[2001:db8::25]:25")
	}
	text, err := proxyproto.HeaderProxyFromAddrs(version, net.TCPAddrFromAddrPort(from), net.TCPAddrFromAddrPort(to)).Format()
	if err != nil {
		panic(err)
	}
	return text
}

var intros = []struct {
	name   string
	intro  []byte
	client string // empty = the connection is closed; "own" = the forwarder itself
}{
	{"version 1", header(1, "192.0.2.7:4711"), "192.0.2.7:4711"},
	{"version 1, IPv6", header(1, "[2001:db8::7]:4711"), "[2001:db8::7]:4711"},
	{"version 2", header(2, "192.0.2.7:4711"), "192.0.2.7:4711"},
	{"version 2, IPv6", header(2, "[2001:db8::7]:4711"), "[2001:db8::7]:4711"},
	{"a client that is said to be near", header(2, "127.0.0.1:4711"), "127.0.0.1:4711"},
	{"version 1 that knows nothing", []byte("PROXY UNKNOWN\r\n"), "own"},
	{"version 2 that asks whether we live", []byte("\r\n\r\n\x00\r\nQUIT\n\x20\x00\x00\x00"), "own"},
	{"version 2 of a unix socket", append([]byte("\r\n\r\n\x00\r\nQUIT\n\x21\x31\x00\xd8"), make([]byte, 216)...), ""},
	{"version 2 of datagrams", []byte("\r\n\r\n\x00\r\nQUIT\n\x21\x12\x00\x0c\xc0\x00\x02\x07\xc0\x00\x02\x19\x12\x67\x00\x19"), ""},
	{"none", []byte("EHLO client.test\r\n"), ""},
	{"an address that is none", []byte("PROXY TCP4 192.0.2.700 192.0.2.25 4711 25\r\n"), ""},
	{"too long", []byte("PROXY TCP4 " + strings.Repeat("1", 200) + "\r\n"), ""},
}

// TestForwarded: who the peer is, is said by the forwarder, before anything else; and what follows is the client's.
func TestForwarded(t *testing.T) {
	t.Parallel()
	for _, tt := range intros {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			_, l := open(t, Options{Forwarders: forwarder})
			client := dial(t, l, "127.0.0.9")
			server := accept(t, l)
			if _, err := client.Write(append(bytes.Clone(tt.intro), "hello"...)); err != nil {
				t.Fatal(err)
			}
			text := make([]byte, 5)
			_, err := io.ReadFull(server, text)
			if tt.client == "" {
				if err == nil {
					t.Errorf("it was taken, and %q read", text)
				}
				ended(t, client)
				return
			}
			want := tt.client
			if want == "own" {
				want = client.LocalAddr().String()
			}
			peer := PeerOf(server)
			if err != nil || string(text) != "hello" || peer.Addr.String() != want {
				t.Errorf("read %q, %v of %s; want hello of %s", text, err, peer.Addr, want)
			}
			if !peer.Forwarded || peer.Private() {
				t.Errorf("peer is forwarded %v, private %v; want a forwarded one that is not", peer.Forwarded, peer.Private())
			}
		})
	}
}

// ended wants the connection to be closed without a word.
func ended(t *testing.T, c net.Conn) {
	t.Helper()
	var timeout net.Error
	if n, err := c.Read(make([]byte, 1)); n > 0 || errors.As(err, &timeout) && timeout.Timeout() {
		t.Errorf("read %d octets, %v; want the end", n, err)
	}
}

// TestNotForwarded: nobody else is believed. What he says is for the protocol, which will not understand.
func TestNotForwarded(t *testing.T) {
	t.Parallel()
	_, l := open(t, Options{Forwarders: forwarder})
	client := dial(t, l, "127.0.0.1")
	server := accept(t, l)
	said := header(1, "192.0.2.7:4711")
	if _, err := client.Write(said); err != nil {
		t.Fatal(err)
	}
	got := make([]byte, len(said))
	if _, err := io.ReadFull(server, got); err != nil || !bytes.Equal(got, said) {
		t.Errorf("read %q, %v; want %q", got, err, said)
	}
	if peer := PeerOf(server); peer.Addr.String() != client.LocalAddr().String() || peer.Forwarded {
		t.Errorf("peer is %s, forwarded %v; want %s itself", peer.Addr, peer.Forwarded, client.LocalAddr())
	}
}

// TestForwardedCaps: the connections of a forwarder are counted as those of its clients.
func TestForwardedCaps(t *testing.T) {
	t.Parallel()
	_, l := open(t, Options{Forwarders: forwarder, MaxConnsOfPeer: 1, Refusal: refusal})
	connect := func(client string) (net.Conn, net.Conn) {
		c := dial(t, l, "127.0.0.9")
		if _, err := c.Write(header(2, client)); err != nil {
			t.Fatal(err)
		}
		s := accept(t, l)
		PeerOf(s)
		return c, s
	}
	first, held := connect("192.0.2.7:1")
	hearAfter(t, held, first, true)
	second, refused := connect("192.0.2.7:2")
	hearAfter(t, refused, second, false)
	other, also := connect("192.0.2.8:1")
	hearAfter(t, also, other, true)
	held.Close()
	third, again := connect("192.0.2.7:3")
	hearAfter(t, again, third, true)
}

const refusal = "421 enough\r\n"

// hearAfter wants the client to hear what the server writes, or the refusal and the end.
func hearAfter(t *testing.T, server, client net.Conn, taken bool) {
	t.Helper()
	_, err := io.WriteString(server, "220 welcome\r\n")
	want := "220 welcome\r\n"
	if !taken {
		want = refusal
	}
	got := make([]byte, len(want))
	if _, short := io.ReadFull(client, got); short != nil || string(got) != want || (err == nil) != taken {
		t.Errorf("client heard %q, %v; server %v; want %q", got, short, err, want)
	}
}

// TestSilentForwarder: a forwarder that says nothing costs its own connection, and keeps nobody waiting.
func TestSilentForwarder(t *testing.T) {
	t.Parallel()
	gate, l := open(t, Options{Forwarders: forwarder})
	silent := dial(t, l, "127.0.0.9")
	waiting := accept(t, l)
	asked := make(chan error, 1)
	go func() {
		_, err := waiting.Read(make([]byte, 1))
		asked <- err
	}()
	client := dial(t, l, "127.0.0.1")
	if _, err := io.WriteString(accept(t, l), "220 yes\r\n"); err != nil {
		t.Fatal(err)
	}
	hear(t, client, true)
	client.Close()
	if err := <-asked; err == nil {
		t.Error("silence was read")
	}
	ended(t, silent)
	gate.mu.Lock()
	defer gate.mu.Unlock()
	for c := range gate.conns {
		if c.forwarded {
			t.Error("the connection is still counted")
		}
	}
}

// FuzzIntro: whatever a forwarder says, it names a client whole or not at all.
func FuzzIntro(f *testing.F) {
	for _, tt := range intros {
		f.Add(tt.intro)
	}
	f.Fuzz(func(t *testing.T, in []byte) {
		said, err := newIntro(bytes.NewReader(in))
		if err == nil && (said.remote == nil) != (said.local == nil) {
			t.Errorf("%q: client %v, server %v", in, said.remote, said.local)
		}
	})
}
