package demo

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"strings"
	"time"

	"github.com/emersion/go-sasl"
	"github.com/emersion/go-smtp"
)

// A way is how a user logs in.
type way int

const (
	byPassword way = iota
	byCertificate
)

// tlsFiles are the certificates of the facts, read once.
type tlsFiles struct {
	roots    *x509.CertPool
	users    map[string]tls.Certificate
	stranger tls.Certificate
}

func readTLS(f Facts) (tlsFiles, error) {
	t := tlsFiles{roots: x509.NewCertPool(), users: map[string]tls.Certificate{}}
	pem, err := os.ReadFile(f.CA)
	if err != nil {
		return t, err
	}
	if !t.roots.AppendCertsFromPEM(pem) {
		return t, fmt.Errorf("%s holds no certificate", f.CA)
	}
	for _, u := range f.Users {
		if t.users[u.Login], err = tls.LoadX509KeyPair(u.Cert, u.Key); err != nil {
			return t, err
		}
	}
	t.stranger, err = tls.LoadX509KeyPair(f.Stranger.Cert, f.Stranger.Key)
	return t, err
}

func (t tlsFiles) config(certs ...tls.Certificate) *tls.Config {
	c := &tls.Config{RootCAs: t.roots, ServerName: "localhost"}
	if len(certs) > 0 {
		// Present the certificate whatever issuers the server hints at: a foreign one must meet the server's judgement.
		c.GetClientCertificate = func(*tls.CertificateRequestInfo) (*tls.Certificate, error) { return &certs[0], nil }
	}
	return c
}

// dial connects and closes the connection when ctx ends, so that no row can hang.
func dial(ctx context.Context, addr string) (net.Conn, error) {
	var d net.Dialer
	conn, err := d.DialContext(ctx, "tcp", addr)
	if err != nil {
		return nil, err
	}
	context.AfterFunc(ctx, func() { conn.Close() })
	return conn, nil
}

// smtpClient opens a session in the clear, with STARTTLS where it is wanted.
func (s *show) smtpClient(ctx context.Context, addr string) (*smtp.Client, error) {
	conn, err := dial(ctx, addr)
	if err != nil {
		return nil, err
	}
	return smtp.NewClientStartTLS(conn, s.tls.config())
}

// login opens a submission session of u.
func (s *show) login(ctx context.Context, u User, w way) (*smtp.Client, error) {
	if w == byPassword {
		c, err := s.smtpClient(ctx, s.Listen.Submission)
		if err != nil {
			return nil, err
		}
		return c, c.Auth(sasl.NewPlainClient("", u.Login, u.Password))
	}
	c, err := s.implicitTLS(ctx, s.tls.users[u.Login])
	if err != nil {
		return nil, err
	}
	return c, c.Auth(sasl.NewExternalClient(""))
}

// implicitTLS opens a session on the submissions port with a client certificate.
func (s *show) implicitTLS(ctx context.Context, cert tls.Certificate) (*smtp.Client, error) {
	conn, err := dial(ctx, s.Listen.Submissions)
	if err != nil {
		return nil, err
	}
	return smtp.NewClient(tls.Client(conn, s.tls.config(cert))), nil
}

// text is a small message whose header From and subject are given.
func text(from, to, subject string) string {
	return fmt.Sprintf("From: <%s>\r\nTo: <%s>\r\nSubject: %s\r\nDate: %s\r\nMessage-ID: <%d.demo@%s>\r\n\r\n%s\r\n",
		from, to, subject, time.Now().Format(time.RFC1123Z), time.Now().UnixNano(), "elsewhere.example",
		"A message of the demonstration.\r\n.\r\nThe line above is a single dot.")
}

func (s *show) submit(u User, w way, from, to, name string) func(context.Context) (string, error) {
	return func(ctx context.Context) (string, error) {
		c, err := s.login(ctx, u, w)
		if err != nil {
			return "", err
		}
		defer c.Close()
		return "accepted", c.SendMail(from, []string{to}, strings.NewReader(text(from, to, s.token(name))))
	}
}

func (s *show) arrive(from, to, name string) func(context.Context) (string, error) {
	return func(ctx context.Context) (string, error) {
		c, err := s.smtpClient(ctx, s.Listen.MX)
		if err != nil {
			return "", err
		}
		defer c.Close()
		return "accepted", c.SendMail(from, []string{to}, strings.NewReader(text(from, to, s.token(name))))
	}
}

func (s *show) lmtp(from, name string, to ...string) func(context.Context) (string, error) {
	return func(ctx context.Context) (string, error) {
		conn, err := dial(ctx, s.Listen.LMTP)
		if err != nil {
			return "", err
		}
		c := smtp.NewClientLMTP(conn)
		defer c.Close()
		if err := c.Mail(from, nil); err != nil {
			return "", err
		}
		for _, rcpt := range to {
			if err := c.Rcpt(rcpt, nil); err != nil {
				return "", err
			}
		}
		data, err := c.Data()
		if err != nil {
			return "", err
		}
		if _, err := io.WriteString(data, text(from, to[0], s.token(name))); err != nil {
			return "", err
		}
		replies, err := data.CloseWithLMTPResponse()
		return fmt.Sprintf("%d replies", len(replies)), err
	}
}

// wantRefusal turns an expected SMTP refusal into a note, and its absence or another code into an error.
func wantRefusal(err error, codes ...int) (string, error) {
	var refusal *smtp.SMTPError
	if err == nil {
		return "", errors.New("it was accepted")
	}
	if !errors.As(err, &refusal) {
		return "", err
	}
	for _, code := range codes {
		if refusal.Code == code {
			return fmt.Sprintf("%d %d.%d.%d", refusal.Code, refusal.EnhancedCode[0], refusal.EnhancedCode[1], refusal.EnhancedCode[2]), nil
		}
	}
	return "", fmt.Errorf("want %v: %w", codes, err)
}

func (s *show) refuseSender(u User, from, to string) func(context.Context) (string, error) {
	return func(ctx context.Context) (string, error) {
		c, err := s.login(ctx, u, byPassword)
		if err != nil {
			return "", err
		}
		defer c.Close()
		return wantRefusal(c.SendMail(from, []string{to}, strings.NewReader(text(from, to, s.token("forged")))), 550, 553)
	}
}

func (s *show) refuseHeader(u User, header, to string) func(context.Context) (string, error) {
	return func(ctx context.Context) (string, error) {
		c, err := s.login(ctx, u, byPassword)
		if err != nil {
			return "", err
		}
		defer c.Close()
		return wantRefusal(c.SendMail(u.Mail, []string{to}, strings.NewReader(text(header, to, s.token("forged")))), 550, 553)
	}
}

func (s *show) refuseRecipient(from, to string, code int) func(context.Context) (string, error) {
	return func(ctx context.Context) (string, error) {
		c, err := s.smtpClient(ctx, s.Listen.MX)
		if err != nil {
			return "", err
		}
		defer c.Close()
		if err := c.Mail(from, nil); err != nil {
			return "", err
		}
		return wantRefusal(c.Rcpt(to, nil), code)
	}
}

func (s *show) refusePassword(u User) func(context.Context) (string, error) {
	return func(ctx context.Context) (string, error) {
		u.Password += "x"
		c, err := s.login(ctx, u, byPassword)
		if c != nil {
			defer c.Close()
		}
		return wantRefusal(err, 535)
	}
}

func (s *show) refuseStranger(ctx context.Context) (string, error) {
	c, err := s.implicitTLS(ctx, s.tls.stranger)
	if err != nil {
		return "", err
	}
	defer c.Close()
	if err := c.Hello("client.elsewhere.example"); err != nil {
		return "", err
	}
	if c.SupportsAuth(sasl.External) {
		return "", errors.New("EXTERNAL is offered")
	}
	_, err = wantRefusal(c.Auth(sasl.NewExternalClient("")), 504, 535)
	return "EXTERNAL not offered", err
}
