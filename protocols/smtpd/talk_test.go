package smtpd

import (
	"bufio"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"strconv"
	"strings"
	"testing"
	"time"
)

// A talker is a client that says what it is told, and knows no protocol.
type talker struct {
	t    testing.TB
	conn net.Conn
	in   *bufio.Reader
}

// dial connects to addr, "host:port" or a path, and reads the greeting.
func dial(t testing.TB, addr string) *talker {
	t.Helper()
	k := talkTo(t, addr)
	k.want("220")
	return k
}

// talkTo connects to addr and waits for nothing.
func talkTo(t testing.TB, addr string) *talker {
	t.Helper()
	network := "tcp"
	if strings.HasPrefix(addr, "/") {
		network = "unix"
	}
	c, err := net.Dial(network, addr)
	if err != nil {
		t.Fatal(err)
	}
	c.SetDeadline(time.Now().Add(20 * time.Second))
	t.Cleanup(func() { c.Close() })
	return &talker{t, c, bufio.NewReader(c)}
}

// secure goes on over TLS.
func (k *talker) secure(config *tls.Config) *talker {
	k.t.Helper()
	c := tls.Client(k.conn, config)
	if err := c.Handshake(); err != nil {
		k.t.Fatal(err)
	}
	return &talker{k.t, c, bufio.NewReader(c)}
}

// raw sends text as it is.
func (k *talker) raw(text string) {
	k.t.Helper()
	if _, err := io.WriteString(k.conn, text); err != nil {
		k.t.Fatal(err)
	}
}

// reply reads one reply; of several lines, all of them.
func (k *talker) reply() (string, error) {
	var all strings.Builder
	for {
		line, err := k.in.ReadString('\n')
		if err != nil {
			return "", fmt.Errorf("no reply, %q: %w", all.String()+line, err)
		}
		line = strings.TrimSuffix(line, "\r\n")
		all.WriteString(line)
		if len(line) < 4 || line[3] != '-' {
			return all.String(), nil
		}
		all.WriteString("\n")
	}
}

// want reads one reply, whose last line must begin with start.
func (k *talker) want(start string) string {
	k.t.Helper()
	reply, err := k.reply()
	if err != nil {
		k.t.Fatalf("want %s: %v", start, err)
	}
	if last := reply[strings.LastIndexByte(reply, '\n')+1:]; !strings.HasPrefix(last, start) {
		k.t.Fatalf("got %s, want %s", reply, start)
	}
	return reply
}

// do sends a line and wants a reply that begins with start.
func (k *talker) do(line, start string) string {
	k.t.Helper()
	k.raw(line + "\r\n")
	return k.want(start)
}

// closed wants the server to have closed the connection without another word.
func (k *talker) closed() {
	k.t.Helper()
	rest, err := io.ReadAll(k.in)
	var timeout net.Error
	if len(rest) > 0 || errors.As(err, &timeout) && timeout.Timeout() {
		k.t.Fatalf("got %q, %v; want the end", rest, err)
	}
}

// mail does a whole transaction but for the message: it stops behind 354.
func (k *talker) mail(from string, rcpts ...string) {
	k.t.Helper()
	k.do("MAIL FROM:<"+from+">", "250")
	for _, rcpt := range rcpts {
		k.do("RCPT TO:<"+rcpt+">", "250")
	}
	k.do("DATA", "354")
}

// play follows a script: "C: " sends a line; "R: " sends a quoted Go string as it is; "S: " wants this very line; "S~ "
// wants a reply, of one line or several, whose last line has this code and enhanced code; "S." wants the end of the
// connection; "TLS" goes on over TLS.
func (k *talker) play(script string, config *tls.Config) error {
	for i, step := range strings.Split(strings.TrimSuffix(script, "\n"), "\n") {
		verb, arg, _ := strings.Cut(step, " ")
		var err error
		switch verb {
		case "C:":
			k.raw(arg + "\r\n")
		case "R:":
			arg, err = strconv.Unquote(arg)
			k.raw(arg)
		case "S:":
			var line string
			line, err = k.in.ReadString('\n')
			if got := strings.TrimSuffix(line, "\r\n"); err == nil && got != arg {
				err = fmt.Errorf("got %q", got)
			}
		case "S~":
			var got string
			got, err = k.reply()
			if last := got[strings.LastIndexByte(got, '\n')+1:]; err == nil && last != arg && !strings.HasPrefix(last, arg+" ") {
				err = fmt.Errorf("got %q", got)
			}
		case "S.":
			k.closed()
		case "TLS":
			*k = *k.secure(config)
		default:
			err = errors.New("unknown verb")
		}
		if err != nil {
			return fmt.Errorf("line %d, %q: %w", i+1, step, err)
		}
	}
	return nil
}
