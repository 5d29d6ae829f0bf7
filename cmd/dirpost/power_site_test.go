//go:build power

package main

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/emersion/go-imap/v2"
	"github.com/emersion/go-imap/v2/imapclient"
	"github.com/emersion/go-sasl"
	"github.com/emersion/go-smtp"
	"github.com/go-ldap/ldap/v3"
)

// A powerSite is a site whose mail, directory and cache lie on a disk whose power can be cut.
type powerSite struct {
	*site
	disk    *disk
	tracer  []string // runs the server, if not nil
	binary  string   // of the server, if not the test binary
	boots   int
	alice   string // the folder of her home
	numbers ledgerOfNumbers

	mu   sync.Mutex
	open []io.Closer // connections; guarded by mu
}

// newPowerSite makes a site with alice on a new disk. If this machine cannot have such a disk it says why.
func newPowerSite(t *testing.T) (s *powerSite, why string) {
	t.Helper()
	d, why := newDisk(t)
	if d == nil {
		return nil, why
	}
	return newSiteOn(t, d), ""
}

func newSiteOn(t *testing.T, d *disk) *powerSite {
	t.Helper()
	s := &powerSite{disk: d, numbers: ledgerOfNumbers{}}
	s.site = newSite(t, nil, "--data", filepath.Join(d.dir, "data"), "--cache", filepath.Join(d.dir, "cache"))
	t.Cleanup(s.hangUp)
	if err := os.Symlink(filepath.Join(d.dir, "data"), s.path("data")); err != nil {
		t.Fatal(err)
	}
	s.dirpost("user", "add", "alice", "--mail", "alice@example.org", "--password-file", s.secret("alice", alicePassword))
	s.watched()
	s.alice = filepath.Base(s.home("alice"))
	return s
}

func (s *powerSite) homes() string { return filepath.Join(s.disk.dir, "data", "homes") }

// boot runs the server as after a start of the machine: every time the kernel says that it is another one.
func (s *powerSite) boot() {
	s.t.Helper()
	s.boots++
	s.again()
}

// again runs the server, under the same kernel as the last one.
func (s *powerSite) again() {
	s.t.Helper()
	if s.disk.image == "" {
		s.start(s.tracer...)
		return
	}
	id := s.file("boot-id", fmt.Sprintf("00000000-0000-4000-8000-%012d\n", s.boots))
	wrapper := append(s.tracer[:len(s.tracer):len(s.tracer)], "unshare", "--mount", "sh", "-c",
		`mount --bind "$0" /proc/sys/kernel/random/boot_id && exec "$@"`, id)
	if s.binary == "" {
		s.start(wrapper...)
		return
	}
	s.launch(exec.Command(wrapper[0], append(wrapper[1:], s.binary, "--config", s.config, "serve")...))
}

// blackout cuts the power, now, and gives it back: the disk is as it would be found after that. The server is not running.
func (s *powerSite) blackout() {
	s.t.Helper()
	if err := s.disk.cut(); err != nil {
		s.t.Fatal(err)
	}
	s.kill()
	s.hangUp()
	if err := s.disk.restore(); err != nil {
		s.t.Fatal(err)
	}
}

// later has a connection closed when the power is cut: until then nothing that it says may follow the reply.
func (s *powerSite) later(c io.Closer) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.open = append(s.open, c)
}

func (s *powerSite) hangUp() {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, c := range s.open {
		c.Close()
	}
	s.open = nil
}

// powerText is a message that shows whether it is whole: some blocks of text that its subject decides.
func powerText(token string) string {
	return "From: alice@example.org\r\nTo: alice@example.org\r\nSubject: " + token + "\r\n" +
		"Date: Wed, 25 Nov 2026 10:00:00 +0000\r\nMessage-ID: <" + token + "@test>\r\n\r\n" + powerBody(token)
}

func powerBody(token string) string {
	return strings.Repeat(token+" all of it or nothing\r\n", 200)
}

// A mailed message is what a client sees of one.
type mailed struct {
	uid   imap.UID
	flags []imap.Flag
	whole bool
}

// mailbox reads a folder as a client does: its messages by subject, and its UIDVALIDITY.
func (s *powerSite) mailbox(login, folder string) (map[string][]mailed, error) {
	c, err := s.imapSession(login, folder)
	if err != nil {
		return nil, err
	}
	defer c.Close()
	text := &imap.FetchItemBodySection{Peek: true}
	all, err := c.Fetch(imap.UIDSet{imap.UIDRange{Start: 1}}, &imap.FetchOptions{
		UID: true, Flags: true, Envelope: true, BodySection: []*imap.FetchItemBodySection{text},
	}).Collect()
	found := map[string][]mailed{}
	for _, m := range all {
		_, body, _ := bytes.Cut(m.FindBodySection(text), []byte("\r\n\r\n"))
		token := m.Envelope.Subject
		found[token] = append(found[token], mailed{m.UID, m.Flags, string(body) == powerBody(token)})
	}
	return found, err
}

// only returns the one message of a subject, which must be whole.
func (s *powerSite) only(login, folder, token string) (mailed, error) {
	all, err := s.mailbox(login, folder)
	if err != nil {
		return mailed{}, err
	}
	if m := all[token]; len(m) != 1 || !m[0].whole {
		return mailed{}, fmt.Errorf("%s of %s has %s as %+v, want it once and whole", folder, login, token, m)
	}
	return all[token][0], nil
}

// gone is an error if there is a message of that subject.
func (s *powerSite) gone(login, folder, token string) error {
	all, err := s.mailbox(login, folder)
	if err == nil && all[token] != nil {
		err = fmt.Errorf("%s of %s has %s as %+v, want it gone", folder, login, token, all[token])
	}
	return err
}

// imapSession logs in and selects a folder.
func (s *powerSite) imapSession(login, folder string) (*imapclient.Client, error) {
	c, err := imapclient.DialInsecure(s.addr["imap"], nil)
	if err != nil {
		return nil, err
	}
	if err = c.Login(login, alicePassword).Wait(); err == nil {
		_, err = c.Select(folder, nil).Wait()
	}
	if err != nil {
		return nil, errors.Join(fmt.Errorf("%s selects %s: %w", login, folder, err), c.Close())
	}
	return c, nil
}

// appendTo is APPEND.
func appendTo(c *imapclient.Client, folder, token string, flags ...imap.Flag) (imap.UID, error) {
	text := powerText(token)
	w := c.Append(folder, int64(len(text)), &imap.AppendOptions{Flags: flags, Time: time.Unix(1700000000, 0)})
	if _, err := w.Write([]byte(text)); err != nil {
		return 0, err
	}
	if err := w.Close(); err != nil {
		return 0, err
	}
	data, err := w.Wait()
	if err != nil {
		return 0, err
	}
	return data.UID, nil
}

// addFlags is UID STORE +FLAGS.
func addFlags(c *imapclient.Client, uid imap.UID, flags ...imap.Flag) error {
	return c.Store(imap.UIDSetNum(uid), &imap.StoreFlags{Op: imap.StoreFlagsAdd, Flags: flags}, nil).Close()
}

// smtpSession greets a server, as alice where one logs in.
func (s *powerSite) smtpSession(service string) (*smtp.Client, error) {
	c, err := smtp.Dial(s.addr[service])
	if err != nil || service != "submission" {
		return c, err
	}
	if err := c.Auth(sasl.NewPlainClient("", "alice", alicePassword)); err != nil {
		return nil, errors.Join(err, c.Close())
	}
	return c, nil
}

// ldapSession is one of the administrator.
func (s *powerSite) ldapSession() (*ldap.Conn, error) {
	c, err := ldap.DialURL("ldapi://" + strings.ReplaceAll(s.path("ldapi"), "/", "%2F"))
	if err != nil {
		return nil, err
	}
	if err := c.ExternalBind(); err != nil {
		return nil, errors.Join(err, c.Close())
	}
	return c, nil
}

// values searches for entries and returns what they have of an attribute.
func (s *powerSite) values(filter, attr string) ([]string, error) {
	c, err := s.ldapSession()
	if err != nil {
		return nil, err
	}
	defer c.Close()
	found, err := c.Search(ldap.NewSearchRequest(siteBase, ldap.ScopeWholeSubtree, ldap.NeverDerefAliases, 0, 0, false, filter, []string{attr}, nil))
	if err != nil {
		return nil, err
	}
	var values []string
	for _, e := range found.Entries {
		values = append(values, e.GetAttributeValues(attr)...)
	}
	return values, nil
}

const siteBase = "dc=example,dc=org"

// readySender greets a server and returns what sends a message there, one reply for each.
func (s *powerSite) readySender(service string) (send func(to, token string) error, err error) {
	if service == "lmtp" {
		conn, err := net.Dial("tcp", s.addr["lmtp"])
		if err != nil {
			return nil, err
		}
		c := smtp.NewClientLMTP(conn)
		s.later(c)
		return func(to, token string) error { return orReset(c, lmtpOn(c, to, powerText(token))) }, c.Hello("client.test")
	}
	c, err := s.smtpSession(service)
	if err != nil {
		return nil, err
	}
	s.later(c)
	return func(to, token string) error {
		return orReset(c, transaction(c, "alice@example.org", to, powerText(token)))
	}, nil
}

// orReset has a session ready for the next transaction after one that was refused.
func orReset(c *smtp.Client, err error) error {
	if err != nil {
		_ = c.Reset()
	}
	return err
}
