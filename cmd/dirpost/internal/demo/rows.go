package demo

import (
	"context"
	"crypto/rand"
	"fmt"
	"time"
)

// A Row is one thing that was shown: a pass, or the error that made it fail.
type Row struct {
	What string
	How  string // the protocol and the way in
	Err  error
	Took time.Duration
	Note string // what the server answered, or a figure
}

// A show is one run: its facts, and a word that no other run has, so that it finds its own messages again.
type show struct {
	Facts
	tls  tlsFiles
	word string
}

// rowTimeout bounds each row: a server that hangs fails the row, not the demo.
const rowTimeout = 20 * time.Second

// Run does everything that the demo shows, in order, and calls report after each row. It reports whether all passed.
func Run(ctx context.Context, f Facts, report func(Row)) (passed bool, err error) {
	s := &show{Facts: f, word: rand.Text()}
	if s.tls, err = readTLS(f); err != nil {
		return false, err
	}
	passed = true
	for _, step := range s.steps() {
		row := Row{What: step.what, How: step.how}
		begin := time.Now()
		stepCtx, cancel := context.WithTimeout(ctx, rowTimeout)
		row.Note, row.Err = step.do(stepCtx)
		cancel()
		row.Took = time.Since(begin)
		passed = passed && row.Err == nil
		report(row)
	}
	return passed, ctx.Err()
}

type step struct {
	what, how string
	do        func(context.Context) (note string, err error)
}

// steps is the programme. What is sent is read back by the last steps, each message exactly once.
func (s *show) steps() []step {
	alice, bob := s.Users[0], s.Users[1]
	outside := "stranger@elsewhere.example"
	return []step{
		{"alice sends to bob", "submission, STARTTLS, password", s.submit(alice, byPassword, alice.Mail, bob.Mail, "password")},
		{"alice sends to bob", "submissions, client certificate", s.submit(alice, byCertificate, alice.Mail, bob.Mail, "certificate")},
		{"alice sends as the role", "submission, STARTTLS, password", s.submit(alice, byPassword, s.Role.Mail, bob.Mail, "role")},
		{"a stranger writes to alice", "MX, STARTTLS", s.arrive(outside, alice.Mail, "direct")},
		{"a stranger writes to her alias", "MX, STARTTLS", s.arrive(outside, s.Alias, "alias")},
		{"a stranger writes to the role", "MX, STARTTLS", s.arrive(outside, s.Role.Mail, "press")},
		{"one message for two", "LMTP", s.lmtp(outside, "both", alice.Mail, bob.Mail)},
		{"bob may not send as alice", "submission", s.refuseSender(bob, alice.Mail, bob.Mail)},
		{"nor put her into From:", "submission", s.refuseHeader(bob, alice.Mail, alice.Mail)},
		{"her alias is receive-only", "submission", s.refuseSender(alice, s.Alias, bob.Mail)},
		{"an unknown recipient is refused", "MX, at RCPT", s.refuseRecipient(outside, "nobody@"+s.Domain, 550)},
		{"strangers may not relay", "MX, at RCPT", s.refuseRecipient(outside, "someone@elsewhere.example", 550)},
		{"a wrong password is refused", "submission", s.refusePassword(alice)},
		{"a wrong password is refused", "IMAP, TLS", s.refuseIMAPPassword(alice)},
		{"a foreign certificate proves nothing", "submissions", s.refuseStranger},
		{"a foreign certificate proves nothing", "IMAP, TLS", s.refuseIMAPStranger},
		{"alice reads all of it", "IMAP, TLS, password", s.read(alice, byPassword, "direct", "alias", "press", "both")},
		{"bob reads all of it", "IMAP, STARTTLS, password", s.readStartTLS(bob, "password", "certificate", "role", "both")},
		{"alice reads it by certificate", "IMAP, TLS, EXTERNAL", s.read(alice, byCertificate, "direct", "alias", "press", "both")},
		{"new mail shows in an open folder", "MX, then IMAP IDLE", s.push(outside, alice)},
		{"alice finds herself in the directory", "LDAP, StartTLS, bind", s.ownEntry(alice)},
	}
}

// token is the subject of a message of this run.
func (s *show) token(name string) string { return fmt.Sprintf("dirpost demo %s %s", s.word, name) }
