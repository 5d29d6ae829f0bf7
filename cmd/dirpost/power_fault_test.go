//go:build power

package main

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"

	"github.com/emersion/go-imap/v2"
	"github.com/emersion/go-imap/v2/imapclient"
	"github.com/go-ldap/ldap/v3"
	"golang.org/x/sys/unix"

	"github.com/dirpost/dirpost/schema"
)

// TestFaults has system calls of the server fail while it does what it is asked. The client is told to come again, what
// failed is not to be seen, and on the same connection the same succeeds as soon as the fault is over: durably, for then
// the power is cut, so that nothing that a failed sync left behind can have been trusted.
func TestFaults(t *testing.T) {
	t.Parallel()
	arrivals := []string{"LMTP", "MX", "submission", "the first message of a new user", "APPEND", "APPEND with a flag and a new keyword"}
	changes := []string{"STORE", "STORE of a new keyword", "EXPUNGE"}
	folders := []string{"CREATE", "RENAME", "DELETE", "SUBSCRIBE"}
	writes := []string{"LDAP add", "LDAP modify", "LDAP rename", "LDAP delete", "LDAP password"}
	const syncFails = "fsync,fdatasync:error=EIO"
	for _, f := range []fault{
		{"EIO on the first fsync", syncFails, nil, slices.Concat(arrivals, []string{"CREATE", "SUBSCRIBE"}, writes), nil},
		{"EIO on the fsync of a mail directory", syncFails, (*powerSite).mailDirectories,
			slices.Concat(arrivals, []string{"COPY", "MOVE"}, changes), changes},
		{"EIO on the fsync of the folder that is left", syncFails, (*powerSite).inboxDirectories, []string{"MOVE"}, []string{"MOVE"}},
		{"EIO on the fsync of a Maildir", syncFails, (*powerSite).maildirs, folders, folders[1:]},
		{"ENOSPC on link", "linkat:error=ENOSPC", nil, slices.Concat(arrivals, []string{"COPY", "MOVE"}), nil},
		{"ENOSPC on rename", "rename,renameat,renameat2:error=ENOSPC", nil,
			slices.Concat([]string{"the first message of a new user", "APPEND with a flag and a new keyword"}, changes[:2], folders), nil},
		{"ENOSPC on append to a message", "write:error=ENOSPC", (*powerSite).staged, arrivals, nil},
		{"ENOSPC on append to the directory", "pwrite64:error=ENOSPC", (*powerSite).directoryFile, writes, nil},
	} {
		t.Run(f.name, func(t *testing.T) {
			t.Parallel()
			s := newFaultySite(t)
			for i, d := range powerDeeds() {
				if !slices.Contains(f.deeds, d.name) {
					continue
				}
				if err := s.recovering(d, fmt.Sprintf("deed%d", i), f); err != nil {
					t.Errorf("%s: %v", d.name, err)
				}
			}
		})
	}
}

// newFaultySite starts a server, on a disk if there can be one.
func newFaultySite(t *testing.T) *powerSite {
	t.Helper()
	d, why := newDisk(t)
	if d == nil {
		t.Log(noDisk, why)
		d = &disk{dir: plainFolder(t)}
	}
	s := newSiteOn(t, d)
	s.boot()
	return s
}

// A fault is that of some system calls.
type fault struct {
	name   string
	inject string                            // calls and error, as strace wants them
	paths  func(*powerSite, string) []string // on these only, when it comes to a token; nil = on all
	deeds  []string                          // what is tried
	shows  []string                          // of these what was refused may be seen, but whole
}

func (s *powerSite) mailDirectories(token string) []string {
	folders := []string{s.maildir(), s.maildir(".Archive"), s.maildir(".Sent")}
	ids, err := s.values("(uid="+token+")", schema.AttrDpMailboxId)
	s.must(err)
	for _, id := range ids {
		folders = append(folders, filepath.Join(s.homes(), id, "Maildir"))
	}
	var paths []string
	for _, folder := range folders {
		paths = append(paths, filepath.Join(folder, "new"), filepath.Join(folder, "cur"))
	}
	return paths
}

func (s *powerSite) inboxDirectories(string) []string {
	return []string{s.maildir("new"), s.maildir("cur")}
}

func (s *powerSite) maildirs(string) []string { return []string{s.maildir()} }

func (s *powerSite) directoryFile(string) []string {
	return []string{filepath.Join(s.disk.dir, "data", "directory", "directory.db")}
}

// staged are the files that messages on their way in may have.
func (s *powerSite) staged(string) []string {
	var paths []string
	for n := 1; n < 60; n++ {
		paths = append(paths, filepath.Join(s.homes(), ".staging", fmt.Sprint(n)))
	}
	return paths
}

// maildir is a path in the Maildir of alice.
func (s *powerSite) maildir(elem ...string) string {
	return filepath.Join(append([]string{s.homes(), s.alice, "Maildir"}, elem...)...)
}

// recovering has a deed fail, then succeed, and cuts the power. It returns what is wrong.
func (s *powerSite) recovering(d deed, token string, f fault) error {
	s.t.Helper()
	act, holds, err := d.ready(s, token)
	if err != nil {
		return err
	}
	var paths []string
	if f.paths != nil {
		paths = f.paths(s, token)
	}
	end := s.inject(f.inject, paths)
	err = act()
	trace := end()
	if !strings.Contains(trace, "(INJECTED)") {
		return fmt.Errorf("no call failed, it says %v:\n%s", err, trace)
	}
	if !forNow(err) {
		return fmt.Errorf("the answer is %v, want one that says to come again", err)
	}
	shown := holds() == nil
	if shown && !slices.Contains(f.shows, d.name) {
		return fmt.Errorf("the answer is %v, and it is done all the same", err)
	}
	if err := s.demandWhole(); err != nil {
		return err
	}
	if err := act(); err != nil {
		if shown && forNow(err) { // there is nothing left to rename or delete, and nobody was told of success
			return nil
		}
		return fmt.Errorf("when the fault is over: %w", err)
	}
	if s.disk.image != "" {
		s.blackout()
		s.boot()
	}
	return errors.Join(holds(), s.demandWhole())
}

// TestFaultsInDirectory has the last sync of a write to the directory fail, when its file already says what is new. Whether
// that is seen or not, it stays so over a restart, and what is written afterwards is there after a power cut.
func TestFaultsInDirectory(t *testing.T) {
	t.Parallel()
	s := newFaultySite(t)
	c, err := s.ldapSession()
	s.must(err)
	s.later(c)
	refused := false
	for i := 0; i < 20 && !refused; i++ { // strace counts the calls of each thread by itself: both syncs must be one thread's
		name := fmt.Sprintf("unit%d", i)
		end := s.inject("fdatasync:error=EIO:when=2", s.directoryFile(""))
		err := c.Add(unit(name))
		trace := end()
		if err == nil {
			continue
		}
		if refused = true; !forNow(err) {
			t.Errorf("the answer is %v, want one that says to come again:\n%s", err, trace)
		}
		before, err := s.values("(ou="+name+")", "ou")
		s.must(err)
		s.must(c.Add(unit("afterwards")))
		if s.disk.image != "" {
			s.blackout()
		} else {
			s.kill()
		}
		s.boot()
		s.must(s.demandValue("(ou=afterwards)", "ou", "afterwards"))
		if after, err := s.values("(ou="+name+")", "ou"); err != nil || len(after) != len(before) {
			t.Errorf("after a restart the directory has %q, %v; before it had %q", after, err, before)
		}
	}
	if !refused {
		t.Error("no sync failed")
	}
}

// TestFaultsOnFullDisk fills a small file system that has everything on it. Whatever cannot be done is refused for now and not
// to be seen; the rest is done; with room again all goes on.
func TestFaultsOnFullDisk(t *testing.T) {
	t.Parallel()
	if os.Getuid() != 0 {
		t.Log("not root: a small tmpfs cannot be mounted, so a full disk cannot be had")
		return
	}
	dir := plainFolder(t)
	if err := unix.Mount("tmpfs", dir, "tmpfs", 0, "size=8m"); err != nil {
		t.Logf("no small tmpfs, so no full disk: %v", err)
		return
	}
	t.Cleanup(func() {
		if err := unix.Unmount(dir, unix.MNT_DETACH); err != nil {
			t.Errorf("unmount: %v", err)
		}
	})
	s := newSiteOn(t, &disk{dir: dir})
	s.boot()
	s.must(s.demandWhole()) // folders that were never opened have no UIDVALIDITY yet, and it takes room
	for i, d := range powerDeeds() {
		if strings.HasPrefix(d.name, "user ") || strings.HasPrefix(d.name, "alias ") || d.restart {
			continue // commands, whose failure ends the test; and what the server would have to be stopped for
		}
		refused, err := s.withoutRoom(d, fmt.Sprintf("deed%d", i))
		if err != nil {
			t.Errorf("%s: %v", d.name, err)
		}
		if refused == nil && i < len(arrivalDeeds()) {
			t.Errorf("%s: a full disk has room for a message", d.name)
		}
	}
}

// withoutRoom does a deed on a full disk, and again with room. It returns how it was refused, if it was, and what is wrong.
func (s *powerSite) withoutRoom(d deed, token string) (refused, wrong error) {
	s.t.Helper()
	act, holds, err := d.ready(s, token)
	if err != nil {
		return nil, err
	}
	filler := filepath.Join(s.disk.dir, "filler")
	f, err := os.Create(filler)
	s.must(err)
	for err == nil {
		_, err = f.Write(make([]byte, 4096))
	}
	s.must(f.Close())
	refused = act()
	done := holds()
	err = s.demandWhole()
	s.must(os.Remove(filler))
	switch {
	case err != nil:
		return refused, err
	case refused == nil && done != nil:
		return nil, fmt.Errorf("it is said to be done: %w", done)
	case refused == nil:
		return nil, nil
	case !forNow(refused):
		return refused, fmt.Errorf("the answer is %v, want one that says to come again", refused)
	case done == nil:
		return refused, fmt.Errorf("the answer is %v, and it is done all the same", refused)
	}
	if err := act(); err != nil {
		return refused, fmt.Errorf("with room again: %w", err)
	}
	return refused, errors.Join(holds(), s.demandWhole())
}

// TestKilledBeforeSync kills the server when it has changed a message and not yet synced the directory. The next server
// finds the change made; who asks it for the same again is told of success only after the sync.
func TestKilledBeforeSync(t *testing.T) {
	t.Parallel()
	s := newFaultySite(t)
	for _, tt := range []struct {
		name  string
		flags []imap.Flag // at first
		ask   func(*imapclient.Client, imap.UID) error
	}{
		{"STORE", nil, func(c *imapclient.Client, uid imap.UID) error { return addFlags(c, uid, imap.FlagFlagged) }},
		{"EXPUNGE", []imap.Flag{imap.FlagDeleted}, func(c *imapclient.Client, uid imap.UID) error {
			_, err := c.UIDExpunge(imap.UIDSetNum(uid)).Collect()
			return err
		}},
	} {
		c, err := s.readyIn("INBOX")
		s.must(err)
		uid, err := appendTo(c, "INBOX", "killed-"+tt.name, tt.flags...)
		s.must(err)
		end := s.inject("fsync,fdatasync:error=EIO:signal=KILL", s.mailDirectories(""))
		if err := tt.ask(c, uid); err == nil {
			t.Errorf("%s: it says that it is done, and was killed before:\n%s", tt.name, end())
			continue
		}
		end()
		s.kill()
		s.hangUp()
		s.again()
		c, err = s.readyIn("INBOX")
		s.must(err)
		end = s.inject("fsync,fdatasync", s.mailDirectories(""))
		s.must(tt.ask(c, uid))
		if trace := end(); !strings.Contains(trace, "Maildir/cur>") {
			t.Errorf("%s: it says that it is done, and has not synced the directory:\n%s", tt.name, trace)
		}
	}
}

// forNow reports whether an error is an answer that says to come again, by SMTP, IMAP or LDAP.
func forNow(err error) bool {
	var no *imap.Error
	var result *ldap.Error
	switch {
	case errors.As(err, &no):
		return no.Type == imap.StatusResponseTypeNo
	case errors.As(err, &result):
		return result.ResultCode == ldap.LDAPResultOther || result.ResultCode == ldap.LDAPResultUnavailable || result.ResultCode == ldap.LDAPResultBusy
	}
	return replyCode(err)/100 == 4
}

// demandWhole looks at all that alice has: whatever is there is whole, and there once.
func (s *powerSite) demandWhole() error {
	var errs []error
	for _, folder := range []string{"INBOX", "Archive", "Sent"} {
		all, err := s.mailbox("alice", folder)
		errs = append(errs, err)
		for token, m := range all {
			if len(m) != 1 || !m[0].whole {
				errs = append(errs, fmt.Errorf("%s in %s is %+v, want it once and whole", token, folder, m))
			}
		}
		below := strings.TrimPrefix("."+folder, ".INBOX")
		if n := files(s.t, s.maildir(below)); n != len(all) {
			errs = append(errs, fmt.Errorf("%s has %d files, the client sees %d", folder, n, len(all)))
		}
	}
	return errors.Join(errs...)
}

// inject has system calls of the running server fail, until end is called, which returns those that were made. Where what
// names calls only, they are but watched.
func (s *powerSite) inject(what string, paths []string) (end func() string) {
	s.t.Helper()
	calls, _, failing := strings.Cut(what, ":")
	trace := s.path("injected")
	args := []string{"-f", "-y", "-o", trace, "-e", "trace=" + calls, "-p", fmt.Sprint(s.proc.Process.Pid)}
	if failing {
		args = append(args, "-e", "inject="+what)
	}
	for _, path := range paths {
		args = append(args, "-P", path)
	}
	cmd := exec.Command("strace", args...)
	stderr, err := cmd.StderrPipe()
	s.must(err)
	s.must(cmd.Start())
	lines := bufio.NewScanner(stderr)
	var said []string
	for lines.Scan() {
		said = append(said, lines.Text())
		if strings.Contains(lines.Text(), " attached") {
			break
		}
	}
	if len(said) == 0 || !strings.Contains(said[len(said)-1], " attached") {
		s.t.Fatalf("strace does not attach: %v\n%s", cmd.Wait(), strings.Join(said, "\n"))
	}
	drained := make(chan struct{})
	go func() {
		defer close(drained)
		_, _ = io.Copy(io.Discard, stderr)
	}()
	return func() string {
		sig := syscall.SIGINT // it detaches
		if strings.Contains(what, "signal=KILL") {
			sig = syscall.SIGKILL // it would wait for threads that are no more
		}
		if err := cmd.Process.Signal(sig); !errors.Is(err, os.ErrProcessDone) {
			s.must(err)
		}
		<-drained
		_ = cmd.Wait() // it says that it was interrupted
		text, err := os.ReadFile(trace)
		s.must(err)
		return string(text)
	}
}
