package smtpd

import (
	"crypto/tls"
	"encoding/base64"
	"fmt"
	"io"
	"net"
	"strings"
	"testing"

	"github.com/dirpost/dirpost/directory"
)

// chunkTalk brings a client of its own server to where it may send the chunks of a message for rcpt, who is new.
func chunkTalk(w *world, way chunkWay, rcpt string) (*talker, *Server) {
	return messageTalk(w, way, rcpt, Options{})
}

// messageTalk does so with a server that has options.
func messageTalk(w *world, way chunkWay, rcpt string, opts Options) (*talker, *Server) {
	kind := way.kind
	w.addUser(rcpt, directory.Quota{})
	server, addr := w.serve(kind, opts)
	config := w.dial.Clone()
	config.MaxVersion = way.version
	k := talkTo(w.t, addr)
	hello := "EHLO client.test"
	if kind == "lmtp" {
		hello = "LHLO client.test"
	}
	if kind == "submissions" {
		k = k.secure(config)
	}
	k.want("220")
	k.do(hello, "250")
	if way.secure && kind != "submissions" {
		k.do("STARTTLS", "220")
		k = k.secure(config)
		k.do(hello, "250")
	}
	from := "ann@example.net"
	if strings.HasPrefix(kind, "submission") {
		from = "alice@example.org"
		k.do("AUTH PLAIN "+base64.StdEncoding.EncodeToString([]byte("\x00alice\x00"+password)), "235")
	}
	k.do("MAIL FROM:<"+from+">", "250")
	k.do("RCPT TO:<"+rcpt+"@example.org>", "250")
	return k, server
}

// A chunkWay is a server a message can come to in chunks, and how the connection is secured.
type chunkWay struct {
	name, kind string
	secure     bool
	version    uint16
}

var chunkWays = []chunkWay{
	{"MX in the clear", "mx", false, 0},
	{"MX, STARTTLS 1.3", "mx", true, tls.VersionTLS13},
	{"MX, STARTTLS 1.2", "mx", true, tls.VersionTLS12},
	{"LMTP in the clear", "lmtp", false, 0},
	{"LMTP, STARTTLS", "lmtp", true, 0},
	{"submission in the clear", "submission", false, 0},
	{"submission, STARTTLS", "submission", true, 0},
	{"submissions 1.3", "submissions", true, tls.VersionTLS13},
	{"submissions 1.2", "submissions", true, tls.VersionTLS12},
}

// A torso has 48 octets.
const torso = "From: alice@example.org\r\nSubject: torso\r\n\r\nhalf."

// TestCutBDAT: a chunk that ends with the connection is no message, however the connection ends.
func TestCutBDAT(t *testing.T) {
	t.Parallel()
	ends := []struct {
		name string
		end  func(k *talker) error
		tls  bool // it needs TLS
	}{
		{"half closed", func(k *talker) error { return tcpOf(k).CloseWrite() }, false},
		{"closure alert", func(k *talker) error { return k.conn.(*tls.Conn).CloseWrite() }, true},
		{"closure alert, half closed", func(k *talker) error {
			if err := k.conn.(*tls.Conn).CloseWrite(); err != nil {
				return err
			}
			return tcpOf(k).CloseWrite()
		}, true},
		{"closed", func(k *talker) error { return k.conn.Close() }, false},
	}
	w := newWorld(t)
	for i, way := range chunkWays {
		for j, end := range ends {
			if end.tls && !way.secure {
				continue
			}
			t.Run(way.name+", "+end.name, func(t *testing.T) {
				rcpt := fmt.Sprintf("user%d.%d", i, j)
				k, server := chunkTalk(w, way, rcpt)
				k.raw("BDAT 5000 LAST\r\n" + torso)
				if err := end.end(k); err != nil {
					t.Fatal(err)
				}
				for {
					reply, err := k.reply()
					if err != nil {
						break
					}
					if strings.HasPrefix(reply, "2") {
						t.Errorf("half a message was answered %q", reply)
					}
				}
				w.must(server.Shutdown(t.Context())) // whatever it still did is done
				if got := w.inbox(rcpt); len(got) != 0 {
					t.Errorf("half a message was filed: %q", got)
				}
			})
		}
	}
}

func tcpOf(k *talker) *net.TCPConn {
	if secure, ok := k.conn.(*tls.Conn); ok {
		return secure.NetConn().(*net.TCPConn)
	}
	return k.conn.(*net.TCPConn)
}

// TestWholeBDAT: what comes behind the last chunk, the end of the connection or the next command, takes nothing from the
// message, and the message takes nothing from it.
func TestWholeBDAT(t *testing.T) {
	t.Parallel()
	tail := []struct {
		name  string
		parts []string // each is one write, and so one TLS record
	}{
		{"one record", []string{"BDAT 48 LAST\r\n" + torso}},
		{"the last two octets alone", []string{"BDAT 48 LAST\r\n" + torso[:46], torso[46:]}},
		{"the next command in the same record", []string{"BDAT 48 LAST\r\n" + torso + "NOOP\r\nNOOP\r\n"}},
		{"the next command behind a long chunk", []string{
			"BDAT 10048 LAST\r\n" + torso + strings.Repeat(strings.Repeat("x", 98)+"\r\n", 100) + "NOOP\r\n", "NOOP\r\n"}},
		{"two chunks", []string{"BDAT 20\r\n" + torso[:20], "BDAT 28 LAST\r\n" + torso[20:]}},
	}
	w := newWorld(t)
	for i, way := range chunkWays {
		for j, tt := range tail {
			t.Run(way.name+", "+tt.name, func(t *testing.T) {
				rcpt := fmt.Sprintf("user%d.%d", i, j)
				k, _ := chunkTalk(w, way, rcpt)
				for _, part := range tt.parts {
					k.raw(part)
				}
				k.raw("QUIT\r\n")
				if c, ok := k.conn.(interface{ CloseWrite() error }); !ok || c.CloseWrite() != nil {
					t.Fatal("the client cannot close its side")
				}
				all, err := io.ReadAll(k.in)
				if err != nil {
					t.Fatal(err)
				}
				text := strings.Join(tt.parts, "")
				want := strings.Count(text, "BDAT") + strings.Count(text, "NOOP")
				if got := strings.Count("\n"+string(all), "\n250 "); got != want {
					t.Errorf("got %q; want %d of 250", all, want)
				}
				if !strings.Contains(string(all), "\n221 ") {
					t.Errorf("got %q; want an answer to QUIT", all)
				}
				if got := w.inbox(rcpt); len(got) != 1 || !strings.Contains(got[0], "\nhalf") {
					t.Errorf("got %q in the mailbox; want the message", got)
				}
			})
		}
	}
}
